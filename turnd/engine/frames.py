"""A stream's bytes as frames, with the deadline of the one that has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun.framing import LARGEST_FRAME, StreamFramer
from turnd.stun.message_type import MessageClass, Method, join_type

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSED_BIND = join_type(Method.CONNECTION_BIND, MessageClass.ERROR).to_bytes(2, "big")

LARGEST_BEFORE_RELAY = 4096
"""Bytes of a message from a client that has no relay yet: requests are short, and thousands of
strangers may each have one under way."""


def refuses_bind(message: bytes) -> bool:
    """Whether an answer refuses a ConnectionBind request: its stream stays one of frames."""
    return message.startswith(_REFUSED_BIND)


class FrameReader:
    """Cuts a stream into frames and knows since when one is incomplete."""

    __slots__ = ("_framer", "_timeout", "deadline")

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds from a frame's first byte to its last."""
        self._framer = StreamFramer(LARGEST_BEFORE_RELAY)
        self._timeout = timeout
        self.deadline: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether a ConnectionBind request waits for its answer."""
        return self._framer.is_held

    def read(self, data_untrusted: bytes, now: float) -> Iterator[bytes]:
        """Take bytes and give the frames that are complete. To be used up by the caller.

        After a ConnectionBind request no more are given until `resume`.

        Raises:
            DecodeError: neither STUN nor ChannelData where a frame begins; frames before that
                have been given.
        """
        framer = self._framer
        framer.feed(data_untrusted)
        while (frame := framer.next_frame()) is not None:
            self.deadline = None
            yield frame
        if not (framer.partial or framer.is_held):
            self.deadline = None
        elif self.deadline is None:
            self.deadline = now + self._timeout

    def resume(self, now: float) -> Iterator[bytes]:
        """The ConnectionBind request was refused: go on with what followed it, as `read` does."""
        self._framer.release()
        self.deadline = None
        return self.read(b"", now)

    def rest(self) -> bytes:
        """What followed the ConnectionBind request."""
        return self._framer.rest()

    def expect_media(self) -> None:
        """The client has, or had, a relay: frames may be as long as a datagram."""
        self._framer.largest = LARGEST_FRAME

    def is_overdue(self, now: float) -> bool:
        """Whether a frame has been under way for too long."""
        return self.deadline is not None and now >= self.deadline
