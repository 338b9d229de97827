from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.listeners.hellos import (
    alpn,
    extension,
    hello,
    message,
    openssl_hello,
    records,
    server_name,
    vector,
)
from turnd.listeners.client_hello import LARGEST, MOST_RECORDS, ClientHello, read_client_hello
from turnd.listeners.incomplete import Incomplete
from turnd.stun.errors import DecodeError

KEY_SHARE = extension(51, bytes(1_216))
"""As long as one of X25519MLKEM768."""


@pytest.mark.parametrize("name", [None, "turn.example.org", "TURN.Example.org"])
@pytest.mark.parametrize("protocols", [(), ("stun.turn",), ("h2", "http/1.1")])
def test_what_openssl_sends(name: str | None, protocols: tuple[str, ...]) -> None:
    found = read_client_hello(openssl_hello(name, *protocols))
    assert found == ClientHello(name, tuple(p.encode() for p in protocols))


def test_a_client_without_extensions() -> None:
    assert read_client_hello(records(message(None))) == ClientHello(None, ())


@pytest.mark.parametrize("size", [1_400, 500, 64])
def test_a_large_one_over_several_records(size: int) -> None:
    whole = records(message(KEY_SHARE + server_name(b"a.example")), size)
    assert read_client_hello(whole) == ClientHello("a.example", ())


def test_every_part_wants_more_and_no_more_than_there_is() -> None:
    whole = records(message(KEY_SHARE + server_name(b"a.example") + alpn(b"h2")), 300)
    looks, wanted = 0, 1
    for length in range(len(whole)):
        found = read_client_hello(whole[:length])
        assert isinstance(found, Incomplete)
        assert length < found.wanted <= len(whole)
    while isinstance(found := read_client_hello(whole[:wanted]), Incomplete):
        wanted, looks = found.wanted, looks + 1
    assert found == ClientHello("a.example", (b"h2",))
    assert looks == 10  # two for each of the five records


def test_what_follows_is_not_looked_at() -> None:
    assert read_client_hello(hello(alpn(b"h2")) + b"early data") == ClientHello(None, (b"h2",))


def test_names_of_other_kinds_are_left_out() -> None:
    names = bytes([7]) + vector(2, b"other") + bytes([0]) + vector(2, b"a.example")
    assert read_client_hello(hello(extension(0, vector(2, names)))) == ClientHello("a.example", ())


def test_the_largest() -> None:
    spare = LARGEST - len(hello(extension(21, b"")))
    read_client_hello(hello(extension(21, bytes(spare))))
    with pytest.raises(DecodeError, match="too long"):
        read_client_hello(hello(extension(21, bytes(spare + 1))))


def test_the_length_that_is_announced_is_enough_to_refuse() -> None:
    with pytest.raises(DecodeError, match="too long"):
        read_client_hello(records(b"\x01\xff\xff\xff"))
    with pytest.raises(DecodeError, match="too long"):
        read_client_hello(b"\x16\x03\x01\xff\xff")


def test_not_in_more_records_than_anybody_needs() -> None:
    whole = records(message(bytes(0)), 1)
    assert len(whole) == 6 * len(message(bytes(0)))
    read_client_hello(whole)
    with pytest.raises(DecodeError, match="too many records"):
        read_client_hello(records(message(KEY_SHARE), 1)[: 6 * MOST_RECORDS])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x17\x03\x01\x00\x05", "no record of a TLS handshake"),
        (b"\x16\x02\x00\x00\x05", "no record of a TLS handshake"),
        (b"\x16\x03\x01\x00\x00", "no record of a TLS handshake"),
        (records(b"\x02" + message(b"")[1:]), "no ClientHello"),
        (records(b"\x01" + vector(3, bytes(20))), "longer than what it stands in"),
        (records(b"\x01" + vector(3, message(b"")[4:] + b"x")), "behind the ClientHello"),
        (hello(server_name(b"a.example"), server_name(b"b.example")), "there twice"),
        (hello(server_name(b"a.example", b"b.example")), "one host name"),
        (hello(server_name()), "one host name"),
        (hello(server_name(b"")), "one host name"),
        (hello(server_name(b"a" * 256)), "one host name"),
        (hello(server_name(b"a", kind=3)), "one host name"),
        (hello(extension(0, vector(2, b"\0" + vector(2, b"a")) + b"x")), "one host name"),
        (hello(server_name("ä".encode())), "is ASCII"),
        (hello(alpn()), "names of protocols"),
        (hello(alpn(b"h2", b"")), "names of protocols"),
        (hello(extension(16, vector(2, vector(1, b"h2")) + b"x")), "names of protocols"),
        (hello(extension(16, vector(2, b"\x09h2"))), "longer than what it stands in"),
    ],
)
def test_what_is_none(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        read_client_hello(data)


@given(st.binary(max_size=400))
def test_nothing_but_decode_errors(rest: bytes) -> None:
    beginnings = (b"", b"\x16\x03\x01", message(b"")[:44])
    for data in (beginnings[0] + rest, beginnings[1] + rest, records(beginnings[2] + rest)):
        try:
            found = read_client_hello(data)
        except DecodeError:
            continue
        if isinstance(found, Incomplete):
            assert len(data) < found.wanted <= LARGEST


@given(st.data())
def test_one_byte_that_is_another_breaks_nothing(data: st.DataObject) -> None:
    whole = bytearray(openssl_hello("turn.example.org", "h2"))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    try:
        read_client_hello(bytes(whole))
    except DecodeError:
        return
