"""A stream's bytes as frames, with the deadline of the one that has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun.framing import StreamFramer

if TYPE_CHECKING:
    from collections.abc import Iterator


class FrameReader:
    """Cuts a stream into frames and knows since when one is incomplete."""

    __slots__ = ("_framer", "_timeout", "deadline")

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds from a frame's first byte to its last."""
        self._framer = StreamFramer()
        self._timeout = timeout
        self.deadline: float | None = None

    def read(self, data_untrusted: bytes, now: float) -> Iterator[bytes]:
        """Take bytes and give the frames that are complete. To be used up by the caller.

        Raises:
            DecodeError: neither STUN nor ChannelData where a frame begins; frames before that
                have been given.
        """
        framer = self._framer
        framer.feed(data_untrusted)
        while (frame := framer.next_frame()) is not None:
            self.deadline = None
            yield frame
        if not framer.partial:
            self.deadline = None
        elif self.deadline is None:
            self.deadline = now + self._timeout

    def is_overdue(self, now: float) -> bool:
        """Whether a frame has been under way for too long."""
        return self.deadline is not None and now >= self.deadline
