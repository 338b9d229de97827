from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.auth.passed_nonce import PREFIX, TICK, is_passed_nonce, mint_passed_nonce

KEY, HOST, NOW = b"k" * 16, "203.0.113.5", 1_800_000_030.0
NONCE = mint_passed_nonce(KEY, HOST, NOW)


def test_another_server_with_another_clock_takes_it() -> None:
    for wall_now in (NOW, NOW - TICK, NOW + TICK):
        assert is_passed_nonce(NONCE, KEY, HOST, wall_now)
    assert len(NONCE.encode()) < 128  # RFC 8489 section 14.10


def test_it_is_for_one_key_one_host_and_a_short_time() -> None:
    assert not is_passed_nonce(NONCE, b"j" * 16, HOST, NOW)
    assert not is_passed_nonce(NONCE, KEY, "203.0.113.6", NOW)
    assert not is_passed_nonce(NONCE, KEY, HOST, NOW + 2 * TICK)
    assert not is_passed_nonce(NONCE, KEY, HOST, NOW - 2 * TICK)


@pytest.mark.parametrize("nonce", ["", PREFIX, NONCE[:-1], NONCE + "A", NONCE[1:], NONCE.upper()])
def test_nothing_else_is_one(nonce: str) -> None:
    assert not is_passed_nonce(nonce, KEY, HOST, NOW)


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert not is_passed_nonce(text, KEY, HOST, NOW)
    assert not is_passed_nonce(PREFIX + text, KEY, HOST, NOW)
