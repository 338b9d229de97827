"""How the plain kinds of attribute values are written: numbers, bytes, text and flags.

A `Codec` is a pair of functions. `decode` gets a value from the network, without padding, and may
only raise `DecodeError`; bits reserved for later are ignored. `encode` gets what is to be said, and
raises `ValueError` where that cannot be said. Both get the transaction id, which XORed addresses
need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TEXT_MAX = 763
"""Bytes of text that are taken, also from RFC 5389 clients (RFC 8489 14.3, 14.8 to 14.14)."""
TEXT_MAX_SENT = 509
"""Bytes of text that may be sent, in fewer than `CHARACTERS_MAX` characters."""
CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How values of type T are read and written."""

    decode: Callable[[bytes, bytes], T]
    """(value, transaction_id) to T; raises DecodeError."""
    encode: Callable[[Any, bytes], bytes]
    """(T or a shorter form that the codec names, transaction_id) to the value; ValueError."""


def unsigned(size: int, reserved: int = 0) -> Codec[int]:
    """A number of `size` bytes, then `reserved` bytes without meaning."""
    padding = bytes(reserved)
    whole = size + reserved

    def decode(value: bytes, _transaction_id: bytes) -> int:
        if len(value) != whole:
            raise DecodeError(f"{len(value)} bytes where a value has {whole}")
        return int.from_bytes(value[:size], "big")

    def encode(number: int, _transaction_id: bytes) -> bytes:
        try:
            return number.to_bytes(size, "big") + padding
        except OverflowError:
            raise ValueError(f"{number} does not fit into {size} bytes") from None

    return Codec(decode, encode)


def opaque(smallest: int = 0, largest: int = 0xFFFF, multiple_of: int = 1) -> Codec[bytes]:
    """Bytes that are taken as they are, of a bounded size."""

    def check(value: bytes, error: type[ValueError]) -> bytes:
        size = len(value)
        if not smallest <= size <= largest or size % multiple_of:
            raise error(f"{size} bytes where a value has {smallest} to {largest}")
        return value

    return Codec(
        lambda value, _transaction_id: check(value, DecodeError),
        lambda value, _transaction_id: check(value, ValueError),
    )


def decode_text(value: bytes, _transaction_id: bytes = b"") -> str:
    """UTF-8 of at most 763 bytes.

    Raises:
        DecodeError: longer, or not UTF-8.
    """
    if len(value) > TEXT_MAX:
        raise DecodeError(f"a text of {len(value)} bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DecodeError("a text that is not UTF-8") from None


def text(largest_sent: int = TEXT_MAX_SENT, characters: int = CHARACTERS_MAX) -> Codec[str]:
    """UTF-8; what is sent has at most `largest_sent` bytes and fewer than `characters`."""

    def encode(words: str, _transaction_id: bytes) -> bytes:
        value = words.encode()
        if len(value) > largest_sent or len(words) >= characters:
            raise ValueError(f"a text of {len(value)} bytes is too long to be sent")
        return value

    return Codec(decode_text, encode)


def _decode_domain(value: bytes, _transaction_id: bytes) -> str:
    if len(value) > 255 or not value.isascii():
        raise DecodeError("no domain name")
    return value.decode("ascii")


def _encode_domain(name: str, _transaction_id: bytes) -> bytes:
    if len(name) > 255 or not name.isascii():
        raise ValueError(f"'{name}' is no domain name of ASCII characters")
    return name.encode("ascii")


def _decode_flag(value: bytes, _transaction_id: bytes) -> bool:
    if value:
        raise DecodeError("a flag with a value")
    return True


def _encode_flag(present: bool, _transaction_id: bytes) -> bytes:
    if not present:
        raise ValueError("a flag is unset by leaving the attribute out")
    return b""


def _decode_even_port(value: bytes, _transaction_id: bytes) -> bool:
    if len(value) != 1:
        raise DecodeError(f"{len(value)} bytes where a value has 1")
    return bool(value[0] & 0x80)


def _encode_even_port(reserve_next: bool, _transaction_id: bytes) -> bytes:
    return b"\x80" if reserve_next else b"\x00"


FLAG = Codec(_decode_flag, _encode_flag)
"""No value: being there is what counts (True)."""
EVEN_PORT_FLAG = Codec(_decode_even_port, _encode_even_port)
"""One byte whose first bit asks for the next port as well (RFC 8656 18.7)."""
DOMAIN = Codec(_decode_domain, _encode_domain)
"""ASCII of at most 255 characters (RFC 8489 14.16)."""
