from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.auth.credentials import Offers
from turnd.auth.nonce import Nonces
from turnd.stun.addresses import ClientAddress, TransportAddress
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.nonce_cookie import COOKIE_LENGTH, SecurityFeature, features_of

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256
BOTH = Offers((SHA256, MD5), username_anonymity=True)
CLIENT = ClientAddress(TransportAddress("203.0.113.9", 51334))


def make_nonces(lifetime: float = 600.0, rotate_every: float | None = None) -> Nonces:
    numbers = count(1)
    return Nonces(lifetime, lambda size: bytes([next(numbers)]) * size, rotate_every)


@pytest.mark.parametrize("anonymity", [True, False])
@pytest.mark.parametrize("algorithms", [(MD5,), (SHA256,), (SHA256, MD5)])
def test_a_nonce_is_good_for_its_client_and_says_what_was_offered(
    algorithms: tuple[PasswordAlgorithm, ...], anonymity: bool
) -> None:
    offers = Offers(algorithms, username_anonymity=anonymity)
    nonces = make_nonces()
    nonce = nonces.mint(CLIENT, offers, 1000.0)
    assert nonces.check(nonce, CLIENT, 1000.0) == (True, offers)
    features = features_of(nonce)
    assert features is not None
    assert SecurityFeature.PASSWORD_ALGORITHMS in features
    assert (SecurityFeature.USERNAME_ANONYMITY in features) is anonymity
    assert len(nonce) <= 64


def test_a_nonce_ends_on_its_second_and_still_tells_its_offers() -> None:
    nonces = make_nonces(lifetime=600.0)
    nonce = nonces.mint(CLIENT, BOTH, 1000.0)
    assert nonces.check(nonce, CLIENT, 1599.999).valid
    assert nonces.check(nonce, CLIENT, 1600.0) == (False, BOTH)


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


def test_another_server_cannot_mint() -> None:
    numbers = count(50)
    other = Nonces(600.0, lambda size: bytes([next(numbers)]) * size)
    assert not make_nonces().check(other.mint(CLIENT, BOTH, 0.0), CLIENT, 0.0).valid


def test_feature_bits_cannot_be_stripped() -> None:
    nonces = make_nonces()
    with_bits = nonces.mint(CLIENT, BOTH, 0.0)
    plain = nonces.mint(CLIENT, Offers((MD5,), username_anonymity=False), 0.0)
    forged = plain[:COOKIE_LENGTH] + with_bits[COOKIE_LENGTH:]
    assert nonces.check(forged, CLIENT, 0.0) == (False, None)


def test_every_single_change_makes_it_stale() -> None:
    nonces = make_nonces()
    nonce = nonces.mint(CLIENT, BOTH, 0.0)
    for place in range(len(nonce) - 1):  # the last character has bits that mean nothing
        changed = nonce[:place] + ("A" if nonce[place] != "A" else "B") + nonce[place + 1 :]
        assert not nonces.check(changed, CLIENT, 0.0).valid, place


@given(st.text(max_size=100))
def test_any_text_is_judged(text: str) -> None:
    nonces = make_nonces()
    assert nonces.check(text, CLIENT, 0.0) == (False, None)
    assert nonces.check("obMatJos2gAAA" + text, CLIENT, 0.0) == (False, None)


@pytest.mark.parametrize("rest", ["é" * 31, "*" * 31, "A" * 30 + "*", "A" * 31, "A" * 32])
def test_malformed_rests_are_stale(rest: str) -> None:
    assert make_nonces().check("obMatJos2wAAA" + rest, CLIENT, 0.0) == (False, None)


def test_the_key_rotates_and_the_one_before_still_counts() -> None:
    nonces = make_nonces(lifetime=600.0, rotate_every=1000.0)
    old = nonces.mint(CLIENT, BOTH, 999.0)
    new = nonces.mint(CLIENT, BOTH, 1001.0)
    assert nonces.check(old, CLIENT, 1001.0).valid
    assert nonces.check(new, CLIENT, 1001.0).valid
    assert nonces.check(old, CLIENT, 2500.0) == (False, None)  # its key is gone
    assert nonces.check(new, CLIENT, 2500.0) == (False, BOTH)


def test_a_server_that_was_idle_for_long_goes_on() -> None:
    nonces = make_nonces(rotate_every=1000.0)
    old = nonces.mint(CLIENT, BOTH, 0.0)
    assert not nonces.check(old, CLIENT, 1e6).valid
    assert nonces.check(nonces.mint(CLIENT, BOTH, 1e6), CLIENT, 1e6).valid


def test_a_nonce_does_not_tell_the_uptime() -> None:
    first = Nonces(600.0, lambda size: b"\x01" * size).mint(CLIENT, BOTH, 7.0)
    second = Nonces(600.0, lambda size: b"\x02" * size).mint(CLIENT, BOTH, 7.0)
    assert first[COOKIE_LENGTH : COOKIE_LENGTH + 8] != second[COOKIE_LENGTH : COOKIE_LENGTH + 8]


def test_senseless_lifetimes_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        make_nonces(lifetime=0)
    with pytest.raises(ValueError, match="as long as a nonce"):
        make_nonces(lifetime=10, rotate_every=5)
