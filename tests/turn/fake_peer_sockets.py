"""TCP sockets of relayed transport addresses in memory: what was asked for, and what happens."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from turnd.engine.base import RelayError, RelayId

if TYPE_CHECKING:
    from turnd.stun.addresses import TransportAddress
    from turnd.turn.server import TurnServer


class FakePeerSockets:
    """See `PeerSockets`; the number of a connection is its descriptor as well."""

    server: TurnServer

    def __init__(self) -> None:
        self.error: RelayError | None = None
        """What the next attempt to listen fails with."""
        self.listening: dict[RelayId, TransportAddress] = {}
        self.connecting: dict[int, tuple[RelayId, TransportAddress]] = {}
        self.standing: set[int] = set()
        self.dropped: list[int] = []
        self._ids = map(RelayId, count(1))  # the engine's relays may have the same

    def listen(self, bound: TransportAddress) -> RelayId | RelayError:
        if self.error is not None:
            error, self.error = self.error, None
            return error
        assert bound not in self.listening.values()
        relay = next(self._ids)
        self.listening[relay] = bound
        return relay

    def close(self, relay: RelayId) -> None:
        del self.listening[relay]

    def connect(self, number: int, relay: RelayId, target: TransportAddress) -> None:
        assert relay in self.listening
        assert number not in self.connecting
        self.connecting[number] = relay, target

    def take(self, number: int) -> int:
        self.standing.remove(number)
        return number

    def drop(self, number: int) -> None:
        if number in self.connecting or number in self.standing:
            self.dropped.append(number)
        self.connecting.pop(number, None)
        self.standing.discard(number)

    def stands(self, now: float) -> int:
        """The oldest attempt has succeeded; its number."""
        number = next(iter(self.connecting))
        del self.connecting[number]
        self.standing.add(number)
        self.server.peer_connected(number, None, now)
        return number

    def fails(self, why: str, now: float) -> None:
        """The oldest attempt has failed."""
        self.server.peer_connected(next(iter(self.connecting)), why, now)

    def arrives(self, at: TransportAddress, source: TransportAddress, now: float) -> int | None:
        """A peer connects to a relayed transport address, bound as it is; the number it gets."""
        (relay,) = (relay for relay, bound in self.listening.items() if bound == at)
        number = self.server.peer_arrived(relay, source, now)
        if number is not None:
            self.standing.add(number)
        return number
