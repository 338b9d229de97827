"""Responses, and how large one to a stranger may be (promise 1 of the design)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.auth.passed_nonce import mint_passed_nonce
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.stun.errors import ErrorCode
from turnd.stun.integrity import ATTRIBUTE_HEADER_SIZE, FINGERPRINT_SIZE, HEADER_SIZE
from turnd.stun.message import Message, MessageClass, encode_message
from turnd.turn.events import RequestRefused
from turnd.turn.request import Attributes, Refused, Request

if TYPE_CHECKING:
    from turnd.engine.base import Leg, RelayEngine
    from turnd.stun.addresses import ServerAddress
    from turnd.turn.state import ServerState

_IP_AND_UDP = {AddressFamily.IPV4: 28, AddressFamily.IPV6: 48}
"""Bytes of the headers below STUN, without options."""

_SMALLEST_FIRST_REQUEST = 28
"""Bytes of an Allocate with REQUESTED-TRANSPORT alone, FINGERPRINT (8 bytes) aside."""


class Elsewhere(NamedTuple):
    """An answer that takes another way than straight back (RFC 5780)."""

    data: bytes
    leg: Leg
    """The client's, perhaps with another port of it."""
    from_: ServerAddress
    """The endpoint of ours that it leaves from."""


Answer = bytes | Elsewhere
"""Bytes go straight back."""


def send_answer(engine: RelayEngine, leg: Leg, answer: Answer) -> None:
    """Have the engine send the answer to a request that came by this leg."""
    if isinstance(answer, Elsewhere):
        engine.send_to_client(answer.leg, answer.data, answer.from_)
    else:
        engine.send_to_client(leg, answer)


def room_for(message: Message, leg: Leg) -> int:
    """How many bytes the answer to a request may have whose sender may be somebody else."""
    if leg.transport.is_connection:
        return HEADER_SIZE + 0xFFFF
    headers = _IP_AND_UDP[leg.client.family]
    return 2 * (headers + message.size) - headers


def fitting(attributes: Attributes, message: Message, leg: Leg) -> Attributes:
    """The first of these attributes, as many as the answer to a stranger has room for."""
    seal = ATTRIBUTE_HEADER_SIZE + FINGERPRINT_SIZE if message.has_fingerprint else 0
    room = room_for(message, leg) - HEADER_SIZE - seal
    for count, (attribute, value) in enumerate(attributes):
        size = len(attribute.encode(value, message.transaction_id))
        room -= ATTRIBUTE_HEADER_SIZE + (size + 3 & ~3)
        if room < 0:
            return attributes[:count]
    return attributes


def unknown_attributes(numbers: tuple[int, ...]) -> Refused:
    """420, with the list that RFC 8489 section 6.3.1 asks for."""
    return Refused(
        ErrorCode.UNKNOWN_ATTRIBUTE,
        "unknown required attributes",
        ((a.UNKNOWN_ATTRIBUTES, numbers),),
    )


def success_response(request: Request, attributes: Attributes, software: str) -> bytes:
    """Encode and sign what a handler has come to."""
    message = request.message
    return encode_message(
        message.method,
        MessageClass.SUCCESS,
        message.transaction_id,
        (*attributes, (a.SOFTWARE, software)) if software else attributes,
        integrity=request.integrity,
        fingerprint=message.has_fingerprint,
    )


def refusal_response(state: ServerState, request: Request, refused: Refused) -> bytes:
    """Encode, sign and report the refusal of an authenticated request."""
    state.report(
        RequestRefused(
            request.leg,
            request.credential.user,
            request.realm.name,
            request.message.method,
            refused.code,
            refused.why,
        )
    )
    refused.integrity = request.integrity
    if refused.code is ErrorCode.TRY_ALTERNATE:
        host, wall_now = request.leg.client.host, state.wall_clock()
        nonce = mint_passed_nonce(request.credential, request.integrity, host, wall_now)
        refused.attributes = (*refused.attributes, (a.NONCE, nonce))
    return error_response(request.message, request.leg, refused, state.settings.software)


def error_response(
    message: Message, leg: Leg, refused: Refused, software: str | None = None
) -> bytes:
    """Encode a refusal; signed where its `integrity` is set.

    By UDP an answer to who may have forged his address, be it with a password of his own, is at
    most twice the request at the IP level: if need be without its reason phrase, then without
    THIRD-PARTY-AUTHORIZATION, which no client depends on that has a password. A challenge does not
    fit a request of less than `_SMALLEST_FIRST_REQUEST` at all: no client begins with such a one,
    and it gets the bare code; so does who signs with another realm's name, and that a short one.

    Args:
        message: the request.
        leg: whom it came by.
        refused: the refusal.
        software: SOFTWARE, or nothing, for who has shown that the address is his; None: he has not.
    """
    phrase = refused.code.reason
    if software is not None or leg.transport.is_connection:
        return _encode(message, refused, phrase, software or "")
    room, signed = room_for(message, leg), refused.integrity
    # Without the phrase first: the answer that strangers ask for most, the challenge, has no room
    # for it, and would be encoded twice the other way round.
    answer = _encode(message, refused, "", "")
    if len(answer) + (len(phrase) + 3 & ~3) <= room:
        return _encode(message, refused, phrase, "")
    if len(answer) > room:
        kept = [each for each in refused.attributes if each[0] is not a.THIRD_PARTY_AUTHORIZATION]
        answer = _encode(message, Refused(refused.code, "", kept, signed), "", "")
    first_request = _SMALLEST_FIRST_REQUEST + 8 * message.has_fingerprint
    if len(answer) > room and (signed or message.size < first_request):
        answer = _encode(message, Refused(refused.code, integrity=signed), "", "")
    return answer


def _encode(message: Message, refused: Refused, reason: str, software: str) -> bytes:
    attributes: list[tuple[a.Attribute[Any], Any]] = [
        (a.ERROR_CODE, a.ErrorCodeValue(refused.code, reason)),
        *refused.attributes,
    ]
    if software:
        attributes.append((a.SOFTWARE, software))
    return encode_message(
        message.method,
        MessageClass.ERROR,
        message.transaction_id,
        attributes,
        integrity=refused.integrity,
        fingerprint=message.has_fingerprint,
    )
