from __future__ import annotations

from base64 import b64encode
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokens import KEY, KEY_TEXT, MAC_KEY, SERVER_NAME, seal, seal_plain
from turnd.auth.access_token import (
    DELTA,
    AccessToken,
    TokenAlgorithm,
    TokenKey,
    open_token_untrusted,
)
from turnd.stun.errors import DecodeError
from turnd.stun.integrity import Integrity, IntegrityAlgorithm

A256 = TokenKey(TokenAlgorithm.A256GCM, KEY)
A128 = TokenKey(TokenAlgorithm.A128GCM, KEY[:16])
NOW = 1_800_000_000.0

# RFC 7635 appendix A: one input, sealed with the key's 32 bytes and with its first 16.
RFC_KEY = b64encode(b"HGkj32KJGiuy098sdfaqbNjOiaz71923").decode()
RFC_TOKENS = {
    "A256GCM": "000c68346a336b326c326e346235617ef134a3d5e44e9a19cc7dc104b0c03d03b2a551d8fdf5cd3b"
    "6dca6f10cfb77e5b2ddec84d293a5c50499359f0c2e26f76",
    "A128GCM": "000c68346a336b326c326e3462357fb9e99f0827be3df1e1bd651493d3031d36df57079784aee5ea"
    "cb65fad4f27fab1a3f97974b69f851b24bf5af09eda357e0",
}


@pytest.mark.parametrize("algorithm", RFC_TOKENS)
def test_the_rfcs_sample_tickets_are_opened(algorithm: str) -> None:
    key = TokenKey.of(RFC_KEY, algorithm)
    access = open_token_untrusted(bytes.fromhex(RFC_TOKENS[algorithm]), key, "blackdow.carleon.gov")
    assert access.integrity == Integrity(b"ZksjpweoixXmvn67534m", IntegrityAlgorithm.SHA1)
    assert (access.timestamp, access.lifetime) == (1_410_984_813.0, 3600)


def test_a_mac_key_says_by_its_length_which_hmac_it_is_for() -> None:
    for size, algorithm in ((20, IntegrityAlgorithm.SHA1), (32, IntegrityAlgorithm.SHA256)):
        access = open_token_untrusted(seal(NOW, 60, bytes(size)), A256, SERVER_NAME)
        assert access.integrity == Integrity(bytes(size), algorithm)


def test_coturn_uses_the_first_16_of_20_bytes() -> None:
    access = open_token_untrusted(seal(NOW), A256, SERVER_NAME)
    first, second = access.readings()
    assert first == access
    assert second.integrity == Integrity(MAC_KEY[:16], IntegrityAlgorithm.SHA1)
    assert (second.value, second.timestamp) == (access.value, access.timestamp)
    longer = open_token_untrusted(seal(NOW, 60, bytes(32)), A256, SERVER_NAME)
    assert longer.readings() == (longer,)


def test_fractions_of_a_second_are_64000ths() -> None:
    access = open_token_untrusted(seal(NOW + 0.25), A256, SERVER_NAME)
    assert access.timestamp == NOW + 0.25


def test_keys_do_not_show() -> None:
    access = open_token_untrusted(seal(NOW), A256, SERVER_NAME)
    shown = f"{access!r} {A256!r}"
    assert repr(MAC_KEY)[2:-1] not in shown
    assert repr(KEY)[2:-1] not in shown


def refused(token: bytes, key: TokenKey = A256, server_name: str = SERVER_NAME) -> None:
    with pytest.raises(DecodeError):
        open_token_untrusted(token, key, server_name)


def test_a_token_is_good_for_its_key_and_its_server_alone() -> None:
    refused(seal(NOW), server_name="other.test")
    refused(seal(NOW), TokenKey(TokenAlgorithm.A256GCM, bytes(32)))
    refused(seal(NOW), A128)
    open_token_untrusted(seal(NOW, key=KEY[:16]), A128, SERVER_NAME)


