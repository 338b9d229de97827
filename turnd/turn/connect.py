"""Connect: a TCP connection to a peer, from the relayed transport address (RFC 6062 section 5.2).

The answer is given when the connection stands or has failed, by `connected` or `give_up`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.allocation import RelayedTransport
from turnd.allocations.connections import ConnectionRefusal, ConnectionState
from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.addresses import PeerAddress
from turnd.stun.errors import ErrorCode
from turnd.turn.answers import refusal_response, success_response
from turnd.turn.events import ConnectionOpened
from turnd.turn.ownership import owned_allocation
from turnd.turn.request import Attributes, Refused, Request
from turnd.turn.turn_connection import TurnConnection

if TYPE_CHECKING:
    from turnd.turn.state import ServerState
    from turnd.turn.turn_allocation import TurnAllocation

_CODES = {
    ConnectionRefusal.EXISTS: ErrorCode.CONNECTION_ALREADY_EXISTS,
    ConnectionRefusal.FULL: ErrorCode.INSUFFICIENT_CAPACITY,
}


def connect(state: ServerState, request: Request) -> Attributes | None:
    """Begin to connect. A copy of a request shares its fate: there is one connection."""
    allocation = owned_allocation(request)
    if allocation.transport is not RelayedTransport.TCP:
        raise Refused(ErrorCode.ALLOCATION_MISMATCH, "the allocation is not one of TCP")
    address = request.message.get(a.XOR_PEER_ADDRESS)
    if address is None or address.port == 0:
        raise Refused(ErrorCode.BAD_REQUEST, "no XOR-PEER-ADDRESS, or one with port 0")
    peer = PeerAddress(address)
    known = state.connections.with_peer(allocation, peer)
    if known is not None and _is_copy(known, request):
        return None if known.state is ConnectionState.CONNECTING else _success(known)
    refusal = state.connections.refusal(allocation, peer)
    if refusal is not None:
        raise Refused(_CODES[refusal], refusal)
    relay = allocation.relay_for(peer.host)
    if relay is None:
        raise Refused(ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH, f"no relay reaches {peer.host}")
    forbidden = request.realm.policy.verdict(peer.host, peer.port)
    target = state.relays.tcp_target(peer)
    if forbidden is not None or target is None:
        why = forbidden or "nothing is relayed there"
        raise Refused(ErrorCode.FORBIDDEN, f"peer {peer}: {why}")
    connection = _new(state, allocation, peer, request)
    state.peer_sockets.connect(connection.number, RelayId(relay.relay_id), target)
    return None


def _is_copy(connection: TurnConnection, request: Request) -> bool:
    first = connection.request
    return first is not None and first.message.transaction_id == request.message.transaction_id


def _new(
    state: ServerState, allocation: TurnAllocation, peer: PeerAddress, request: Request
) -> TurnConnection:
    connection = TurnConnection(
        number=state.connections.new_number(),
        allocation=allocation,
        peer=peer,
        opened_at=request.now,
        state=ConnectionState.CONNECTING,
        request=request,
    )
    state.connections.add(connection, request.now)
    return connection


def _success(connection: TurnConnection) -> Attributes:
    return ((a.CONNECTION_ID, connection.number),)


def connected(state: ServerState, number: int, failure: str | None, now: float) -> None:
    """A connection stands, or `failure` says why it does not: now the Connect is answered."""
    connection = state.connections.find(number, ConnectionState.CONNECTING, now)
    if connection is None or connection.request is None:
        state.peer_sockets.drop(number)
        return
    if failure is not None:
        state.connections.remove(connection)
        state.peer_sockets.drop(number)
        give_up(state, connection, ErrorCode.CONNECTION_TIMEOUT_OR_FAILURE, failure)
        return
    state.connections.connected(connection, now)
    allocation = connection.allocation
    state.report(
        ConnectionOpened(allocation.leg, allocation.user, allocation.realm, connection.peer, False)
    )
    answer = success_response(connection.request, _success(connection), state.settings.software)
    state.engine.send_to_client(allocation.leg, answer)


def give_up(state: ServerState, connection: TurnConnection, code: ErrorCode, why: str) -> None:
    """Answer the Connect of a connection that never came to stand."""
    request = connection.request
    if request is not None:
        answer = refusal_response(state, request, Refused(code, why))
        state.engine.send_to_client(connection.allocation.leg, answer)
