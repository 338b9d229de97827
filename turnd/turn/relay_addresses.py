"""The addresses that relayed transport addresses are made of, and how one is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.base import BucketId, Leg, RelayEngine, RelayError, RelayId
from turnd.stun.addresses import AddressFamily, RelayedAddress, TransportAddress, family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from turnd.allocations.relay_ports import RelayPorts

_TRIES = 32
"""Ports tried for one relay: other programs may hold some of the range."""


@dataclass(slots=True)
class RelayAddress:
    """One host address of ours, as bound here and as announced to clients (1:1 NAT)."""

    bound: str
    announced: str
    ports: RelayPorts


class Serves(NamedTuple):
    """Whom a relay is for, how long, and how fast."""

    leg: Leg | None
    deadline: float
    buckets: Sequence[BucketId] = ()


class OpenedRelay(NamedTuple):
    """A relay that is bound, before it belongs to an allocation or a reservation."""

    relay_id: RelayId
    bound: TransportAddress
    """Where the socket is."""
    relayed: RelayedAddress
    """The relayed transport address as clients and peers know it."""


class RelayAddresses:
    """Opens and closes relays, and gives ports back."""

    def __init__(
        self,
        engine: RelayEngine,
        addresses: Sequence[RelayAddress],
        random_below: Callable[[int], int],
    ) -> None:
        self._engine = engine
        self._random_below = random_below
        self.by_family: dict[AddressFamily, list[RelayAddress]] = {}
        for address in addresses:
            self.by_family.setdefault(family_of(address.bound), []).append(address)
        self._by_bound = {address.bound: address for address in addresses}

    def __iter__(self) -> Iterator[RelayAddress]:
        return iter(self._by_bound.values())

    def serves(self, family: AddressFamily | int) -> bool:
        """Whether there is an address of that family at all."""
        return family in self.by_family

    def open(
        self, family: AddressFamily, serves: Serves, now: float, *, even: bool = False
    ) -> OpenedRelay | RelayError:
        """Bind a relay at a random address of the family; the error is that of the last try."""
        error = RelayError.PORT_TAKEN
        for address in self._shuffled(family):
            for _ in range(_TRIES):
                port = address.ports.take_even(now) if even else address.ports.take(now)
                if port is None:
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
        error = RelayError.PORT_TAKEN
        for address in self._shuffled(family):
            for _ in range(_TRIES):
                pair = address.ports.take_pair(now)
                if pair is None:
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

    def close(self, relay_id: RelayId, bound: TransportAddress, now: float) -> None:
        """Close a relay; its port rests from now on."""
        self._engine.close_relay(relay_id)
        self._by_bound[bound.host].ports.release(bound.port, now)

    def _bind(
        self, address: RelayAddress, port: int, serves: Serves, now: float
    ) -> OpenedRelay | RelayError:
        bound = TransportAddress(address.bound, port)
        result = self._engine.open_relay(serves.leg, bound, serves.deadline, serves.buckets)
        if not isinstance(result, RelayError):
            relayed = RelayedAddress(TransportAddress(address.announced, port))
            return OpenedRelay(result, bound, relayed)
        if result is RelayError.PORT_TAKEN:
            address.ports.reject(port, now)
        else:
            address.ports.release(port, now)
        return result

    def _shuffled(self, family: AddressFamily) -> list[RelayAddress]:
        addresses = self.by_family.get(family, [])
        if len(addresses) < 2:
            return addresses
        start = self._random_below(len(addresses))
        return addresses[start:] + addresses[:start]
