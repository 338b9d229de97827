from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.auth.credentials import Offers
from turnd.auth.nonce import (
    LONGEST_MAC,
    SHORTEST_MAC,
    Nonces,
    cookie_and_flags,
    mac_length_for,
)
from turnd.stun.addresses import ClientAddress, TransportAddress
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.nonce_cookie import COOKIE_LENGTH, SecurityFeature, features_of

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256
BOTH = Offers((SHA256, MD5), username_anonymity=True)
CLIENT = ClientAddress(TransportAddress("203.0.113.9", 51334))


def make_nonces(lifetime: float = 600.0, mac_length: int = LONGEST_MAC) -> Nonces:
    numbers = count(1)
    return Nonces(lifetime, lambda size: bytes([next(numbers)]) * size, mac_length)


@pytest.mark.parametrize("anonymity", [True, False])
@pytest.mark.parametrize("algorithms", [(MD5,), (SHA256,), (SHA256, MD5)])
@pytest.mark.parametrize("mac_length", [SHORTEST_MAC, LONGEST_MAC])
def test_a_nonce_is_good_for_its_client_and_says_what_was_offered(
    algorithms: tuple[PasswordAlgorithm, ...], anonymity: bool, mac_length: int
) -> None:
    offers = Offers(algorithms, username_anonymity=anonymity)
    nonces = make_nonces(mac_length=mac_length)
    nonce = nonces.mint(CLIENT, offers, 1000.0)
    assert nonces.check(nonce, CLIENT, 1000.0) == (True, offers)
    features = features_of(nonce)
    assert features is not None
    assert SecurityFeature.PASSWORD_ALGORITHMS in features
    assert (SecurityFeature.USERNAME_ANONYMITY in features) is anonymity
    assert len(nonce) == COOKIE_LENGTH + 1 + mac_length


@pytest.mark.parametrize("minted", [0.0, 1000.0, 1018.7, 86_400.25])
def test_a_nonce_ends_within_its_lifetime_and_still_tells_its_offers(minted: float) -> None:
    nonces = make_nonces(lifetime=600.0)
    nonce = nonces.mint(CLIENT, BOTH, minted)
    assert nonces.check(nonce, CLIENT, minted + 600 * 15 / 16 - 0.001) == (True, BOTH)
    assert nonces.check(nonce, CLIENT, minted + 600) == (False, BOTH)


def test_a_nonce_that_is_as_old_as_its_time_can_tell_is_not_young_again() -> None:
    nonces = make_nonces(lifetime=600.0)
    nonce = nonces.mint(CLIENT, BOTH, 0.0)
    for round_of_the_character in range(1, 5):
        later = 64 * 600 / 16 * round_of_the_character
        assert nonces.check(nonce, CLIENT, later) == (False, None)


@pytest.mark.parametrize("other", [("203.0.113.9", 51335), ("203.0.113.8", 51334), ("::1", 51334)])
def test_another_address_or_port_cannot_use_it(other: tuple[str, int]) -> None:
    nonces = make_nonces()
    nonce = nonces.mint(CLIENT, BOTH, 0.0)
    stranger = ClientAddress(TransportAddress(*other))
    assert nonces.check(nonce, stranger, 0.0) == (False, None)


def test_no_two_clients_get_the_same_nonce() -> None:
    nonces = make_nonces()
    clients = [ClientAddress(TransportAddress("192.0.2.1", port)) for port in range(100)]
    assert len({nonces.mint(client, BOTH, 5.0) for client in clients}) == 100


def test_another_server_does_not_know_it() -> None:
    nonce = make_nonces().mint(CLIENT, BOTH, 0.0)
    other = Nonces(600.0, lambda size: b"\xff" * size)
    assert other.check(nonce, CLIENT, 0.0) == (False, None)


@pytest.mark.parametrize("place", range(len("obMatJos2wAAA") + 1 + LONGEST_MAC))
def test_one_changed_character_makes_it_stale(place: int) -> None:
    nonces = make_nonces()
    nonce = nonces.mint(CLIENT, BOTH, 0.0)
    changed = "B" if nonce[place] != "B" else "C"
    forged = nonce[:place] + changed + nonce[place + 1 :]
    assert not nonces.check(forged, CLIENT, 0.0).valid


