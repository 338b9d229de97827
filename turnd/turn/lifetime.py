"""How long an allocation may live, as Allocate and Refresh compute it (RFC 8656 section 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun import attributes as a

if TYPE_CHECKING:
    from turnd.stun.message import Message
    from turnd.turn.settings import TurnSettings


def desired_lifetime(message: Message, settings: TurnSettings) -> float:
    """Seconds from now, never below the default: a client may only ask for more.

    Raises:
        DecodeError: a malformed LIFETIME.
    """
    asked = message.get(a.LIFETIME)
    if asked is None:
        return settings.default_lifetime
    return max(settings.default_lifetime, min(asked, settings.max_lifetime))
