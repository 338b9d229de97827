"""What is counted: per relay, per transport, and dropped packets by reason. Sums never go down."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from turnd.engine.base import Drop, RelayCounters, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})


class Tally:
    """Sums of relays that are gone, and drops."""

    def __init__(self) -> None:
        self.drops: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self._retired = {transport: RelayCounters() for transport in Transport}

    def drop(self, reason: Drop) -> None:
        """A packet went no further."""
        self.drops[reason] += 1

    def send_failed(self, error: OSError) -> None:
        """A packet went no further because a socket refused it: one lost packet, no more."""
        if error.errno in _FULL:
            self.drop(Drop.QUEUE_FULL)
        elif error.errno == errno.EMSGSIZE:
            self.drop(Drop.TOO_BIG)
        else:
            self.drop(Drop.REFUSED)

    def retire(self, transport: Transport, counters: RelayCounters) -> None:
        """A relay has closed."""
        add_counters(self._retired[transport], counters)

    def transfer(self, old: Transport, new: Transport, counters: RelayCounters) -> None:
        """A relay goes on with a client of another transport: what it has counted stays behind."""
        add_counters(self._retired[old], counters)
        add_counters(self._retired[new], counters, -1)

    def by_transport(
        self, live: Iterable[tuple[Transport, RelayCounters]]
    ) -> dict[Transport, RelayCounters]:
        """Sums over relays that are gone and those given."""
        sums = {transport: RelayCounters() for transport in Transport}
        for transport, counters in self._retired.items():
            add_counters(sums[transport], counters)
        for transport, counters in live:
            add_counters(sums[transport], counters)
        return sums


def add_counters(total: RelayCounters, counters: RelayCounters, sign: int = 1) -> None:
    """Add one set of counters to another (or, with sign -1, take it away)."""
    total.packets_from_client += sign * counters.packets_from_client
    total.bytes_from_client += sign * counters.bytes_from_client
    total.packets_to_client += sign * counters.packets_to_client
    total.bytes_to_client += sign * counters.bytes_to_client
