"""ChannelBind: a number for a peer, and a permission for its address (RFC 8656 section 12.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.allocation import BindRefusal, RelayedTransport
from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.addresses import ChannelNumber, PeerAddress
from turnd.stun.errors import ErrorCode
from turnd.turn.ownership import owned_allocation
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.turn.state import ServerState

_CODES = {
    BindRefusal.INVALID_NUMBER: ErrorCode.BAD_REQUEST,
    BindRefusal.NUMBER_TAKEN: ErrorCode.BAD_REQUEST,
    BindRefusal.PEER_TAKEN: ErrorCode.BAD_REQUEST,
    BindRefusal.FAMILY_MISMATCH: ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH,
    BindRefusal.FULL: ErrorCode.INSUFFICIENT_CAPACITY,
}


def channel_bind(state: ServerState, request: Request) -> Attributes:
    """Bind or refresh a channel; its permission lasts as long as any other, not as the channel."""
    allocation = owned_allocation(request)
    if allocation.transport is RelayedTransport.TCP:
        raise Refused(ErrorCode.BAD_REQUEST, "a TCP allocation has no channels")
    asked = request.message.get(a.CHANNEL_NUMBER)
    address = request.message.get(a.XOR_PEER_ADDRESS)
    if asked is None or address is None:
        raise Refused(ErrorCode.BAD_REQUEST, "no CHANNEL-NUMBER or no XOR-PEER-ADDRESS")
    if address.port == 0:
        raise Refused(ErrorCode.BAD_REQUEST, "a peer has no port 0")
    number, peer = ChannelNumber(asked), PeerAddress(address)
    refusal = allocation.bind_refusal(number, peer, request.now, state.table.limits)
    if refusal is not None:
        raise Refused(_CODES[refusal], refusal)
    forbidden = request.realm.policy.verdict(peer.host, peer.port)
    if forbidden is not None:
        raise Refused(ErrorCode.FORBIDDEN, f"peer {peer}: {forbidden}")
    state.table.bind(allocation, number, peer, request.now)
    for relay in allocation.relays:
        if relay.family is peer.family:
            deadline = relay.channels[number].deadline
            relay_id = RelayId(relay.relay_id)
            state.engine.permit(relay_id, peer.host, relay.permissions[peer.host])
            state.engine.bind_channel(relay_id, number, peer, deadline)
    return ()
