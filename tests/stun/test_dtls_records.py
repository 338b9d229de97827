"""Records made by hand; `tests/engine/test_dtls.py` has OpenSSL's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.dtls_client import CLIENT_KEY_EXCHANGE, HANDSHAKE, fragment, plain
from turnd.stun.dtls_records import (
    APPLICATION_DATA,
    LARGEST_HELLO,
    MTU,
    announces_too_much,
    cut_at_records,
    hello_random,
    is_message,
)

LONG, SHORT = (fragment(CLIENT_KEY_EXCHANGE, LARGEST_HELLO + more, 5, b"x" * 20) for more in (1, 0))


def record(size: int) -> bytes:
    return plain(HANDSHAKE, bytes(size), 0)


def test_a_hello_is_known_by_its_random() -> None:
    random = bytes(range(32))
    hello = bytearray(record(60))
    hello[13], hello[27:59] = 1, random
    assert hello_random(bytes(hello)) == random
    assert hello_random(bytes(hello[:58])) is None
    for place, other in ((0, 23), (4, 1), (13, 2), (21, 1)):  # type, epoch, message, fragment
        changed = bytearray(hello)
        changed[place] = other
        assert hello_random(bytes(changed)) is None


def test_a_record_alone_may_be_a_message() -> None:
    message = plain(APPLICATION_DATA, bytes(9), 0)
    assert is_message(message)
    assert not is_message(record(9))
    assert not is_message(plain(APPLICATION_DATA, b"", 0))
    assert not is_message(message[:-1])
    assert not is_message(message + message)


def test_records_are_cut_where_they_begin() -> None:
    small, large = record(37), record(87)
    assert cut_at_records(small + small, 100) == [small + small]
    assert cut_at_records(small + large + small, 100) == [small, large, small]
    assert cut_at_records(record(500) + small, 100) == [record(500), small]
    assert cut_at_records(record(MTU)) == [record(MTU)]
    assert cut_at_records(b"") == []


@given(st.lists(st.integers(0, 300)))
def test_nothing_is_lost_by_cutting(sizes: list[int]) -> None:
    records = b"".join(map(record, sizes))
    assert b"".join(cut_at_records(records, 313)) == records
    assert all(len(each) <= 313 for each in cut_at_records(records, 313))


@pytest.mark.parametrize("body", [LONG, SHORT + LONG, SHORT + SHORT + LONG[:12]])
def test_a_long_message_is_seen_wherever_it_begins(body: bytes) -> None:
    bad = plain(HANDSHAKE, body, 0)
    assert announces_too_much(bad)
    assert announces_too_much(plain(20, b"\1", 0) + record(0) + bad)
    assert not announces_too_much(plain(APPLICATION_DATA, body, 0))
    assert not announces_too_much(plain(HANDSHAKE, body, 0, epoch=1)), "what is sealed, is sealed"


@pytest.mark.parametrize("body", [SHORT, SHORT + SHORT, LONG[:11], b""])
def test_all_else_announces_nothing(body: bytes) -> None:
    assert not announces_too_much(plain(HANDSHAKE, body, 0))


@given(st.binary(max_size=100), st.integers(0, 60))
def test_any_bytes_are_looked_at(data_untrusted: bytes, cut: int) -> None:
    announces_too_much(data_untrusted)
    announces_too_much(plain(HANDSHAKE, LONG, 0)[:cut] + data_untrusted)
