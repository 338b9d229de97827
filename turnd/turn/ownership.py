"""Whose allocation it is (RFC 8656 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun.errors import ErrorCode
from turnd.turn.request import Refused, Request

if TYPE_CHECKING:
    from turnd.turn.turn_allocation import TurnAllocation


def owned_allocation(request: Request) -> TurnAllocation:
    """The allocation of the request's five-tuple.

    Raises:
        Refused: 437 where there is none, 441 where it is another user's.
    """
    allocation = request.allocation
    if allocation is None:
        raise Refused(ErrorCode.ALLOCATION_MISMATCH, "no allocation on this five-tuple")
    check_owner(allocation, request)
    return allocation


def check_owner(allocation: TurnAllocation, request: Request) -> None:
    """See to it that an allocation is the request's user's.

    Tokens name no user: on the allocation's own five-tuple any token of the realm will do, since it
    may be newer than the allocation's; elsewhere it has to be the very one.

    Raises:
        Refused: 441.
    """
    ours, theirs = allocation.credential, request.credential
    is_owner = (ours.owner, allocation.realm) == (theirs.owner, request.realm.name)
    if request.leg not in (allocation.leg, allocation.next_leg):
        is_owner &= (ours.access and ours.access.value) == (theirs.access and theirs.access.value)
    if not is_owner:
        raise Refused(ErrorCode.WRONG_CREDENTIALS, "another user's allocation")
