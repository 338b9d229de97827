"""A bound on what a spoofed source can make us send (promise 1 of the design).

Answers that any stranger can provoke by UDP are drawn from a token bucket per network
of the claimed source. The buckets are a fixed array: a flood of invented sources costs no
memory. Two networks that share a bucket share its rate; the hash is seeded per process, so nobody
can choose whom to share with.
"""

from __future__ import annotations

from array import array

from turnd.engine.networks import network_of

_BUCKETS = 1 << 14


class AnswerBudget:
    """Token buckets, one second deep."""

    def __init__(self, per_second: int, buckets: int = _BUCKETS) -> None:
        self.per_second = per_second
        """Answers per second and network; 0: no limit."""
        self._spent = array("d", bytes(8 * buckets))
        self._filled_at = array("d", bytes(8 * buckets))

    def draw(self, host: str, now: float) -> bool:
        """Whether one more answer may go to the host's network."""
        if not self.per_second:
            return True
        slot = hash(network_of(host)) % len(self._spent)
        refill = (now - self._filled_at[slot]) * self.per_second
        spent = max(0.0, self._spent[slot] - refill)
        within = spent + 1.0 <= self.per_second
        self._filled_at[slot] = now
        self._spent[slot] = spent + within
        return within
