"""The door to the TCP sockets of relayed transport addresses (RFC 6062): `PeerSockets`.

Rules of the house, as the engine's
    1.  No verb blocks, none raises for what the network did, and none calls back.
    2.  What the network does is told later, by `TurnServer.peer_arrived` and `peer_connected`.
    3.  A connection goes by the number that the core knows it by; its CONNECTION-ID.
    4.  Nothing is read from a connection here: what a peer sends early waits in the kernel, whose
        buffer is the bound, until the engine has taken the socket over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from turnd.engine.base import RelayError, RelayId
    from turnd.stun.addresses import TransportAddress


class PeerSockets(Protocol):
    """What listens at, accepts on and connects from relayed transport addresses."""

    def listen(self, bound: TransportAddress) -> RelayId | RelayError:
        """Bind a relayed transport address; peers' connections are told from now on."""
        ...

    def close(self, relay: RelayId) -> None:
        """Free the relayed transport address. Its connections stay until they are dropped."""
        ...

    def connect(self, number: int, relay: RelayId, target: TransportAddress) -> None:
        """Begin to connect from the relayed transport address; what comes of it is told later."""
        ...

    def take(self, number: int) -> int:
        """Give the descriptor of a connection that stands away: it is the caller's."""
        ...

    def drop(self, number: int) -> None:
        """Close a connection, or give up making it."""
        ...
