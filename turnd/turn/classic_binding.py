"""Binding for clients of RFC 3489, where the admin wants to serve them (opt-in).

They know nothing of the magic cookie, of XOR-MAPPED-ADDRESS and of padding: what is said to them
has multiples of four bytes. What was a danger is not served: RESPONSE-ADDRESS sends answers to
anybody, the shared secrets ask for a connection of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnd.stun import attributes as a
from turnd.stun.classic import CHANGED_ADDRESS, SOURCE_ADDRESS
from turnd.stun.errors import ErrorCode
from turnd.stun.message import MessageClass, Method, encode_message
from turnd.turn.answers import Answer, fitting
from turnd.turn.behavior_discovery import quartet_of, sent_as_asked
from turnd.turn.events import BindingAnswered

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.stun.message import Message
    from turnd.turn.state import ServerState

_HARMLESS = frozenset({0x0001, 0x0004, 0x0005, 0x0006, 0x0007, 0x0009, 0x000A, 0x000B})
"""What RFC 3489 knows and no Binding request needs (section 11.2): it is ignored. Not among it are
RESPONSE-ADDRESS and MESSAGE-INTEGRITY, which ask for what is not done."""
_CHANGE_REQUEST = frozenset({a.CHANGE_REQUEST.number})


def classic_binding(state: ServerState, leg: Leg, message: Message) -> Answer:
    """The answer to a Binding request without cookie (RFC 3489 section 8.1).

    Raises:
        DecodeError: CHANGE-REQUEST is malformed.
    """
    quartet = quartet_of(state.quartets, leg)
    change = message.get(a.CHANGE_REQUEST) or a.ChangeRequest(False, False)
    known = _HARMLESS if quartet is None and any(change) else _HARMLESS | _CHANGE_REQUEST
    unknown = message.unknown_required(known)
    if unknown:
        return _unknown_attributes(message, unknown)
    attributes: list[tuple[a.Attribute[Any], Any]] = [(a.MAPPED_ADDRESS, leg.client)]
    if quartet is None:
        attributes.append((SOURCE_ADDRESS, leg.local))
    else:
        attributes.append((CHANGED_ADDRESS, quartet.across(leg)))
        attributes.append((SOURCE_ADDRESS, quartet.origin(leg, change).announced))
    state.report(BindingAnswered(leg))
    answer = encode_message(
        Method.BINDING,
        MessageClass.SUCCESS,
        message.transaction_id,
        fitting(attributes, message, leg),
    )
    return sent_as_asked(quartet, leg, message, answer)


def _unknown_attributes(message: Message, unknown: tuple[int, ...]) -> bytes:
    even = unknown if len(unknown) % 2 == 0 else (*unknown, unknown[-1])
    return encode_message(
        Method.BINDING,
        MessageClass.ERROR,
        message.transaction_id,
        [
            (a.ERROR_CODE, a.ErrorCodeValue(ErrorCode.UNKNOWN_ATTRIBUTE, "")),
            (a.UNKNOWN_ATTRIBUTES, even),
        ],
    )
