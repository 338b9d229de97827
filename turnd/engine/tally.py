"""What is counted: per relay, transport and listener, and what was dropped. Sums never go down."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.base import Drop, Leg, ListenerId, RelayCounters, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})


class Tally:
    """Sums of what relays did for legs that they no longer serve, and drops."""

    def __init__(self) -> None:
        self.drops: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self.icmp_errors = 0
        """Those that clients were told of."""
        self._retired: dict[tuple[ListenerId, Transport], RelayCounters] = {}

    def drop(self, reason: Drop) -> None:
        """A packet went no further."""
        self.drops[reason] += 1

    def send_failed(self, error: OSError) -> None:
        """A packet went no further because a socket refused it: one lost packet, no more."""
        self.drop(reason_of(error))

    def retire(self, leg: Leg, counters: RelayCounters) -> None:
        """A relay serves a leg no longer: what it has counted stays with that one."""
        add_counters(self._retired_of(leg), counters)

    def resume(self, leg: Leg, counters: RelayCounters) -> None:
        """A relay begins to serve a leg: what it has counted before is not that one's."""
        add_counters(self._retired_of(leg), counters, -1)

    def sums(self, live: Iterable[tuple[Leg, RelayCounters]]) -> Sums:
        """Over relays that are gone and those given."""
        sums = Sums(RelayCounters(), {transport: RelayCounters() for transport in Transport}, {})
        for (listener, transport), counters in self._retired.items():
            sums.add(listener, transport, counters)
        for leg, counters in live:
            sums.add(leg.listener, leg.transport, counters)
        return sums

    def _retired_of(self, leg: Leg) -> RelayCounters:
        return self._retired.setdefault((leg.listener, leg.transport), RelayCounters())


class Sums(NamedTuple):
    """What was relayed, three times: in all, by the client's transport, by its listener."""

    totals: RelayCounters
    by_transport: dict[Transport, RelayCounters]
    by_listener: dict[ListenerId, RelayCounters]

    def add(self, listener: ListenerId, transport: Transport, counters: RelayCounters) -> None:
        """Add what was relayed for a leg."""
        add_counters(self.totals, counters)
        add_counters(self.by_transport[transport], counters)
        add_counters(self.by_listener.setdefault(listener, RelayCounters()), counters)


def reason_of(error: OSError) -> Drop:
    """Why a packet went no further that a socket refused."""
    if error.errno in _FULL:
        return Drop.QUEUE_FULL
    return Drop.TOO_BIG if error.errno == errno.EMSGSIZE else Drop.REFUSED


def add_counters(total: RelayCounters, counters: RelayCounters, sign: int = 1) -> None:
    """Add one set of counters to another (or, with sign -1, take it away)."""
    total.packets_from_client += sign * counters.packets_from_client
    total.bytes_from_client += sign * counters.bytes_from_client
    total.packets_to_client += sign * counters.packets_to_client
    total.bytes_to_client += sign * counters.bytes_to_client
