from __future__ import annotations

import io
from struct import pack, unpack_from

import pytest

from tests.engine.dtls_client import (
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    HANDSHAKE,
    fragment,
    plain,
)
from tests.native.oracle import Oracle, serve, take_address
from turnd.engine.proxy_v2 import Protocol, write_header
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import MessageClass, Method, encode_message

ID = bytes(range(12))
CLIENT = pack("!16sBHI", bytes((192, 0, 2, 1)), 4, 5000, 0)
CLIENT6 = pack("!16sBHI", bytes.fromhex("fe80" + "00" * 13 + "01"), 16, 5000, 3)
PEER = TransportAddress("192.0.2.9", 9)
BINDING = encode_message(Method.BINDING, MessageClass.REQUEST, ID, [])
SEND = encode_message(
    Method.SEND, MessageClass.INDICATION, ID, [(a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"data")]
)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


def test_addresses_are_those_of_sockets() -> None:
    assert take_address(CLIENT + b"rest") == (("192.0.2.1", 5000), b"rest")
    assert take_address(CLIENT6) == (("fe80::1%3", 5000), b"")


@pytest.mark.parametrize(
    ("datagram", "verdict"),
    [
        (b"\x4f\xff\0\x02hi\0\0", f"channel {0x4FFF} {b'hi'.hex()}"),
        (b"\x40\0\0\x03hi", "junk"),
        (b"", "junk"),
        (BINDING, "message"),
        (SEND, "send"),
        (b"\0\x16" + BINDING[2:], "malformed send"),
    ],
)
def test_datagrams(oracle: Oracle, datagram: bytes, verdict: str) -> None:
    assert oracle.answer(b"D" + datagram) == verdict


def test_send_indications(oracle: Oracle) -> None:
    assert oracle.answer(b"S" + SEND) == f"c0000209 9 {b'data'.hex()} 0"
    assert oracle.answer(b"S" + BINDING) == "malformed"


def test_plain_bindings(oracle: Oracle) -> None:
    answer = oracle.answer(b"B" + CLIENT + BINDING)
    assert bytes.fromhex(answer).startswith(b"\x01\x01")
    for message in (SEND, BINDING[:-1], b"\0\x03" + BINDING[2:]):
        assert oracle.answer(b"B" + CLIENT + message) == "not plain"


def test_what_is_signed_or_not_understood_is_not_plain(oracle: Oracle) -> None:
    for attribute in ((a.MESSAGE_INTEGRITY, bytes(20)), (a.raw(0x7FFF), b"")):
        message = encode_message(Method.BINDING, MessageClass.REQUEST, ID, [attribute])
        assert oracle.answer(b"B" + CLIENT + message) == "not plain"


def test_frames(oracle: Oracle) -> None:
    def told(*sizes: int, media: bool = True, stream: bytes = BINDING * 2) -> str:
        return oracle.answer(b"F" + pack(f"!BH{len(sizes)}H", media, len(sizes), *sizes) + stream)

    assert told(19, 2, 19) == f"until 10 {BINDING.hex()} until 11 {BINDING.hex()} -"
    assert told(21, stream=BINDING + b"\xff") == f"{BINDING.hex()} lost"
    assert told(4, stream=b"\x40\0\xff\xff", media=False) == "lost"
    assert told(4, stream=b"\x40\0\xff\xff") == "until 10"


def test_nonces(oracle: Oracle) -> None:
    minting = pack("!dBdBBd", 160.0, 16, 1000.0, 0, 1, 1100.0)
    nonce, *keys = oracle.answer(b"M" + CLIENT + minting).split()
    assert len(keys) == 2 * len({1000 // 320, 1100 // 320})
    message = encode_message(Method.REFRESH, MessageClass.REQUEST, ID, [(a.NONCE, nonce)])
    assert oracle.answer(b"N" + CLIENT + pack("!d", 1100.0) + message) == "1"
    assert oracle.answer(b"N" + CLIENT6 + pack("!d", 1100.0) + message) == "0"
    assert oracle.answer(b"N" + CLIENT + pack("!d", 1100.0) + BINDING) == "0"
    assert oracle.answer(b"N" + CLIENT + pack("!d", 1100.0) + b"junk") == "0"


def test_what_leaves_towards_a_client(oracle: Oracle) -> None:
    data = oracle.answer(b"I" + CLIENT + ID + b"data")
    assert bytes.fromhex(data).endswith(b"data")
    assert oracle.answer(b"I" + CLIENT + ID + bytes(65_517)) == "too long"
    icmp = oracle.answer(b"E" + CLIENT + pack("!BBI", 3, 4, 1400) + ID)
    assert unpack_from("!I", bytes.fromhex(icmp)[-4:]) == (1400,)


def test_proxied_datagrams(oracle: Oracle) -> None:
    header = write_header(TransportAddress("192.0.2.1", 5), PEER, Protocol.DATAGRAM)
    assert oracle.answer(b"P" + header + b"data") == "28 c0000201 5"
    assert oracle.answer(b"P" + write_header(PEER, PEER)) == "28 the proxy's"
    assert oracle.answer(b"P" + header[:-1]) == "refused"


def test_dtls_records(oracle: Oracle) -> None:
    hello = fragment(CLIENT_HELLO, 100, 0, bytes(range(80)))
    assert oracle.answer(b"R" + plain(HANDSHAKE, hello, 0)) == f"{bytes(range(2, 34)).hex()} 0"
    long = fragment(CLIENT_KEY_EXCHANGE, 100_000, 0, b"x")
    assert oracle.answer(b"R" + plain(HANDSHAKE, long, 0)) == " 1"


def test_questions_are_answered_until_there_are_none() -> None:
    answers = io.BytesIO()
    serve(io.BytesIO(pack("!I", 1) + b"D" + pack("!I", 3) + b"Shi"), answers)
    assert answers.getvalue() == pack("!I", 4) + b"junk" + pack("!I", 9) + b"malformed"
