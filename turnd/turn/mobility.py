"""Mobility: an allocation follows its client to another five-tuple (RFC 8016 section 3).

How it goes
    1.  An Allocate with an empty MOBILITY-TICKET gets a ticket with its answer.
    2.  A Refresh with the ticket, by the same user and from another five-tuple, gets a new one.
        From then on requests and media of both five-tuples are the allocation's; what peers send
        goes to the old one.
    3.  The first ChannelData or Send indication from the new one moves the allocation for good. So
        does the end of the old one's connection. Media that is still under way by the old one is
        taken for `FORMER_LEG_GRACE` seconds by the engine, requests are not.
    4.  An allocation with a ticket outlives its connection: it waits for its client until its
        lifetime ends.

It is counted for the client address that it was made from, wherever it goes: who moves neither gets
room for more at the old address nor is turned away at the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.allocations.tickets import TICKET_LENGTH
from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Message, Method
from turnd.turn.events import AllocationMoved
from turnd.turn.ownership import check_owner
from turnd.turn.request import Attributes, Refused, Request
from turnd.turn.turn_allocation import Returned

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.turn.state import ServerState
    from turnd.turn.turn_allocation import TurnAllocation


def asks_for_ticket(state: ServerState, message: Message) -> bool:
    """Whether an Allocate asks for a ticket (section 3.1.2).

    Raises:
        Refused: 400 where it shows one, 405 where there are none.
    """
    ticket = message.get(a.MOBILITY_TICKET)
    if ticket:
        raise Refused(ErrorCode.BAD_REQUEST, "an Allocate with a mobility ticket")
    if ticket is not None and not state.settings.mobility:
        raise Refused(ErrorCode.MOBILITY_FORBIDDEN)
    return ticket is not None


def shown_allocation(state: ServerState, message: Message) -> TurnAllocation | None:
    """The allocation whose ticket a request shows, whoever sent it.

    Its own credential is tried first, as on its own five-tuple: Redis may be away.
    """
    ticket = message.get(a.MOBILITY_TICKET) if message.method == Method.REFRESH else None
    claim = state.tickets.find(ticket) if ticket else None
    return None if claim is None else claim.allocation


def claimed_allocation(state: ServerState, request: Request) -> TurnAllocation:
    """The allocation that a Refresh claims by its ticket (section 3.2.2).

    Raises:
        Refused: 405, 400, 437 or 441.
    """
    if not state.settings.mobility:
        raise Refused(ErrorCode.MOBILITY_FORBIDDEN)
    ticket = request.message.get(a.MOBILITY_TICKET) or b""
    if len(ticket) != TICKET_LENGTH:
        raise Refused(ErrorCode.BAD_REQUEST, "not a mobility ticket")
    claim = state.tickets.find(ticket)
    if claim is None:
        raise Refused(ErrorCode.ALLOCATION_MISMATCH, "no allocation for this mobility ticket")
    allocation = claim.allocation
    check_owner(allocation, request)
    if claim.used:
        if earlier_answer(allocation, request) is None:
            raise Refused(ErrorCode.ALLOCATION_MISMATCH, "the mobility ticket was used before")
    elif request.leg == (allocation.next_leg or allocation.leg):
        raise Refused(ErrorCode.BAD_REQUEST, "a mobility ticket from the same five-tuple")
    elif request.allocation is not None and request.allocation is not allocation:
        raise Refused(ErrorCode.ALLOCATION_MISMATCH, "the five-tuple has an allocation")
    return allocation


def earlier_answer(allocation: TurnAllocation, request: Request) -> Attributes | None:
    """What the first copy of a request with a ticket got; None: this is the first."""
    returned = allocation.returned
    if returned is None or returned.leg != request.leg:
        return None
    return returned.answer if returned.transaction_id == request.message.transaction_id else None


def follow(
    state: ServerState, request: Request, allocation: TurnAllocation, answer: Attributes
) -> Attributes:
    """Let the client use the request's five-tuple. Returns the answer with a new ticket."""
    leg = request.leg
    stay(state, allocation)
    if leg != allocation.leg:
        state.table.expect(allocation, leg)
        if allocation.connected:
            state.engine.hold_back(leg)
        else:
            _move(state, allocation)
    answer = (*answer, (a.MOBILITY_TICKET, state.tickets.issue(allocation)))
    allocation.returned = Returned(leg, request.message.transaction_id, answer)
    return answer


def media_waiting(state: ServerState, leg: Leg) -> None:
    """A five-tuple that was expected has sent media: it is the allocation's only one now."""
    allocation = state.table.get(leg)
    if allocation is not None and allocation.next_leg == leg:
        _move(state, allocation)


def outlives(state: ServerState, allocation: TurnAllocation, leg: Leg) -> bool:
    """Whether an allocation goes on although a connection of its client has ended."""
    if allocation.next_leg == leg:
        stay(state, allocation)
    elif allocation.next_leg is not None:
        _move(state, allocation)
    elif state.settings.mobility and state.tickets.has(allocation):
        allocation.connected = False
    else:
        return False
    return True


def stay(state: ServerState, allocation: TurnAllocation) -> None:
    """Expect the client at no other five-tuple."""
    leg = allocation.next_leg
    if leg is not None:
        state.table.expect_no_more(allocation)
        state.engine.hand_over((), leg)


def _move(state: ServerState, allocation: TurnAllocation) -> None:
    former = allocation.leg
    state.table.move(allocation)
    relays = [RelayId(relay.relay_id) for relay in allocation.relays]
    state.engine.hand_over(relays, allocation.leg)
    if not allocation.connected:
        allocation.connected = True
        if allocation.buckets is not None:  # they may have come meanwhile
            for relay in allocation.relays:
                relay_id = RelayId(relay.relay_id)
                state.engine.move(relay_id, allocation.leg, relay.deadline, allocation.buckets)
    state.report(AllocationMoved(allocation.leg, allocation.user, allocation.realm, former))
