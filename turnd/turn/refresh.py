"""Refresh: prolongs or deletes an allocation (RFC 8656 section 8.2, RFC 8016 section 3.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.allocation import RelayedTransport
from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.turn.ending import carry_out
from turnd.turn.events import EndReason
from turnd.turn.lifetime import desired_lifetime
from turnd.turn.mobility import claimed_allocation, earlier_answer, follow
from turnd.turn.ownership import owned_allocation
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.turn.state import ServerState
    from turnd.turn.turn_allocation import TurnAllocation


def refresh(state: ServerState, request: Request) -> Attributes:
    """Set the end of the five-tuple's allocation, or of the one that a ticket claims for it."""
    if not request.message.has(a.MOBILITY_TICKET):
        return _set_end(state, request, owned_allocation(request))
    allocation = claimed_allocation(state, request)
    earlier = earlier_answer(allocation, request)
    if earlier is not None:
        return earlier
    answer = _set_end(state, request, allocation)
    return follow(state, request, allocation, answer) if allocation.relays else answer


def _set_end(state: ServerState, request: Request, allocation: TurnAllocation) -> Attributes:
    """Of all relays, or of the one whose family is named; lifetime 0 deletes."""
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
    longest = request.credential.longest_lifetime(state.wall_clock())
    lifetime = desired_lifetime(request.message, state.settings, longest)
    deadline = request.now + lifetime
    state.table.refresh(allocation, named, deadline)
    for relay in relays if allocation.transport is RelayedTransport.UDP else ():
        state.engine.extend(RelayId(relay.relay_id), deadline)
    if request.credential.access is not None:
        allocation.credential = request.credential  # the client goes on with a newer token
    return ((a.LIFETIME, int(lifetime)),)
