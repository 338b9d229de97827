"""How long an allocation may live, as Allocate and Refresh compute it (RFC 8656 section 7.2)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from turnd.stun import attributes as a

if TYPE_CHECKING:
    from turnd.stun.message import Message
    from turnd.turn.settings import TurnSettings


def desired_lifetime(message: Message, settings: TurnSettings, longest: float = inf) -> float:
    """Seconds from now, never below the default: a client may only ask for more.

    `longest` is what the client's credential allows, be it less than the default: what is left of
    a token (RFC 7635 section 9).

    Raises:
        DecodeError: a malformed LIFETIME.
    """
    lifetime = settings.default_lifetime
    asked = message.get(a.LIFETIME)
    if asked is not None:
        lifetime = max(lifetime, min(asked, settings.max_lifetime))
    return min(lifetime, longest)
