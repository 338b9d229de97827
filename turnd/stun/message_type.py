"""The message type: a method and a class, whose bits are interleaved (RFC 8489 section 5)."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache


class Method(IntEnum):
    """The methods of IANA's registry; a message may carry any other number below 4096."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


class MessageClass(IntEnum):
    """The two class bits."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


@lru_cache(maxsize=1024)
def split_type(message_type: int) -> tuple[int, MessageClass]:
    """Method and class of a message type of 14 bits."""
    method = message_type & 0xF | message_type >> 1 & 0x70 | message_type >> 2 & 0xF80
    return method, MessageClass(message_type >> 4 & 1 | message_type >> 7 & 2)


@lru_cache(maxsize=1024)
def join_type(method: int, message_class: MessageClass) -> int:
    """The message type of 14 bits.

    Raises:
        ValueError: the method has more than 12 bits.
    """
    if not 0 <= method <= 0xFFF:
        raise ValueError(f"{method} is no method")
    spread_method = method & 0xF | (method & 0x70) << 1 | (method & 0xF80) << 2
    return spread_method | (message_class & 1) << 4 | (message_class & 2) << 7
