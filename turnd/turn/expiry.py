"""What a client may still do when its credential's date has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Method
from turnd.turn.events import FailureReason
from turnd.turn.request import Refused, Request

if TYPE_CHECKING:
    from turnd.turn.attempt import Attempt


def check_expiry(request: Request, attempt: Attempt) -> None:
    """A REST credential is good for new allocations until its date, a token for anything.

    An Allocate on a five-tuple that has an allocation makes none: a retransmission gets its first
    copy's answer also when the date has passed in between. `strict_expiry` of the realm is about
    going on with a REST credential: an end is always welcome.

    Raises:
        Refused: 401.
        DecodeError: a malformed LIFETIME.
    """
    message, credential = request.message, request.credential
    allocates, refreshes = message.method == Method.ALLOCATE, message.method == Method.REFRESH
    creates = allocates and request.allocation is None
    ends = refreshes and message.get(a.LIFETIME) == 0
    if credential.access is not None:
        binds = creates or not (allocates or ends)
    else:
        binds = creates or (request.realm.strict_expiry and refreshes and not ends)
    if binds and credential.expired(attempt.wall_now):
        attempt.failed(credential.user, FailureReason.EXPIRED)
        raise Refused(ErrorCode.UNAUTHENTICATED, "the credential has expired", attempt.challenge())
