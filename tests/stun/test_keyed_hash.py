from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.stun.keyed_hash import keyed_hash


@pytest.mark.parametrize(
    ("key", "text", "sha1", "sha256"),
    [
        # RFC 2202 section 3 and RFC 4231 sections 4.3 and 4.7: test cases 2, and one long key.
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            None,
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
)
def test_published_vectors(key: bytes, text: bytes, sha1: str | None, sha256: str) -> None:
    assert keyed_hash(key, text, "sha256").hex() == sha256
    if sha1 is not None:
        assert keyed_hash(key, text, "sha1").hex() == sha1


@given(st.binary(max_size=200), st.binary(max_size=300), st.sampled_from(["sha1", "sha256"]))
def test_it_is_what_the_library_says(key: bytes, text: bytes, hash_name: str) -> None:
    assert keyed_hash(key, bytearray(text), hash_name) == hmac.digest(key, text, hash_name)


def test_another_hash_is_refused() -> None:
    with pytest.raises(KeyError):
        keyed_hash(b"", b"", "md5")
