"""ChannelData messages (RFC 8656 12.4 to 12.6)."""

from __future__ import annotations

from struct import Struct

from turnd.stun.addresses import ChannelNumber
from turnd.stun.errors import DecodeError

CHANNEL_MIN = ChannelNumber(0x4000)
CHANNEL_MAX = ChannelNumber(0x4FFF)
CHANNEL_HEADER_SIZE = 4
CHANNEL_DATA_MAX = 0xFFFF
"""Bytes of application data that fit into one message."""

_HEADER = Struct("!HH")


def encode_channel_data(number: int, data: bytes, padded: bool) -> bytes:
    """A ChannelData message.

    Args:
        number: the channel, 0x4000 to 0x4FFF.
        data: at most 65,535 bytes; none at all is a message too.
        padded: with zeros to a multiple of four bytes, as streams need it.

    Raises:
        ValueError: the number or the data's length does not fit.
    """
    size = len(data)
    if not (CHANNEL_MIN <= number <= CHANNEL_MAX and size <= CHANNEL_DATA_MAX):
        raise ValueError(f"no ChannelData with channel {number:#06x} and {size} bytes")
    padding = bytes(-size & 3) if padded else b""
    return _HEADER.pack(number, size) + data + padding


def decode_channel_data_untrusted(data_untrusted: bytes) -> tuple[ChannelNumber, bytes]:
    """The channel and the application data of one message; what follows its length is padding.

    Raises:
        DecodeError: too short for its header or its length, or a reserved channel number.
    """
    if len(data_untrusted) < CHANNEL_HEADER_SIZE:
        raise DecodeError("ChannelData without a whole header")
    number, size = _HEADER.unpack_from(data_untrusted)
    if not CHANNEL_MIN <= number <= CHANNEL_MAX:
        raise DecodeError(f"{number:#06x} is no channel number")
    end = CHANNEL_HEADER_SIZE + size
    if end > len(data_untrusted):
        raise DecodeError("ChannelData shorter than its length")
    return ChannelNumber(number), data_untrusted[CHANNEL_HEADER_SIZE:end]
