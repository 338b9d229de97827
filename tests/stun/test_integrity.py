import hashlib
import hmac
from zlib import crc32

import pytest

from turnd.stun.integrity import (
    IntegrityAlgorithm,
    integrity_holds,
    message_fingerprint,
    message_hmac,
)

KEY = b"key"
BEFORE = b"\x00\x01\x00\x00" + bytes(16) + b"\x80\x22\x00\x04turn"


@pytest.mark.parametrize(
    ("algorithm", "digest", "size"),
    [
        (IntegrityAlgorithm.SHA1, hashlib.sha1, 20),
        (IntegrityAlgorithm.SHA256, hashlib.sha256, 32),
    ],
)
def test_the_hmac_covers_a_header_that_ends_with_the_attribute(
    algorithm: IntegrityAlgorithm, digest: str, size: int
) -> None:
    assert algorithm.size == size
    covered = BEFORE[:2] + (8 + 4 + size).to_bytes(2, "big") + BEFORE[4:]
    value = hmac.new(KEY, covered, digest).digest()
    assert message_hmac(KEY, algorithm, covered) == value
    received = BEFORE + b"head" + value + b"and what follows"
    assert integrity_holds(received, len(BEFORE), value, KEY, algorithm)
    assert not integrity_holds(received, len(BEFORE), value, b"other", algorithm)
    assert not integrity_holds(received, len(BEFORE), value[:16], KEY, algorithm)
    assert not integrity_holds(b"\x01" + received[1:], len(BEFORE), value, KEY, algorithm)


def test_the_fingerprint_is_an_xored_crc() -> None:
    assert message_fingerprint(b"any bytes") == crc32(b"any bytes") ^ 0x5354554E
