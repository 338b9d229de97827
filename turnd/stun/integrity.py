"""MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 14.5 to 14.7).

Each covers the message up to itself, with a header whose length ends with it: what comes later in
the message, and the length field's true value, are not protected.
"""

from __future__ import annotations

from enum import Enum
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from turnd.stun.attributes import MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256
from turnd.stun.keyed_hash import keyed_hash

if TYPE_CHECKING:
    from turnd.stun.attributes import Attribute

HEADER_SIZE = 20
ATTRIBUTE_HEADER_SIZE = 4
FINGERPRINT_SIZE = 4

_FINGERPRINT_XOR = 0x5354554E


class IntegrityAlgorithm(Enum):
    """Which of the two attributes, with its hash's name and the bytes of its value."""

    SHA1 = MESSAGE_INTEGRITY, "sha1", 20
    SHA256 = MESSAGE_INTEGRITY_SHA256, "sha256", 32

    def __init__(self, attribute: Attribute[bytes], hash_name: str, size: int) -> None:
        self.attribute = attribute
        self.hash_name = hash_name
        self.size = size


class Integrity(NamedTuple):
    """What to sign a message with."""

    key: bytes
    algorithm: IntegrityAlgorithm


def message_hmac(key: bytes, algorithm: IntegrityAlgorithm, covered: bytes | bytearray) -> bytes:
    """The HMAC over what precedes the integrity attribute.

    Args:
        key: of the short-term or long-term credential (RFC 8489 9.1.1, 9.2.2).
        algorithm: SHA-1 (20 bytes) or SHA-256 (32 bytes).
        covered: the message up to the attribute, its length field set as if it ended with it.
    """
    return keyed_hash(key, covered, algorithm.hash_name)


def integrity_holds(
    received: bytes, offset: int, value: bytes, key: bytes, algorithm: IntegrityAlgorithm
) -> bool:
    """Whether the integrity attribute at `offset` is what the key makes of the message.

    Constant time in the value. A truncated MESSAGE-INTEGRITY-SHA256 never holds: TURN does not
    allow it (RFC 8489 14.6).
    """
    ends_at = offset + ATTRIBUTE_HEADER_SIZE + algorithm.size
    length = (ends_at - HEADER_SIZE).to_bytes(2, "big")
    covered = received[:2] + length + received[4:offset]
    return compare_digest(message_hmac(key, algorithm, covered), value)


def message_fingerprint(covered: bytes | bytearray | memoryview) -> int:
    """The CRC of what precedes FINGERPRINT, its length field including the attribute."""
    return crc32(covered) ^ _FINGERPRINT_XOR
