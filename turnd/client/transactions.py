"""A request and when it is sent again (RFC 8489 section 6.2), without sockets or clock.

Over UDP a request leaves at 0, RTO, 3 RTO, 7 RTO … up to Rc times, and fails Rm times the RTO after
the last. Over a stream it leaves once and fails after Ti. The caller sends what `poll` gives, and
calls it again at `next_at`.
"""

from __future__ import annotations

from dataclasses import dataclass

from turnd.client.errors import ClientError, IntegrityError, TransactionTimeoutError

ESTIMATE_STALE_AFTER = 600.0
"""Seconds without a transaction after which an RTO is forgotten (RFC 8489 section 6.2.1)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The schedule's numbers, with the defaults of RFC 8489 section 6.2; seconds."""

    rto: float = 0.5
    max_requests: int = 7
    """Rc: how often a request is sent at most."""
    last_wait: int = 16
    """Rm: the wait after the last request, in multiples of the RTO."""
    stream_timeout: float = 39.5
    """Ti: how long a stream's request waits."""


class RoundTripEstimate:
    """The RTO towards one server (RFC 6298 section 2, with the floor of RFC 8489 6.2.1)."""

    __slots__ = ("_floor", "_last", "_smoothed", "_variation")

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._smoothed: float | None = None
        self._variation = 0.0
        self._last = 0.0

    def rto(self, now: float) -> float:
        """The interval before the first retransmission, in seconds; never under the floor."""
        if self._smoothed is None or now - self._last > ESTIMATE_STALE_AFTER:
            self._smoothed = None
            return self._floor
        return max(self._floor, self._smoothed + 4 * self._variation)

    def update(self, sample: float, now: float) -> None:
        """Take in one round trip, in seconds, of a request that was sent once (Karn)."""
        if self._smoothed is None:
            self._smoothed, self._variation = sample, sample / 2
        else:
            self._variation = 0.75 * self._variation + 0.25 * abs(self._smoothed - sample)
            self._smoothed = 0.875 * self._smoothed + 0.125 * sample
        self._last = now


class Transaction:
    """One request on its way.

    Attributes:
        next_at: when to call `poll` again.
        sent: how often the request has left.
    """

    __slots__ = (
        "_data",
        "_first_at",
        "_interval",
        "_limit",
        "_notes",
        "_rto",
        "_timing",
        "next_at",
        "sent",
    )

    def __init__(
        self, data: bytes, now: float, timing: Timing, *, reliable: bool, rto: float | None = None
    ) -> None:
        self._data = data
        self._timing = timing
        self._rto = timing.rto if rto is None else rto
        self._limit = 1 if reliable else timing.max_requests
        self._interval = timing.stream_timeout if reliable else self._rto
        self._first_at = now
        self._notes: list[str] = []
        self.next_at = now
        self.sent = 0

    def poll(self, now: float) -> bytes | None:
        """The request, when it is to be sent now; None before `next_at`.

        Raises:
            TransactionTimeoutError: the last wait is over and nothing came.
            IntegrityError: it is over, and what came had to be discarded.
        """
        if now < self.next_at:
            return None
        if self.sent == self._limit:
            raise self._over(now)
        self.sent += 1
        wait = self._interval
        if self.sent == self._limit and self._limit > 1:
            wait = self._timing.last_wait * self._rto
        self._interval *= 2
        self.next_at = now + wait
        return self._data

    def discard(self, why: str) -> None:
        """An answer was thrown away; retransmissions go on as if it had never come."""
        self._notes.append(why)

    def round_trip(self, now: float) -> float | None:
        """Seconds from request to answer; None when it cannot be told which request it answers."""
        return now - self._first_at if self.sent == 1 else None

    def _over(self, now: float) -> ClientError:
        if self._notes:
            return IntegrityError(f"no answer could be trusted: {self._notes[-1]}")
        requests = "request" if self.sent == 1 else f"{self.sent} requests"
        return TransactionTimeoutError(f"no answer to {requests} in {now - self._first_at:.1f} s")
