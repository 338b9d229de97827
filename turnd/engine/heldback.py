"""Media of a leg that has no relays yet and is to get some (RFC 8016): it waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.engine.fields import Fields

ROOM = 256 << 10
"""Bytes that wait of one leg at most: more than what a video call sends in half a second."""

BESIDE = 128
"""Bytes that a message takes beside its own: nobody is to fill the room with empty ones."""


class HeldBack:
    """What one leg has sent, in its order."""

    __slots__ = ("_room", "_tell", "messages")

    def __init__(self, tell: Callable[[], object]) -> None:
        """`tell` is called when the first message is there."""
        self.messages: list[tuple[bytes, Fields | None]] = []
        """Each with the IP header fields of what is sent on of it."""
        self._room = ROOM
        self._tell = tell

    def add(self, message: bytes, onward: Fields | None) -> bool:
        """Keep a message; False where there is no room."""
        takes = len(message) + BESIDE
        if takes > self._room:
            return False
        self._room -= takes
        self.messages.append((message, onward))
        if len(self.messages) == 1:
            self._tell()
        return True
