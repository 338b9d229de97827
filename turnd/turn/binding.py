"""Binding: tells a client how its address looks from here (RFC 8489 section 6.3.1)."""

from __future__ import annotations

from turnd.engine.base import Leg
from turnd.stun import attributes as a
from turnd.turn.request import Attributes


def binding(leg: Leg) -> Attributes:
    """The attributes of a Binding success response, which needs no credentials."""
    return ((a.XOR_MAPPED_ADDRESS, leg.client),)
