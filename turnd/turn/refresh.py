"""Refresh: prolongs or deletes an allocation (RFC 8656 section 8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.turn.ending import carry_out
from turnd.turn.events import EndReason
from turnd.turn.lifetime import desired_lifetime
from turnd.turn.ownership import owned_allocation
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.turn.state import ServerState


def refresh(state: ServerState, request: Request) -> Attributes:
    """Set the end of all relays, or of the one whose family is named; lifetime 0 deletes."""
    allocation = owned_allocation(request)
    family = request.message.get(a.REQUESTED_ADDRESS_FAMILY)
    named = None
    relays = allocation.relays
    if family is not None:
        relays = tuple(relay for relay in relays if relay.family == family)
        if not relays:
            raise Refused(ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH, f"no relay of family {family}")
        named = relays[0].family
    if request.message.get(a.LIFETIME) == 0:
        carry_out(state, state.table.remove(allocation, named), EndReason.DELETED, request.now)
        return ((a.LIFETIME, 0),)
    lifetime = desired_lifetime(request.message, state.settings)
    deadline = request.now + lifetime
    state.table.refresh(allocation, named, deadline)
    for relay in relays:
        state.engine.extend(RelayId(relay.relay_id), deadline)
    return ((a.LIFETIME, int(lifetime)),)
