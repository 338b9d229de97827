"""Turns the core's events into log lines and counts: the one place that names both.

Packet-driven events are counted only. What an admin has to act on, or asks for when a call failed,
is a line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from turnd import logs
from turnd.stun.message import Method
from turnd.turn.events import (
    AllocationCreated,
    AllocationEnded,
    AllocationMoved,
    Authenticated,
    AuthenticationFailed,
    BindingAnswered,
    Challenged,
    ConnectionEnded,
    ConnectionOpened,
    ConnectionRefused,
    Event,
    FailureReason,
    MessageDropped,
    RequestRefused,
)

_log = logs.get_logger("turnd.turn")


@dataclass(slots=True)
class EventCounts:
    """Sums since the start, for the metrics."""

    bindings: int = 0
    challenges: int = 0
    allocations_created: int = 0
    allocations_refused: Counter[int] = field(default_factory=Counter)
    """By error code."""
    allocations_moved: int = 0
    allocations_ended: Counter[str] = field(default_factory=Counter)
    requests_refused: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By method's name and error code."""
    connections_opened: Counter[str] = field(default_factory=Counter)
    """With peers: `incoming` or `outgoing`."""
    connections_ended: Counter[str] = field(default_factory=Counter)
    connections_refused: Counter[str] = field(default_factory=Counter)
    auth_failures: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class EventLog:
    """The sink of the core's events."""

    def __init__(self) -> None:
        self.counts = EventCounts()

    def __call__(self, event: Event) -> None:
        """Count an event, and log it where it is worth a line."""
        counts = self.counts
        match event:
            case BindingAnswered():
                counts.bindings += 1
            case Challenged():
                counts.challenges += 1
            case MessageDropped():
                counts.dropped[event.reason] += 1
            case AuthenticationFailed():
                counts.auth_failures[event.reason] += 1
                if event.reason is FailureReason.STORE_UNAVAILABLE:
                    # Whoever reads `auth_failed` may ban its client: no reason here.
                    _log.warning("auth_unavailable", **_who(event), reason=str(event.reason))
                else:
                    _log.warning("auth_failed", **_who(event), reason=str(event.reason))
            case AllocationCreated() | AllocationMoved() | AllocationEnded():
                self._allocation(event)
            case ConnectionOpened() | ConnectionRefused() | ConnectionEnded():
                self._connection(event)
            case RequestRefused():
                self._refused(event)
            case Authenticated():
                pass

    def _allocation(self, event: AllocationCreated | AllocationMoved | AllocationEnded) -> None:
        counts = self.counts
        match event:
            case AllocationCreated():
                counts.allocations_created += 1
                logs.info(
                    "allocation_created",
                    lambda: {**_who(event), "relayed": ",".join(map(str, event.relayed))},
                )
            case AllocationMoved():
                counts.allocations_moved += 1
                logs.info(
                    "allocation_moved",
                    lambda: {
                        **_who(event),
                        "former": str(event.former.client),
                        "former_transport": str(event.former.transport),
                    },
                )
            case AllocationEnded():
                counts.allocations_ended[event.reason] += 1
                logs.info(
                    "allocation_ended",
                    lambda: {
                        **_who(event),
                        "reason": event.reason,
                        "seconds": round(event.duration, 1),
                    },
                )

    def _connection(self, event: ConnectionOpened | ConnectionRefused | ConnectionEnded) -> None:
        counts = self.counts
        match event:
            case ConnectionOpened():
                direction = "incoming" if event.is_incoming else "outgoing"
                counts.connections_opened[direction] += 1
                logs.info(
                    "peer_connected",
                    lambda: {**_who(event), "peer": str(event.peer), "direction": direction},
                )
            case ConnectionRefused():
                counts.connections_refused[event.reason] += 1
            case ConnectionEnded():
                counts.connections_ended[event.reason] += 1
                logs.info(
                    "peer_disconnected",
                    lambda: {
                        **_who(event),
                        "peer": str(event.peer),
                        "reason": event.reason,
                        "seconds": round(event.duration, 1),
                    },
                )

    def _refused(self, event: RequestRefused) -> None:
        method = Method(event.method).name.lower()
        self.counts.requests_refused[method, event.code] += 1
        if event.method == Method.ALLOCATE:
            self.counts.allocations_refused[event.code] += 1
        logs.info(
            "request_refused",
            lambda: {
                **_who(event),
                "method": method,
                "code": int(event.code),
                "reason": event.why,
            },
        )


def _who(
    event: (
        AuthenticationFailed
        | AllocationCreated
        | AllocationMoved
        | AllocationEnded
        | ConnectionOpened
        | ConnectionEnded
        | RequestRefused
    ),
) -> dict[str, str]:
    return {
        "client": str(event.leg.client),
        "transport": str(event.leg.transport),
        "realm": event.realm,
        "user": event.user,
    }
