"""RFC 5769, and RFC 8489 appendix B.1 as erratum 6268 corrects it."""

from typing import Any

import pytest

from tests.stun.registry import VECTORS
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError
from turnd.stun.keys import PasswordAlgorithm, long_term_key, opaque_string
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    decode_untrusted,
    encode_message,
)

vectors = pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
INTEGRITY = {a.MESSAGE_INTEGRITY.number, a.MESSAGE_INTEGRITY_SHA256.number, a.FINGERPRINT.number}


def key_of(vector: dict[str, Any]) -> bytes:
    if vector["mechanism"] == "short-term":
        return opaque_string(vector["password"]).encode()
    algorithm = PasswordAlgorithm[vector["algorithm"].replace("-", "")]
    return long_term_key(vector["username"], vector["realm"], vector["password"], algorithm)


def algorithm_of(message: Message) -> IntegrityAlgorithm:
    assert message.has_integrity is not message.has_integrity_sha256
    return IntegrityAlgorithm.SHA1 if message.has_integrity else IntegrityAlgorithm.SHA256


@vectors
def test_the_integrity_holds_with_the_key_and_with_no_other(vector: dict[str, Any]) -> None:
    message = decode_untrusted(bytes.fromhex(vector["hex"]))
    algorithm = algorithm_of(message)
    assert message.verify_integrity(key_of(vector), algorithm)
    assert not message.verify_integrity(key_of(vector) + b"x", algorithm)
    for other in set(IntegrityAlgorithm) - {algorithm}:
        assert not message.verify_integrity(key_of(vector), other)


@vectors
def test_the_attributes_are_read(vector: dict[str, Any]) -> None:
    message = decode_untrusted(bytes.fromhex(vector["hex"]))
    told = {
        "software": a.SOFTWARE,
        "realm": a.REALM,
        "nonce": a.NONCE,
    }
    for name, attribute in told.items():
        assert message.get(attribute) == vector.get(name)
    assert message.has_fingerprint is vector["fingerprint"]
    if "mapped" in vector:
        assert str(message.get(a.XOR_MAPPED_ADDRESS)) == vector["mapped"]
    if "userhash" in vector:
        assert message.get(a.USERHASH) == bytes.fromhex(vector["userhash"])
        assert message.get(a.PASSWORD_ALGORITHM) == (PasswordAlgorithm.SHA256, b"")
    else:
        assert message.get(a.USERNAME) == vector.get("username")


@vectors
def test_encoding_the_values_gives_the_same_values(vector: dict[str, Any]) -> None:
    original = decode_untrusted(bytes.fromhex(vector["hex"]))
    values = [
        (a.ATTRIBUTES[number], original.get(a.ATTRIBUTES[number]))
        for number, _ in original.attributes
        if number not in INTEGRITY
    ]
    encoded = encode_message(
        original.method,
        original.message_class,
        original.transaction_id,
        values,
        integrity=Integrity(key_of(vector), algorithm_of(original)),
        fingerprint=original.has_fingerprint,
    )
    again = decode_untrusted(encoded)
    covered = [pair for pair in again.attributes if pair[0] not in INTEGRITY]
    assert covered == [pair for pair in original.attributes if pair[0] not in INTEGRITY]
    assert again.verify_integrity(key_of(vector), algorithm_of(original))
    if vector["mechanism"] == "long-term":  # the others are not padded with zeros
        assert encoded == bytes.fromhex(vector["hex"])


@vectors
def test_no_changed_bit_changes_what_a_signed_message_says(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    original = decode_untrusted(data)
    signed = [pair for pair in original.attributes if pair[0] != a.FINGERPRINT.number]
    algorithm, key = algorithm_of(original), key_of(vector)
    for position in range(len(data) * 8):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        try:
            message = decode_untrusted(bytes(changed))
        except DecodeError:
            continue
        if message.verify_integrity(key, algorithm):  # FINGERPRINT's number may have changed
            assert list(message.attributes) == signed
            assert position // 8 >= len(data) - 8