def test_stripped_features_make_it_stale() -> None:
    nonces = make_nonces()
    nonce = nonces.mint(CLIENT, BOTH, 0.0)
    stripped = "obMatJos2AAAA" + nonce[COOKIE_LENGTH:]
    assert nonces.check(stripped, CLIENT, 0.0) == (False, None)


@pytest.mark.parametrize(
    "text", ["", "x", "obMatJos2", "obMatJos2wAAA", "obMatJos2wAAA" + "é" * 17, "a" * 763]
)
def test_garbage_is_stale(text: str) -> None:
    assert make_nonces().check(text, CLIENT, 0.0) == (False, None)


@given(st.text(max_size=128))
def test_any_text_is_judged(text: str) -> None:
    assert not make_nonces().check(text, CLIENT, 12.0).valid


def test_keys_are_replaced_and_the_last_one_stays() -> None:
    drawn: list[int] = []

    def random_bytes(size: int) -> bytes:
        drawn.append(size)
        return bytes([len(drawn)]) * size

    nonces = Nonces(100.0, random_bytes)
    nonce = nonces.mint(CLIENT, BOTH, 199.0)
    assert nonces.check(nonce, CLIENT, 201.0).valid
    assert drawn == [32, 32]
    nonces.mint(CLIENT, BOTH, 100_000.0)
    assert nonces.check(nonce, CLIENT, 100_000.0) == (False, None)


def test_its_keys_make_the_hmac_of_a_nonce() -> None:
    nonces = Nonces(160.0, lambda size: bytes([7]) * size, 12)
    assert (nonces.tick, nonces.mac_length) == (10.0, 12)
    assert nonces.keys(5.0) == {0: bytes([7]) * 32}
    keys = nonces.keys(325.0)
    assert set(keys) == {0, 1}
    cookie, flags = cookie_and_flags(BOTH)
    assert flags == 131
    text = f"32 {flags} {CLIENT.port} {CLIENT.host}".encode()
    mac = urlsafe_b64encode(hmac.digest(keys[1], text, "sha256"))[:12].decode()
    nonce = nonces.mint(CLIENT, BOTH, 325.0)
    assert (nonce[:COOKIE_LENGTH], nonce[-12:]) == (cookie, mac)
    assert nonces.keys(325.0) == keys


@pytest.mark.parametrize(("lifetime", "mac_length"), [(0.0, 8), (-1.0, 8), (1.0, 5), (1.0, 17)])
def test_bad_settings_are_refused(lifetime: float, mac_length: int) -> None:
    with pytest.raises(ValueError, match=r"wanted|more than 0"):
        Nonces(lifetime, bytes, mac_length)


@pytest.mark.parametrize(
    ("realm", "length"),
    [("a", 16), ("turnd", 14), ("example.org", 10), ("turn.example.org", 6), ("x" * 60, 6)],
)
def test_the_hmac_is_as_long_as_the_challenge_may_be(realm: str, length: int) -> None:
    assert mac_length_for(realm) == length


@pytest.mark.parametrize(
    ("realm", "server_name", "passwords", "length"),
    [
        ("turnd", None, False, 16),
        ("turnd", "turn.test", False, 10),
        ("test", "turn", True, 10),
        ("turnd", "turn.test", True, 14),  # it has no room, whatever the HMAC's length
        ("turn.example.org", "turn.example.org", False, 16),  # as above
        ("turn.example", "turn.example", False, 6),
    ],
)
def test_third_parties_are_told_of_where_the_hmac_can_be_short_enough(
    realm: str, server_name: str | None, passwords: bool, length: int
) -> None:
    assert mac_length_for(realm, server_name, passwords=passwords) == length


def test_a_challenge_without_passwords_has_nonces_too() -> None:
    nonces = make_nonces()
    nothing = Offers((), username_anonymity=False)
    nonce = nonces.mint(CLIENT, nothing, 0.0)
    assert nonce.startswith("obMatJos2AAAA")
    assert nonces.check(nonce, CLIENT, 0.0) == (True, nothing)
    assert not nonces.check("obMatJos2gAAA" + nonce[COOKIE_LENGTH:], CLIENT, 0.0).valid
