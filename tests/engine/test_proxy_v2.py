from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.engine.proxy_v2 import (
    FIXED_PART,
    LONGEST,
    SIGNATURE,
    Protocol,
    ProxiedAddresses,
    crc32c,
    header_length,
    read_header,
    write_header,
)
from turnd.stun.addresses import TransportAddress
from turnd.stun.errors import DecodeError

V4 = TransportAddress("198.51.100.1", 51334), TransportAddress("192.0.2.7", 443)
V6 = TransportAddress("2001:db8::1", 51334), TransportAddress("2001:db8::7", 443)
STREAM4, DATAGRAM4, STREAM6, UNIX = 0x11, 0x12, 0x21, 0x31

ports = st.integers(0, 65535)
v4_addresses = st.builds(
    TransportAddress, st.builds(lambda n: str(IPv4Address(n)), st.integers(0, 2**32 - 1)), ports
)
v6_addresses = st.builds(
    TransportAddress,
    st.integers(2**64, 2**128 - 1).map(lambda n: str(IPv6Address(n))),
    ports,
)


def header(kind: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


def body_of(client: TransportAddress, local: TransportAddress) -> bytes:
    return write_header(client, local)[FIXED_PART:]


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(kind: int, body: bytes) -> bytes:
    whole = header(kind, body + tlv(3, bytes(4)))
    return whole[:-4] + crc32c(whole).to_bytes(4, "big")


def test_the_bytes_of_the_specification() -> None:
    assert write_header(*V4) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a 21 11 000c c6336401 c0000207 c886 01bb"
    )
    assert write_header(*V6)[12:16] == bytes.fromhex("21 21 0024")
    assert write_header(*V4, Protocol.DATAGRAM)[12:16] == bytes.fromhex("21 12 000c")


@given(st.one_of(st.tuples(v4_addresses, v4_addresses), st.tuples(v6_addresses, v6_addresses)))
def test_what_is_written_is_read(ends: tuple[TransportAddress, TransportAddress]) -> None:
    written = write_header(*ends)
    assert header_length(written) == len(written)
    assert read_header(written, Protocol.STREAM) == ProxiedAddresses(*ends)


@pytest.mark.parametrize("ends", [(V4[0], V6[1]), (V6[0], V4[1])])
def test_two_families_are_written_as_one(ends: tuple[TransportAddress, TransportAddress]) -> None:
    assert write_header(*ends)[13] == STREAM6
    assert read_header(write_header(*ends), Protocol.STREAM) == ProxiedAddresses(*ends)


def test_ipv4_that_is_shown_as_mapped_is_ipv4() -> None:
    mapped = bytes(10) + b"\xff\xff"
    block = mapped + bytes([198, 51, 100, 1]) + mapped + bytes([192, 0, 2, 7])
    block += struct.pack("!HH", 51334, 443)
    assert read_header(header(STREAM6, block), Protocol.STREAM) == ProxiedAddresses(*V4)


@pytest.mark.parametrize("kind", [0x00, STREAM4, UNIX, 0xFF])
@pytest.mark.parametrize("body", [b"", b"anything"])
def test_local_is_the_proxy_itself(kind: int, body: bytes) -> None:
    assert read_header(header(kind, body, command=0x20), Protocol.STREAM) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0x00, b""),
        (0x10, body_of(*V4)),
        (0x01, b""),
        (UNIX, bytes(216)),
        (0x32, bytes(216)),
        (DATAGRAM4, body_of(*V4)),
    ],
)
def test_what_says_nothing_of_a_connection_is_the_proxy_itself(kind: int, body: bytes) -> None:
    assert read_header(header(kind, body), Protocol.STREAM) is None


def test_datagrams_have_a_protocol_of_their_own() -> None:
    block = body_of(*V4)
    assert read_header(header(DATAGRAM4, block), Protocol.DATAGRAM) == ProxiedAddresses(*V4)
    assert read_header(header(STREAM4, block), Protocol.DATAGRAM) is None


def test_further_values_are_skipped() -> None:
    more = tlv(0x04, b"") + tlv(0x02, b"turn.example.org") + tlv(0xEE, bytes(300))
    whole = header(STREAM4, body_of(*V4) + more)
    assert read_header(whole, Protocol.STREAM) == ProxiedAddresses(*V4)


def test_the_checksum_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE306_9283
    assert crc32c(bytes(32)) == 0x8A91_36AA  # RFC 3720 section B.4


def test_a_checksum_has_to_be_right() -> None:
    good = with_checksum(STREAM4, body_of(*V4) + tlv(4, b"padding"))
    assert read_header(good, Protocol.STREAM) == ProxiedAddresses(*V4)
    for at in range(FIXED_PART, FIXED_PART + 12):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(DecodeError, match="checksum"):
            read_header(bad, Protocol.STREAM)


@pytest.mark.parametrize(
    ("whole", "why"),
    [
        (header(0x41, bytes(12)), "family or protocol"),
        (header(0x13, bytes(12)), "family or protocol"),
        (header(STREAM4, bytes(11)), "without its addresses"),
        (header(STREAM6, bytes(35)), "without its addresses"),
        (header(STREAM4, bytes(12) + b"\x04"), "longer than its PROXY header"),
        (header(STREAM4, bytes(12) + b"\x04\x00\x01"), "longer than its PROXY header"),
        (header(STREAM4, bytes(12) + tlv(3, bytes(3))), "another length"),
        (header(STREAM4, bytes(12))[:-1], "cut off"),
        (header(STREAM4, bytes(12), command=0x20)[:-1], "cut off"),
    ],
)
def test_contradictions(whole: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        read_header(whole, Protocol.STREAM)


@pytest.mark.parametrize(
    ("begin", "why"),
    [
        (b"", "no PROXY header"),
        (SIGNATURE + b"\x21\x11\0", "no PROXY header"),
        (b"x" + header(STREAM4, b"")[1:], "no PROXY header"),
        (header(STREAM4, b"", command=0x11), "another version or command"),
        (header(STREAM4, b"", command=0x22), "another version or command"),
        (header(STREAM4, bytes(LONGEST - FIXED_PART + 1)), "too long"),
    ],
)
def test_what_is_no_header(begin: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        header_length(begin)


def test_the_longest_header() -> None:
    assert header_length(header(STREAM4, bytes(LONGEST - FIXED_PART))) == LONGEST


@given(st.binary(max_size=300), st.sampled_from(Protocol))
def test_nothing_but_decode_errors(rest: bytes, wanted: Protocol) -> None:
    for data in (rest, SIGNATURE + rest, SIGNATURE + b"\x21" + rest):
        try:
            length = header_length(data)
            if len(data) >= length:
                read_header(data[:length], wanted)
        except DecodeError:
            continue
