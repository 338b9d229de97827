"""Cutting a stream into STUN and ChannelData messages (RFC 8489 6.2.2, RFC 8656 12.5).

The first bytes of a frame tell its kind and its length, and each is judged as soon as it is there:
garbage never waits for more garbage. No frame is longer than `largest`, so that a caller who takes
all frames out after each `feed` keeps less than one frame and one chunk.
"""

from __future__ import annotations

from struct import Struct

from turnd.stun.attribute_values import MAGIC_COOKIE
from turnd.stun.channel_data import CHANNEL_HEADER_SIZE
from turnd.stun.errors import DecodeError
from turnd.stun.integrity import HEADER_SIZE
from turnd.stun.message_type import MessageClass, Method, join_type

LARGEST_FRAME = HEADER_SIZE + 0xFFFF
"""Bytes of the longest message that a length field can tell, with its header."""

_HEADER = Struct("!HH")
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_CONNECTION_BIND = join_type(Method.CONNECTION_BIND, MessageClass.REQUEST).to_bytes(2, "big")
_STUN_FIRST_BYTES = range(4)
_CHANNEL_FIRST_BYTES = range(0x40, 0x50)


class StreamFramer:
    """The messages in a stream's bytes, however the bytes were split.

    After a `DecodeError` the stream has lost its borders: the error stays, and the connection is
    to be closed.

    After a ConnectionBind request no more messages are given out until `release`: what follows it
    may be for the peer (RFC 6062 section 5.4), and is `rest` then.
    """

    __slots__ = ("_buffer", "_start", "is_held", "largest")

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        self.largest = largest
        """Bytes of a message, padding included, beyond which it is garbage; may be changed."""
        self._buffer = bytearray()
        self._start = 0
        self.is_held = False
        """Whether a ConnectionBind request was given out and waits for its answer."""

    @property
    def partial(self) -> bool:
        """Whether bytes wait that `next_frame` has not given out: a frame has begun."""
        return self._start < len(self._buffer)

    def feed(self, data_untrusted: bytes) -> None:
        """Take the stream's next bytes."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data_untrusted

    def release(self) -> None:
        """The ConnectionBind request has its answer."""
        self.is_held = False

    def rest(self) -> bytes:
        """Take out what follows the last message that was given out."""
        rest = bytes(self._buffer[self._start :])
        self._buffer.clear()
        self._start = 0
        return rest

    def next_frame(self) -> bytes | None:
        """One message: STUN whole, ChannelData with its header and without its padding.

        Returns:
            None when no further message is complete.

        Raises:
            DecodeError: what comes next is neither STUN nor ChannelData, or too long.
        """
        buffer, start = self._buffer, self._start
        available = len(buffer) - start
        if self.is_held or not available:
            return None
        first = buffer[start]
        if available < CHANNEL_HEADER_SIZE:
            _judge_first_byte(first)
            return None
        size = (buffer[start + 2] << 8) | buffer[start + 3]
        if first in _CHANNEL_FIRST_BYTES:
            size += CHANNEL_HEADER_SIZE
            padded = (size + 3) & ~3
        else:
            _judge_first_byte(first)
            _judge_stun_header(bytes(buffer[start + 2 : start + 8]))
            padded = size = size + HEADER_SIZE
        if padded > self.largest:
            raise DecodeError(f"a message of {padded} bytes")
        if available < padded:
            return None
        self._start = start + padded
        frame = bytes(buffer[start : start + size])
        self.is_held = frame.startswith(_CONNECTION_BIND)
        return frame


def _judge_first_byte(first: int) -> None:
    if first not in _STUN_FIRST_BYTES and first not in _CHANNEL_FIRST_BYTES:
        raise DecodeError(f"no message starts with {first:#04x}")


def _judge_stun_header(length_and_cookie: bytes) -> None:
    if length_and_cookie[1] & 3:
        raise DecodeError("a STUN length that is no multiple of four")
    cookie = length_and_cookie[2:]
    if not _COOKIE.startswith(cookie):
        raise DecodeError("no magic cookie")
