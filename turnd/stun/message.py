"""STUN messages (RFC 8489 sections 5, 6 and 14).

What the rest of the server sees of a received message is what can be trusted as far as its
integrity goes: attributes after MESSAGE-INTEGRITY are left out when it is decoded, except
MESSAGE-INTEGRITY-SHA256 right after it and FINGERPRINT; those after MESSAGE-INTEGRITY-SHA256,
except FINGERPRINT. Attribute values are decoded when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple, TypeVar

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

_HEADER = Struct("!HHI12s")
_TWO_UINT16 = Struct("!HH")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_MESSAGE_INTEGRITY = MESSAGE_INTEGRITY.number
_MESSAGE_INTEGRITY_SIZE = ATTRIBUTE_HEADER_SIZE + IntegrityAlgorithm.SHA1.size
_MESSAGE_INTEGRITY_SHA256 = MESSAGE_INTEGRITY_SHA256.number
_FINGERPRINT = FINGERPRINT.number
_INTEGRITY_NUMBER = {
    IntegrityAlgorithm.SHA1: _MESSAGE_INTEGRITY,
    IntegrityAlgorithm.SHA256: _MESSAGE_INTEGRITY_SHA256,
}


class _Received(NamedTuple):
    """A message's bytes, and where its integrity attributes begin (0: there is none)."""

    data: bytes
    integrity_at: int
    integrity_sha256_at: int


class Message:
    """A received message.

    Attributes:
        method: a `Method`, or another number below 4096.
        message_class: request, indication, success or error response.
        transaction_id: 12 bytes.
        attributes: numbers and values without padding, in the message's order, as far as they
            count (see the module).
    """

    __slots__ = (
        "_first",
        "_received",
        "attributes",
        "message_class",
        "method",
        "transaction_id",
    )

    def __init__(
        self,
        method: int,
        message_class: MessageClass,
        transaction_id: bytes,
        attributes: tuple[tuple[int, bytes], ...],
        received: _Received,
    ) -> None:
        self.method = method
        self.message_class = message_class
        self.transaction_id = transaction_id
        self.attributes = attributes
        self._received = received
        self._first = dict(reversed(attributes))

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
        return tuple(
            number
            for number in dict.fromkeys(number for number, _ in self.attributes)
            if number < 0x8000 and number not in understood
        )

    @property
    def size(self) -> int:
        """Bytes that were received, attributes that do not count included."""
        return len(self._received.data)

    @property
    def has_integrity(self) -> bool:
        """Whether a MESSAGE-INTEGRITY counts."""
        return self._received.integrity_at > 0

    @property
    def has_integrity_sha256(self) -> bool:
        """Whether a MESSAGE-INTEGRITY-SHA256 counts, truncated or not."""
        return self._received.integrity_sha256_at > 0

    @property
    def has_fingerprint(self) -> bool:
        """Whether it ends with FINGERPRINT, which has then been checked."""
        return _FINGERPRINT in self._first

    def verify_integrity(self, key: bytes, algorithm: IntegrityAlgorithm) -> bool:
        """Whether the integrity attribute of this algorithm was made with the key.

        False where there is none, and for a truncated value. The comparison takes constant time.
        """
        data, offset, sha256_offset = self._received
        if algorithm is IntegrityAlgorithm.SHA256:
            offset = sha256_offset
        if not offset:
            return False
        value = self._first[_INTEGRITY_NUMBER[algorithm]]
        return integrity_holds(data, offset, value, key, algorithm)


def decode_untrusted(data_untrusted: bytes) -> Message:
    """The message that a datagram or a frame of a stream holds, and nothing but.

    Raises:
        DecodeError: it is no STUN message, its lengths lie, FINGERPRINT is wrong or not the last
            attribute, or the integrity that counts has a size that it cannot have.
    """
    size = len(data_untrusted)
    if size < HEADER_SIZE:
        raise DecodeError(f"{size} bytes are no STUN message")
    message_type, length, cookie, transaction_id = _HEADER.unpack_from(data_untrusted)
    if message_type > 0x3FFF or cookie != MAGIC_COOKIE:
        raise DecodeError("the first bits or the magic cookie are not those of STUN")
    if length % 4 or length != size - HEADER_SIZE:
        raise DecodeError(f"length {length} in a message of {size} bytes")
    method, message_class = split_type(message_type)
    attributes, received = _decode_attributes(data_untrusted)
    return Message(method, message_class, transaction_id, attributes, received)


