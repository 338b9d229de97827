"""How a peer's connection ends (RFC 6062 section 5.5): by a side, by time, or with all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.connections import ConnectionState
from turnd.engine.base import CloseReason
from turnd.stun.errors import ErrorCode
from turnd.turn.connect import give_up
from turnd.turn.events import ConnectionEnd, ConnectionEnded

if TYPE_CHECKING:
    from turnd.allocations.allocation import Allocation, Relay
    from turnd.engine.base import Leg
    from turnd.turn.state import ServerState
    from turnd.turn.turn_connection import TurnConnection

_BY_STREAM = {CloseReason.CLIENT: ConnectionEnd.CLIENT, CloseReason.PEER: ConnectionEnd.PEER}


def end_connection(
    state: ServerState, connection: TurnConnection, reason: ConnectionEnd, now: float
) -> None:
    """Close both ends, as far as they stand; a Connect that waits gets its answer."""
    if not state.connections.remove(connection):
        return
    if connection.leg is not None:
        state.engine.close_leg(connection.leg, CloseReason.SERVER)
    else:
        state.peer_sockets.drop(connection.number)
    if connection.state is not ConnectionState.CONNECTING:
        _tell(state, connection, reason, now)
    elif reason is ConnectionEnd.FORBIDDEN:
        give_up(state, connection, ErrorCode.FORBIDDEN, f"peer {connection.peer}: {reason}")
    else:
        give_up(state, connection, ErrorCode.CONNECTION_TIMEOUT_OR_FAILURE, f"ended: {reason}")


def data_leg_closed(state: ServerState, leg: Leg, reason: CloseReason, now: float) -> None:
    """A stream has ended: if it was a client data connection, the engine has closed the peer's."""
    connection = state.connections.of_leg(leg)
    if connection is not None:
        state.connections.remove(connection)
        _tell(state, connection, _BY_STREAM.get(reason, ConnectionEnd.SERVER), now)


def end_overdue(state: ServerState, now: float) -> None:
    """End what nobody bound, and attempts that took too long."""
    for connection in state.connections.overdue(now):
        end_connection(state, connection, ConnectionEnd.UNBOUND, now)


def end_connections_of(
    state: ServerState, allocation: Allocation, relay: Relay, now: float
) -> None:
    """A relayed transport address is gone, and its connections with it."""
    for connection in state.connections.of(allocation):
        if connection.peer.family is relay.family:
            end_connection(state, connection, ConnectionEnd.ALLOCATION, now)


def end_refused(state: ServerState, now: float) -> None:
    """End what the realms' policies, just changed, refuse now."""
    for allocation in set(state.listening.values()):
        policy = state.realms[allocation.realm].policy
        for connection in state.connections.of(allocation):
            if policy.verdict(connection.peer.host, connection.peer.port) is not None:
                end_connection(state, connection, ConnectionEnd.FORBIDDEN, now)


def _tell(
    state: ServerState, connection: TurnConnection, reason: ConnectionEnd, now: float
) -> None:
    allocation, seconds = connection.allocation, now - connection.opened_at
    state.report(
        ConnectionEnded(
            allocation.leg, allocation.user, allocation.realm, connection.peer, reason, seconds
        )
    )
