"""ConnectionBind: a client's stream and a peer's connection become one (RFC 6062 section 5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.connections import ConnectionState
from turnd.engine.base import CloseReason
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError, ErrorCode
from turnd.stun.message import Method
from turnd.turn.answers import success_response
from turnd.turn.connection_ending import data_leg_closed
from turnd.turn.ownership import check_owner
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.stun.message import Message
    from turnd.turn.state import ServerState
    from turnd.turn.turn_allocation import TurnAllocation
    from turnd.turn.turn_connection import TurnConnection


def connection_bind(state: ServerState, request: Request) -> Attributes | None:
    """Join both ends; the success response leaves by the engine, right before the peer's bytes."""
    if not request.leg.transport.is_stream:
        raise Refused(ErrorCode.BAD_REQUEST, "ConnectionBind needs TCP or TLS")
    if request.allocation is not None:
        raise Refused(ErrorCode.BAD_REQUEST, "the stream carries an allocation")
    connection = _pending(state, request.message, request.now)
    if connection is None:
        raise Refused(ErrorCode.BAD_REQUEST, "no such connection waits")
    check_owner(connection.allocation, request)
    answer = success_response(request, (), state.settings.software)
    state.connections.bind(connection, request.leg)
    descriptor = state.peer_sockets.take(connection.number)
    buckets = connection.allocation.buckets or ()
    if not state.engine.splice(request.leg, descriptor, answer, buckets):
        data_leg_closed(state, request.leg, CloseReason.CLIENT, request.now)
    return None


def allocation_to_bind(state: ServerState, message: Message, now: float) -> TurnAllocation | None:
    """Whose connection a ConnectionBind asks for: its key is at hand also while Redis is away."""
    if message.method != Method.CONNECTION_BIND:
        return None
    try:
        connection = _pending(state, message, now)
    except DecodeError:
        return None  # the handler will say so
    return None if connection is None else connection.allocation


def _pending(state: ServerState, message: Message, now: float) -> TurnConnection | None:
    number = message.get(a.CONNECTION_ID)
    if number is None:
        return None
    return state.connections.find(number, ConnectionState.PENDING, now)
