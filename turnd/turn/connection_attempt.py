"""A peer connects to a relayed transport address (RFC 6062 section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.connections import ConnectionState
from turnd.stun import attributes as a
from turnd.stun.message import MessageClass, Method, encode_message
from turnd.turn.connection_ending import end_connection
from turnd.turn.events import ConnectionEnd, ConnectionOpened, ConnectionRefused, PeerRefusal
from turnd.turn.turn_connection import TurnConnection

if TYPE_CHECKING:
    from turnd.engine.base import RelayId
    from turnd.stun.addresses import PeerAddress, TransportAddress
    from turnd.turn.state import ServerState
    from turnd.turn.turn_allocation import TurnAllocation


def arrived(state: ServerState, relay: RelayId, source: TransportAddress, now: float) -> int | None:
    """Tell the client of a peer's connection; its number, or None: it is to be closed at once."""
    allocation = state.listening.get(relay)
    if allocation is None:
        return None
    peer = state.relays.tcp_peer(source)
    former = state.connections.with_peer(allocation, peer)
    if former is not None and former.state is ConnectionState.PENDING:
        # The system lets nobody in twice from one address: the peer has reset it and begun anew.
        end_connection(state, former, ConnectionEnd.PEER, now)
    refusal = _refusal(state, allocation, peer, now)
    if refusal is not None:
        state.report(
            ConnectionRefused(allocation.leg, allocation.user, allocation.realm, peer, refusal)
        )
        return None
    connection = TurnConnection(
        number=state.connections.new_number(),
        allocation=allocation,
        peer=peer,
        opened_at=now,
        state=ConnectionState.PENDING,
    )
    state.connections.add(connection, now)
    state.report(ConnectionOpened(allocation.leg, allocation.user, allocation.realm, peer, True))
    indication = encode_message(
        Method.CONNECTION_ATTEMPT,
        MessageClass.INDICATION,
        state.connections.random_bytes(12),
        ((a.CONNECTION_ID, connection.number), (a.XOR_PEER_ADDRESS, peer)),
    )
    state.engine.send_to_client(allocation.leg, indication)
    return connection.number


def _refusal(
    state: ServerState, allocation: TurnAllocation, peer: PeerAddress, now: float
) -> PeerRefusal | None:
    if not allocation.permits(peer.host, now):
        return PeerRefusal.NO_PERMISSION
    if state.realms[allocation.realm].policy.verdict(peer.host, peer.port) is not None:
        return PeerRefusal.FORBIDDEN
    if state.connections.refusal(allocation, peer) is not None:
        return PeerRefusal.FULL
    return None
