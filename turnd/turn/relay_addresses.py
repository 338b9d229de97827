"""The addresses that relayed transport addresses are made of, and how one is opened.

They change while the server runs: a home gets another public address, an interface loses its own.
What is in force is for new relays only. A relay keeps the address that it was opened under, and
that address stays known as ours until the last such relay is closed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turnd.allocations.allocation import RelayedTransport
from turnd.engine.base import BucketId, Leg, RelayEngine, RelayError, RelayId
from turnd.stun.addresses import (
    AddressFamily,
    PeerAddress,
    RelayedAddress,
    TransportAddress,
    family_of,
    is_loopback,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from turnd.allocations.relay_ports import RelayPorts
    from turnd.turn.peer_sockets import PeerSockets

_TRIES = 32
"""Ports tried for one relay: other programs may hold some of the range."""


@dataclass(slots=True)
class RelayAddress:
    """One host address of ours, as bound here and as announced to clients (1:1 NAT)."""

    bound: str
    announced: str
    ports: RelayPorts


class AddressPair(NamedTuple):
    """A bound host and what clients and peers are told instead of it."""

    bound: str
    announced: str

    def __str__(self) -> str:
        return self.bound if self.bound == self.announced else f"{self.bound}={self.announced}"


class Serves(NamedTuple):
    """Whom a relay is for, how long, how fast, and by what."""

    leg: Leg | None
    deadline: float
    buckets: Sequence[BucketId] = ()
    transport: RelayedTransport = RelayedTransport.UDP


class OpenedRelay(NamedTuple):
    """A relay that is bound, before it belongs to an allocation or a reservation."""

    relay_id: RelayId
    bound: TransportAddress
    """Where the socket is."""
    relayed: RelayedAddress
    """The relayed transport address as clients and peers know it."""


class RelayAddresses:
    """Opens and closes relays, and gives ports back. UDP and TCP draw from the same ports."""

    def __init__(
        self,
        engine: RelayEngine,
        peer_sockets: PeerSockets,
        addresses: Sequence[RelayAddress],
        random_below: Callable[[int], int],
    ) -> None:
        self._engine = engine
        self._peer_sockets = peer_sockets
        self._listening: set[TransportAddress] = set()
        self._random_below = random_below
        self._by_bound: dict[str, RelayAddress] = {}
        self._opened: dict[TransportAddress, AddressPair] = {}
        self._used: Counter[AddressPair] = Counter()
        """How many relays were opened under each."""
        self._in_force: list[RelayAddress] = []
        self._lacking: frozenset[AddressFamily] = frozenset()
        self.use(addresses)

    def __iter__(self) -> Iterator[RelayAddress]:
        """Those in force."""
        return iter(self._in_force)

    @property
    def pairs(self) -> tuple[AddressPair, ...]:
        """Those in force."""
        return tuple(AddressPair(each.bound, each.announced) for each in self._in_force)

    @property
    def known(self) -> dict[str, str]:
        """Announced → bound host of all that clients may know, those in force last."""
        known = {pair.announced: pair.bound for pair in self._used}
        for pair in self.pairs:
            known.pop(pair.announced, None)
            known[pair.announced] = pair.bound
        return known

    def use(
        self, addresses: Sequence[RelayAddress], lacking: Collection[AddressFamily] = ()
    ) -> None:
        """Open relays at these from now on; the ports of a bound host that is known go on.

        Args:
            addresses: what there is now, no bound host twice.
            lacking: families that the server is to have an address of, and has none now.
        """
        self._in_force = []
        for address in addresses:
            known = self._by_bound.setdefault(address.bound, address)
            known.announced = address.announced
            self._in_force.append(known)
        self._lacking = frozenset(lacking)
        wanted = {address.bound for address in addresses}
        for bound, address in list(self._by_bound.items()):
            if bound not in wanted and not address.ports.in_use:
                del self._by_bound[bound]

    def serves(self, family: AddressFamily | int) -> bool:
        """Whether the server relays in that family, also where it has no address of it just now."""
        return family in self._lacking or any(
            family_of(address.bound) == family for address in self._in_force
        )

    def open(
        self, family: AddressFamily, serves: Serves, now: float, *, even: bool = False
    ) -> OpenedRelay | RelayError:
        """Bind a relay at a random address of the family; the error is that of the last try."""
        error = RelayError.NO_SUCH_ADDRESS
        for address in self._shuffled(family):
            for _ in range(_TRIES):
                port = address.ports.take_even(now) if even else address.ports.take(now)
                if port is None:
                    error = RelayError.PORT_TAKEN
                    break
                opened = self._bind(address, port, serves, now)
                if isinstance(opened, OpenedRelay):
                    return opened
                error = opened
                if error is not RelayError.PORT_TAKEN:
                    break
        return error

    def open_pair(
        self, family: AddressFamily, serves: Serves, now: float, reserved_until: float
    ) -> tuple[OpenedRelay, OpenedRelay] | RelayError:
        """Bind an even port and the next one as a reservation."""
        error = RelayError.NO_SUCH_ADDRESS
        for address in self._shuffled(family):
            for _ in range(_TRIES):
                pair = address.ports.take_pair(now)
                if pair is None:
                    error = RelayError.PORT_TAKEN
                    break
                first = self._bind(address, pair[0], serves, now)
                if not isinstance(first, OpenedRelay):
                    error = first
                    address.ports.release(pair[1], now)
                    continue
                second = self._bind(address, pair[1], Serves(None, reserved_until), now)
                if isinstance(second, OpenedRelay):
                    return first, second
                error = second
                self.close(first.relay_id, first.bound, now)
        return error

    def close(
        self,
        relay_id: RelayId,
        bound: TransportAddress,
        now: float,
        transport: RelayedTransport = RelayedTransport.UDP,
    ) -> None:
        """Close a relay; its port rests from now on."""
        if transport is RelayedTransport.TCP:
            self._peer_sockets.close(relay_id)
            self._listening.discard(bound)
        else:
            self._engine.close_relay(relay_id)
        self._by_bound[bound.host].ports.release(bound.port, now)
        pair = self._opened.pop(bound)
        self._used[pair] -= 1
        if not self._used[pair]:
            del self._used[pair]

    def tcp_target(self, peer: PeerAddress) -> TransportAddress | None:
        """Where a peer is reached by TCP; None: an address of ours where nothing is relayed now.

        Addresses of ours have two faces, as the engine's datagrams know them: clients use the
        announced one, sockets the bound one.
        """
        known = self.known
        if is_loopback(peer.host) or not (peer.host in known or peer.host in self._by_bound):
            return peer
        target = peer._replace(host=known.get(peer.host, peer.host))
        return target if target in self._listening else None

    def tcp_peer(self, source: TransportAddress) -> PeerAddress:
        """Who connects, as clients know it: a relay by the address that it was opened under."""
        known = self._opened.get(source) or self._by_bound.get(source.host)
        return PeerAddress(source if known is None else source._replace(host=known.announced))

    def _bind(
        self, address: RelayAddress, port: int, serves: Serves, now: float
    ) -> OpenedRelay | RelayError:
        bound = TransportAddress(address.bound, port)
        if serves.transport is RelayedTransport.TCP:
            result = self._peer_sockets.listen(bound)
        else:
            result = self._engine.open_relay(serves.leg, bound, serves.deadline, serves.buckets)
        if not isinstance(result, RelayError):
            pair = self._opened[bound] = AddressPair(address.bound, address.announced)
            self._used[pair] += 1
            if serves.transport is RelayedTransport.TCP:
                self._listening.add(bound)
            relayed = RelayedAddress(TransportAddress(address.announced, port))
            return OpenedRelay(result, bound, relayed)
        if result is RelayError.PORT_TAKEN:
            address.ports.reject(port, now)
        else:
            address.ports.release(port, now)
        return result

    def _shuffled(self, family: AddressFamily) -> list[RelayAddress]:
        addresses = [each for each in self._in_force if family_of(each.bound) is family]
        if len(addresses) < 2:
            return addresses
        start = self._random_below(len(addresses))
        return addresses[start:] + addresses[:start]
