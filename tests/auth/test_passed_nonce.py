from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.auth.credentials import Credential
from turnd.auth.passed_nonce import PREFIX, TICK, is_passed_nonce, mint_passed_nonce
from turnd.stun.integrity import Integrity, IntegrityAlgorithm

HOST, NOW = "203.0.113.5", 1_800_000_030.0
ALICE = Credential("alice", "alice", {})
INTEGRITY = Integrity(b"k" * 16, IntegrityAlgorithm.SHA1)
NONCE = mint_passed_nonce(ALICE, INTEGRITY, HOST, NOW)


def is_good(nonce: str, credential: Credential = ALICE, integrity: Integrity = INTEGRITY) -> bool:
    return is_passed_nonce(nonce, credential, integrity, HOST, NOW)


def test_another_server_with_another_clock_takes_it() -> None:
    for wall_now in (NOW, NOW - TICK, NOW + TICK):
        assert is_passed_nonce(NONCE, ALICE, INTEGRITY, HOST, wall_now)
    assert len(NONCE.encode()) < 128  # RFC 8489 section 14.10


def test_it_is_for_one_user_one_host_and_a_short_time() -> None:
    assert not is_good(NONCE, integrity=INTEGRITY._replace(key=b"j" * 16))
    assert not is_good(NONCE, replace(ALICE, quota_user="bob"))
    assert not is_passed_nonce(NONCE, ALICE, INTEGRITY, "203.0.113.6", NOW)
    assert not is_passed_nonce(NONCE, ALICE, INTEGRITY, HOST, NOW + 2 * TICK)
    assert not is_passed_nonce(NONCE, ALICE, INTEGRITY, HOST, NOW - 2 * TICK)


def test_what_the_user_does_not_know_makes_it_where_there_is_such_a_thing() -> None:
    carol = replace(ALICE, shared=b"secret")
    nonce = mint_passed_nonce(carol, INTEGRITY, HOST, NOW)
    assert is_good(nonce, carol)
    assert is_good(nonce, carol, INTEGRITY._replace(key=b"j" * 16))
    assert not is_good(NONCE, carol), "made with the user's own key"
    assert not is_good(nonce, replace(carol, shared=b"another"))


@pytest.mark.parametrize("nonce", ["", PREFIX, NONCE[:-1], NONCE + "A", NONCE[1:], NONCE.upper()])
def test_nothing_else_is_one(nonce: str) -> None:
    assert not is_good(nonce)


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert not is_good(text)
    assert not is_good(PREFIX + text)