@pytest.mark.parametrize("size", [0, 16, 19, 21, 31, 33, 64])
def test_a_mac_key_of_no_hmacs_length_is_refused(size: int) -> None:
    refused(seal(NOW, 60, bytes(size)))


@pytest.mark.parametrize("claimed", [0, 16, 19, 21, 32, 0xFFFF])
def test_a_mac_key_whose_length_lies_is_refused(claimed: int) -> None:
    refused(seal_plain(pack("!H", claimed) + MAC_KEY + pack("!QI", 0, 60)))


@pytest.mark.parametrize("size", [8, 16])
def test_a_nonce_of_another_length_is_refused(size: int) -> None:
    refused(seal(NOW, nonce=bytes(size)))
    whole = seal(NOW)
    refused(pack("!H", size) + whole[2:])


def test_what_is_cut_is_refused() -> None:
    for token in (seal(NOW), seal(NOW, 60, bytes(32))):
        for size in range(len(token)):
            refused(token[:size])
        refused(token + b"\0")


@given(st.one_of(st.binary(max_size=100), st.binary(min_size=64, max_size=64)))
def test_garbage_is_refused_and_nothing_else(token: bytes) -> None:
    for key in (A128, A256):
        refused(token, key)


@given(st.integers(0, 63), st.integers(1, 255))
def test_every_changed_bit_is_noticed(at: int, change: int) -> None:
    token = bytearray(seal(NOW))
    token[at] ^= change
    refused(bytes(token))


def access_of(lifetime: int, timestamp: float = NOW) -> AccessToken:
    return open_token_untrusted(seal(timestamp, lifetime), A256, SERVER_NAME)


def test_what_is_left_of_a_token_counts_from_its_time_stamp() -> None:
    access = access_of(600)
    assert access.remaining(NOW) == access.remaining(NOW + DELTA) == 600
    assert access.remaining(NOW + 100) == access.remaining(NOW - 100) == 500 + DELTA
    assert not access.expired(NOW + 600 + DELTA - 1)
    assert access.expired(NOW + 600 + DELTA - 0.5)
    assert access.expired(NOW - 600 - DELTA)


def test_a_token_without_lifetime_grants_nothing() -> None:
    assert not access_of(1).expired(NOW + DELTA)
    assert access_of(0).expired(NOW)


def test_the_time_stamps_of_all_64_bits_are_read() -> None:
    plain = pack("!H", 20) + MAC_KEY + pack("!QI", 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF)
    access = open_token_untrusted(seal_plain(plain), A256, SERVER_NAME)
    assert access.expired(NOW)


def test_of_a_longer_key_the_first_bytes_count() -> None:
    assert TokenKey.of("MTIzNDU2Nzg5MDEyMzQ1Ngo=", "A128GCM").value == b"1234567890123456"
    longer = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEK"
    assert TokenKey.of(longer, "A256GCM").value == b"01234567890123456789012345678901"


@pytest.mark.parametrize(
    ("key", "algorithm", "why"),
    [
        (KEY_TEXT, "A192GCM", "A128GCM or A256GCM"),
        ("not base 64", "A256GCM", "no base64"),
        ("abcde", "A128GCM", "no base64"),
        (b64encode(bytes(31)).decode(), "A256GCM", "32 bytes"),
        (b64encode(bytes(15)).decode(), "A128GCM", "16 bytes"),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(key: str, algorithm: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        TokenKey.of(key, algorithm)
    assert key not in str(caught.value)


def test_a_key_has_a_lifetime_or_no_end() -> None:
    assert not TokenKey.of(KEY_TEXT, "A256GCM", timestamp=5).expired(NOW)
    key = TokenKey.of(KEY_TEXT, "A256GCM", timestamp=int(NOW), lifetime=60)
    assert key.not_after == NOW + 60
    assert not key.expired(NOW + 60 + DELTA - 0.1)
    assert key.expired(NOW + 60 + DELTA)
