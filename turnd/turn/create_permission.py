"""CreatePermission: lets peers by their IP address (RFC 8656 section 10.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.allocation import PermitRefusal, RelayedTransport
from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.turn.ownership import owned_allocation
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.turn.state import ServerState


def create_permission(state: ServerState, request: Request) -> Attributes:
    """Install or refresh permissions for all peers of the request, or for none."""
    allocation = owned_allocation(request)
    hosts = {peer.host for peer in request.message.get_all(a.XOR_PEER_ADDRESS)}
    if not hosts:
        raise Refused(ErrorCode.BAD_REQUEST, "no XOR-PEER-ADDRESS")
    for host in hosts:
        if allocation.relay_for(host) is None:
            raise Refused(ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH, f"no relay reaches {host}")
        forbidden = request.realm.policy.verdict(host, None)
        if forbidden is not None:
            raise Refused(ErrorCode.FORBIDDEN, f"peer {host}: {forbidden}")
    refusal = state.table.permit(allocation, hosts, request.now)
    if refusal is PermitRefusal.FULL:
        raise Refused(ErrorCode.INSUFFICIENT_CAPACITY, refusal)
    if allocation.transport is RelayedTransport.TCP:
        return ()  # asked for each connection, when it comes
    for relay in allocation.relays:
        for host in hosts & relay.permissions.keys():
            state.engine.permit(RelayId(relay.relay_id), host, relay.permissions[host])
    return ()