def _decode_attributes(data: bytes) -> tuple[tuple[tuple[int, bytes], ...], _Received]:
    attributes = []
    integrity_at = integrity_sha256_at = 0
    offset, size = HEADER_SIZE, len(data)
    while offset < size:
        number, length = _TWO_UINT16.unpack_from(data, offset)
        start = offset + ATTRIBUTE_HEADER_SIZE
        end = start + length
        if end > size:
            raise DecodeError(f"attribute {number:#06x} overruns the message")
        if number == _FINGERPRINT:
            _check_fingerprint(data, offset, length)
            counts = True
        elif integrity_sha256_at:
            counts = False
        elif integrity_at:
            counts = (
                number == _MESSAGE_INTEGRITY_SHA256
                and offset == integrity_at + _MESSAGE_INTEGRITY_SIZE
            )
        else:
            counts = True
        if counts:
            if number == _MESSAGE_INTEGRITY:
                _check_integrity_size(length)
                integrity_at = offset
            elif number == _MESSAGE_INTEGRITY_SHA256:
                _check_integrity_sha256_size(length)
                integrity_sha256_at = offset
            attributes.append((number, data[start:end]))
        offset = end + (-length & 3)
    return tuple(attributes), _Received(data, integrity_at, integrity_sha256_at)


def _check_fingerprint(data: bytes, offset: int, length: int) -> None:
    if length != FINGERPRINT_SIZE or offset + ATTRIBUTE_HEADER_SIZE + length != len(data):
        raise DecodeError("FINGERPRINT is not the last attribute")
    if message_fingerprint(data[:offset]) != int.from_bytes(data[-FINGERPRINT_SIZE:], "big"):
        raise DecodeError("wrong FINGERPRINT")


def _check_integrity_size(length: int) -> None:
    if length != IntegrityAlgorithm.SHA1.size:
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
        transaction_id: 12 bytes.
        attributes: with values as their codecs take them.
        integrity: what to sign it with.
        fingerprint: whether to end it with FINGERPRINT.

    Raises:
        ValueError: a value, the method or the transaction id does not fit, or all is too long.
    """
    if len(transaction_id) != TRANSACTION_ID_SIZE:
        raise ValueError(f"a transaction id of {len(transaction_id)} bytes")
    message_type = join_type(method, message_class)
    message = bytearray(_HEADER.pack(message_type, 0, MAGIC_COOKIE, transaction_id))
    for attribute, value in attributes:
        _append(message, attribute.number, attribute.encode(value, transaction_id))
    if integrity is not None:
        key, algorithm = integrity
        _set_length(message, ATTRIBUTE_HEADER_SIZE + algorithm.size)
        _append(message, _INTEGRITY_NUMBER[algorithm], message_hmac(key, algorithm, message))
    if fingerprint:
        _set_length(message, ATTRIBUTE_HEADER_SIZE + FINGERPRINT_SIZE)
        _append(message, _FINGERPRINT, message_fingerprint(message).to_bytes(4, "big"))
    _set_length(message, 0)
    return bytes(message)


def _append(message: bytearray, number: int, value: bytes) -> None:
    size = len(value)
    if size > 0xFFFF:
        raise ValueError(f"attribute {number:#06x} of {size} bytes")
    message += _TWO_UINT16.pack(number, size)
    message += value
    message += _PADDING[size & 3]


def _set_length(message: bytearray, still_to_come: int) -> None:
    """Write the header's length as if `still_to_come` more bytes were there already."""
    length = len(message) - HEADER_SIZE + still_to_come
    if length > 0xFFFF:
        raise ValueError(f"a message of {length} bytes is too long")
    message[2:4] = length.to_bytes(2, "big")
