"""How many DTLS handshakes are under way, and whose: bounded in all and by network.

The more room is taken, the less of it a network gets (dynamic thresholds, Choudhury and Hahne
1998): a few networks that take all they can, as those of an IPv6 /48 are, leave room for newcomers.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from turnd.engine.networks import network_of

if TYPE_CHECKING:
    from turnd.stun.addresses import ClientAddress

MOST_HANDSHAKES = 512
"""Under way at the same time, over all listeners; OpenSSL takes some 64 KiB for each, and beside it
what a client has sent too early: a hundred records at most."""

MOST_OF_A_NETWORK = 64
"""Of these, of one network (IPv4 /24, IPv6 /56)."""


SHARE = 2
"""Into so many parts the room that is left is divided for the bound of a network."""


class Handshakes:
    """How many are under way, whose, and how many hellos the budget held back."""

    def __init__(self) -> None:
        self.over_budget = 0
        self._by_network: Counter[object] = Counter()

    def begin(self, client: ClientAddress) -> bool:
        """Count one more, if there is room."""
        network = network_of(client.host)
        held, room = self._by_network[network], MOST_HANDSHAKES - self._by_network.total()
        if held >= MOST_OF_A_NETWORK or held * SHARE >= room:
            return False
        self._by_network[network] += 1
        return True

    def end(self, client: ClientAddress) -> None:
        """One that had begun is under way no more."""
        network = network_of(client.host)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
