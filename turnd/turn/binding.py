"""Binding: tells a client how its address looks from here (RFC 8489 section 6.3.1).

It needs no credentials. A client that signs it with its long-term credential all the same must get
a signed answer: it discards any other (section 9.2.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun import attributes as a
from turnd.turn.behavior_discovery import discovery_attributes, quartet_of
from turnd.turn.events import BindingAnswered

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.stun.message import Message
    from turnd.turn.request import Attributes, Request
    from turnd.turn.state import ServerState


def binding(state: ServerState, leg: Leg, message: Message) -> Attributes:
    """The attributes of a Binding success response to whoever asks.

    Raises:
        DecodeError, Refused: as `discovery_attributes`.
    """
    return _attributes(state, leg, message, proven=False)


def signed_binding(state: ServerState, request: Request) -> Attributes:
    """Binding as one of the methods that are authenticated."""
    attributes = _attributes(state, request.leg, request.message, proven=True)
    state.report(BindingAnswered(request.leg))
    return attributes


def _attributes(state: ServerState, leg: Leg, message: Message, *, proven: bool) -> Attributes:
    quartet = quartet_of(state.quartets, leg)
    if quartet is None:
        return ((a.XOR_MAPPED_ADDRESS, leg.client),)
    return discovery_attributes(quartet, leg, message, proven=proven)


def has_long_term_credential(message: Message) -> bool:
    """Whether a Binding request carries a whole long-term credential.

    Integrity without REALM and NONCE is the short-term mechanism of ICE, of which this server has
    no part: such a Binding is answered like any other.
    """
    return (
        (message.has_integrity or message.has_integrity_sha256)
        and message.has(a.REALM)
        and message.has(a.NONCE)
    )
