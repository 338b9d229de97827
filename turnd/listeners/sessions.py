"""DTLS sessions, counted in among the connections.

The engine answers hellos and handshakes by itself, and bounds those that are under way; who may
stay is decided when a session is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.engine.base import CloseReason

if TYPE_CHECKING:
    from turnd.engine.base import Leg, RelayEngine
    from turnd.listeners.caps import StreamCaps


class Sessions:
    """The open ones of all listeners."""

    def __init__(self, engine: RelayEngine, caps: StreamCaps) -> None:
        self._engine = engine
        self._caps = caps
        self._legs: dict[Leg, Leg] = {}
        """By their addresses: whoever takes another's place is told of before the other's end."""
        self.opened = 0
        """Sessions let in since the start."""

    def let_in(self, leg: Leg) -> bool:
        """Count a session that has opened; over a cap it is ended instead."""
        addresses = leg._replace(stream=0)
        if addresses not in self._legs and self._caps.admit(leg.client.host) is not None:
            self._engine.close_leg(leg, CloseReason.SERVER)
            return False
        self._legs[addresses] = leg
        self.opened += 1
        return True

    def leg_closed(self, leg: Leg) -> None:
        """The engine said `LegClosed`: its place is free. Any leg is fine."""
        addresses = leg._replace(stream=0)
        if self._legs.get(addresses) == leg:
            del self._legs[addresses]
            self._caps.release(leg.client.host)
