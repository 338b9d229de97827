"""STUN messages (RFC 8489 sections 5, 6 and 14).

What the rest of the server sees of a received message is what can be trusted as far as its
integrity goes: attributes after MESSAGE-INTEGRITY are left out when it is decoded, except
MESSAGE-INTEGRITY-SHA256 right after it and FINGERPRINT; those after MESSAGE-INTEGRITY-SHA256,
except FINGERPRINT. Attribute values are decoded when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, TypeVar

from turnd.stun.attribute_values import MAGIC_COOKIE
from turnd.stun.attributes import (
    FINGERPRINT,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    Attribute,
)
from turnd.stun.errors import DecodeError
from turnd.stun.integrity import (
    ATTRIBUTE_HEADER_SIZE,
    FINGERPRINT_SIZE,
    HEADER_SIZE,
    Integrity,
    IntegrityAlgorithm,
    integrity_holds,
    message_fingerprint,
    message_hmac,
)
from turnd.stun.message_type import MessageClass, Method, join_type, split_type

__all__ = [
    "Attributes",
    "Integrity",
    "IntegrityAlgorithm",
    "Message",
    "MessageClass",
    "Method",
    "decode_untrusted",
    "encode_message",
]

T = TypeVar("T")

Attributes = Sequence[tuple[Attribute[Any], Any]]
"""Attributes and their values, in the order they are sent."""

TRANSACTION_ID_SIZE = 12
CLASSIC_TRANSACTION_ID_SIZE = 16
"""Of RFC 3489, which has no magic cookie in front of it."""

_HEADER = Struct("!HHI12s")
_TYPE_AND_LENGTH_SIZE = 4
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_TWO_UINT16 = Struct("!HH")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_SHA1 = IntegrityAlgorithm.SHA1
_MESSAGE_INTEGRITY = MESSAGE_INTEGRITY.number
_MESSAGE_INTEGRITY_SIZE = ATTRIBUTE_HEADER_SIZE + _SHA1.size
_MESSAGE_INTEGRITY_SHA256 = MESSAGE_INTEGRITY_SHA256.number
_FINGERPRINT = FINGERPRINT.number
_SEALS = frozenset({_MESSAGE_INTEGRITY, _MESSAGE_INTEGRITY_SHA256, _FINGERPRINT})
"""The attributes that protect what is before them."""


class Message:
    """A received message, made by `decode_untrusted` alone.

    Attributes:
        method: a `Method`, or another number below 4096.
        message_class: request, indication, success or error response.
        transaction_id: 12 bytes; 16 in a message of RFC 3489.
        attributes: numbers and values without padding, in the message's order, as far as they
            count (see the module).
        has_fingerprint: whether it ends with FINGERPRINT, which has then been checked.
    """

    __slots__ = (
        "_data",
        "_first",
        "_integrity_at",
        "_integrity_sha256_at",
        "attributes",
        "has_fingerprint",
        "message_class",
        "method",
        "transaction_id",
    )

    def __init__(self, data_untrusted: bytes, *, classic: bool) -> None:
        size = len(data_untrusted)
        if size < HEADER_SIZE:
            raise DecodeError(f"{size} bytes are no STUN message")
        message_type, length, cookie, transaction_id = _HEADER.unpack_from(data_untrusted)
        if message_type > 0x3FFF or (cookie != MAGIC_COOKIE and not classic):
            raise DecodeError("the first bits or the magic cookie are not those of STUN")
        if cookie != MAGIC_COOKIE:
            transaction_id = data_untrusted[_TYPE_AND_LENGTH_SIZE:HEADER_SIZE]
        if length % 4 or length != size - HEADER_SIZE:
            raise DecodeError(f"length {length} in a message of {size} bytes")
        self._data = data_untrusted
        self.method, self.message_class = split_type(message_type)
        self.transaction_id: bytes = transaction_id
        self.has_fingerprint = False
        self._integrity_at = self._integrity_sha256_at = 0
        self.attributes: list[tuple[int, bytes]] = []
        self._first: dict[int, bytes] = {}
        self._read_attributes()

    def _read_attributes(self) -> None:
        data = self._data
        offset, size = HEADER_SIZE, len(data)
        while offset < size:
            number, length = _TWO_UINT16.unpack_from(data, offset)
            start = offset + ATTRIBUTE_HEADER_SIZE
            end = start + length
            if end > size:
                raise DecodeError(f"attribute {number:#06x} overruns the message")
            if number in _SEALS:
                counts = self._seal_counts(number, offset, length)
            else:
                counts = not (self._integrity_at or self._integrity_sha256_at)
            if counts:
                value = data[start:end]
                self.attributes.append((number, value))
                self._first.setdefault(number, value)
            offset = end + (-length & 3)

    def _seal_counts(self, number: int, offset: int, length: int) -> bool:
        """Whether this seal is one that counts; it is remembered then."""
        if number == _FINGERPRINT:
            _check_fingerprint(self._data, offset, length)
            self.has_fingerprint = True
            return True
        if self._integrity_sha256_at:
            return False
        if number == _MESSAGE_INTEGRITY_SHA256:
            if self._integrity_at and offset != self._integrity_at + _MESSAGE_INTEGRITY_SIZE:
                return False
            _check_integrity_sha256_size(length)
            self._integrity_sha256_at = offset
            return True
        if self._integrity_at:
            return False
        _check_integrity_size(length)
        self._integrity_at = offset
        return True

    def __repr__(self) -> str:
        numbers = ", ".join(f"{number:#06x}" for number, _ in self.attributes)
        return f"<{self.message_class.name} of method {self.method:#05x} with {numbers or 'none'}>"

    def get(self, attribute: Attribute[T]) -> T | None:
        """The value of an attribute's first occurrence; None where there is none.

        Raises:
            DecodeError: the value is malformed.
        """
        value = self._first.get(attribute.number)
        return None if value is None else attribute.decode(value, self.transaction_id)

    def get_all(self, attribute: Attribute[T]) -> list[T]:
        """The values of all of an attribute's occurrences, in order.

        Raises:
            DecodeError: one of them is malformed.
        """
        return [
            attribute.decode(value, self.transaction_id)
            for number, value in self.attributes
            if number == attribute.number
        ]

    def has(self, attribute: Attribute[Any]) -> bool:
        """Whether the attribute is there, well-formed or not."""
        return attribute.number in self._first

    def unknown_required(self, understood: frozenset[int]) -> tuple[int, ...]:
        """The comprehension-required attributes that are not understood, each once, in order."""
        if understood.issuperset(self._first):
            return ()
        return tuple(
            number for number in self._first if number < 0x8000 and number not in understood
        )

    @property
    def is_classic(self) -> bool:
        """Whether the message is one of RFC 3489, without magic cookie."""
        return len(self.transaction_id) == CLASSIC_TRANSACTION_ID_SIZE

    @property
    def size(self) -> int:
        """Bytes that were received, attributes that do not count included."""
        return len(self._data)

    @property
    def has_integrity(self) -> bool:
        """Whether a MESSAGE-INTEGRITY counts."""
        return self._integrity_at > 0

    @property
    def has_integrity_sha256(self) -> bool:
        """Whether a MESSAGE-INTEGRITY-SHA256 counts, truncated or not."""
        return self._integrity_sha256_at > 0

    def verify_integrity(self, key: bytes, algorithm: IntegrityAlgorithm) -> bool:
        """Whether the integrity attribute of this algorithm was made with the key.

        False where there is none, and for a truncated value. The comparison takes constant time.
        """
        offset = self._integrity_at if algorithm is _SHA1 else self._integrity_sha256_at
        if not offset:
            return False
        value = self._first[algorithm.attribute.number]
        return integrity_holds(self._data, offset, value, key, algorithm)


def decode_untrusted(data_untrusted: bytes, *, classic: bool = False) -> Message:
    """The message that a datagram or a frame of a stream holds, and nothing but.

    Args:
        data_untrusted: as it came.
        classic: whether one of RFC 3489 is a message too, which has no magic cookie.

    Raises:
        DecodeError: it is no STUN message, its lengths lie, FINGERPRINT is wrong or not the last
            attribute, or the integrity that counts has a size that it cannot have.
    """
    return Message(data_untrusted, classic=classic)


def _check_fingerprint(data: bytes, offset: int, length: int) -> None:
    if length != FINGERPRINT_SIZE or offset + ATTRIBUTE_HEADER_SIZE + length != len(data):
        raise DecodeError("FINGERPRINT is not the last attribute")
    if message_fingerprint(data[:offset]) != int.from_bytes(data[-FINGERPRINT_SIZE:], "big"):
        raise DecodeError("wrong FINGERPRINT")


def _check_integrity_size(length: int) -> None:
    if length != _SHA1.size:
        raise DecodeError(f"MESSAGE-INTEGRITY of {length} bytes")


def _check_integrity_sha256_size(length: int) -> None:
    if not 16 <= length <= IntegrityAlgorithm.SHA256.size or length % 4:
        raise DecodeError(f"MESSAGE-INTEGRITY-SHA256 of {length} bytes")


def encode_message(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    attributes: Attributes,
    *,
    integrity: Integrity | None = None,
    fingerprint: bool = False,
) -> bytes:
    """A message, in the order given, then its integrity, then FINGERPRINT.

    Args:
        method: a `Method`, or another number below 4096.
        message_class: request, indication, success or error response.
        transaction_id: 12 bytes; 16 make it a message of RFC 3489, without magic cookie.
        attributes: with values as their codecs take them.
        integrity: what to sign it with.
        fingerprint: whether to end it with FINGERPRINT.

    Raises:
        ValueError: a value, the method or the transaction id does not fit, or all is too long.
    """
    if len(transaction_id) not in (TRANSACTION_ID_SIZE, CLASSIC_TRANSACTION_ID_SIZE):
        raise ValueError(f"a transaction id of {len(transaction_id)} bytes")
    header = (join_type(method, message_class), transaction_id)
    body = b"".join(
        [_attribute(each.number, each.encode(value, transaction_id)) for each, value in attributes]
    )
    if integrity is None:
        message = _message(header, body)
    else:
        key, algorithm = integrity
        covered = _message(header, body, ATTRIBUTE_HEADER_SIZE + algorithm.size)
        seal = message_hmac(key, algorithm, covered)
        message = covered + _attribute(algorithm.attribute.number, seal)
    if fingerprint:
        body = message[HEADER_SIZE:]
        covered = _message(header, body, ATTRIBUTE_HEADER_SIZE + FINGERPRINT_SIZE)
        seal = message_fingerprint(covered).to_bytes(FINGERPRINT_SIZE, "big")
        message = covered + _attribute(_FINGERPRINT, seal)
    return message


def _attribute(number: int, value: bytes) -> bytes:
    """An attribute on the wire: header, value, padding."""
    size = len(value)
    if size > 0xFFFF:
        raise ValueError(f"attribute {number:#06x} of {size} bytes")
    return _TWO_UINT16.pack(number, size) + value + _PADDING[size & 3]


def _message(header: tuple[int, bytes], body: bytes, still_to_come: int = 0) -> bytes:
    """A message of a type and transaction id, `still_to_come` bytes counted but not there yet."""
    message_type, transaction_id = header
    length = len(body) + still_to_come
    if length > 0xFFFF:
        raise ValueError(f"a message of {length} bytes is too long")
    cookie = _COOKIE if len(transaction_id) == TRANSACTION_ID_SIZE else b""
    return _TWO_UINT16.pack(message_type, length) + cookie + transaction_id + body
