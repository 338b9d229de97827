from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.engine.indications import (
    SEND,
    UNDERSTOOD,
    decode_send_untrusted,
    encode_data,
    transaction_ids,
)
from turnd.stun import attributes
from turnd.stun.addresses import PeerAddress, TransportAddress
from turnd.stun.errors import DecodeError
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

PEER = PeerAddress(TransportAddress("192.0.2.1", 9))


@given(
    st.ip_addresses(),
    st.integers(0, 65_535),
    st.binary(max_size=40),
    st.binary(min_size=12, max_size=12),
)
def test_a_data_indication_is_what_the_wire_format_says(
    host: object, port: int, data: bytes, transaction_id: bytes
) -> None:
    peer = PeerAddress(TransportAddress(str(host), port))
    assert encode_data(peer, data, transaction_id) == encode_message(
        Method.DATA,
        MessageClass.INDICATION,
        transaction_id,
        [(attributes.XOR_PEER_ADDRESS, peer), (attributes.DATA, data)],
    )


@pytest.mark.parametrize(("host", "largest"), [("192.0.2.1", 65_516), ("2001:db8::1", 65_504)])
def test_the_largest_data_fits(host: str, largest: int) -> None:
    peer = PeerAddress(TransportAddress(host, 9))
    indication = encode_data(peer, bytes(largest), bytes(12))
    assert decode_untrusted(indication).get(attributes.DATA) == bytes(largest)
    with pytest.raises(ValueError, match="do not fit"):
        encode_data(peer, bytes(largest + 1), bytes(12))


@given(st.ip_addresses(), st.integers(0, 65_535), st.binary(max_size=40), st.booleans())
def test_a_send_indication_is_understood(
    host: object, port: int, data: bytes, dont_fragment: bool
) -> None:
    peer = PeerAddress(TransportAddress(str(host), port))
    values: list[tuple[Any, Any]] = [
        (attributes.XOR_PEER_ADDRESS, peer),
        (attributes.DATA, data),
    ]
    if dont_fragment:
        values.append((attributes.DONT_FRAGMENT, True))
    indication = encode_message(Method.SEND, MessageClass.INDICATION, bytes(12), values)
    assert indication.startswith(SEND)
    assert decode_send_untrusted(indication) == (peer, data, dont_fragment)


VALUES: list[tuple[Any, Any]] = [(attributes.XOR_PEER_ADDRESS, PEER), (attributes.DATA, b"media")]
PLAIN, DATA_FIRST, SEALED, DATA_FIRST_SEALED = MOST = [
    encode_message(
        Method.SEND, MessageClass.INDICATION, bytes(range(12)), values, fingerprint=fingerprint
    )
    for fingerprint in (False, True)
    for values in (VALUES, VALUES[::-1])
]
"""What clients send most; coturn's the last."""


def decoded_by_the_wire_format(data: bytes) -> tuple[object, ...] | None:
    """A Send indication attribute by attribute; None: it is malformed."""
    try:
        message = decode_untrusted(data)
        peer, media = message.get(attributes.XOR_PEER_ADDRESS), message.get(attributes.DATA)
    except DecodeError:
        return None
    if peer is None or media is None or message.unknown_required(UNDERSTOOD):
        return None
    return peer, media, message.has(attributes.DONT_FRAGMENT)


@given(st.sampled_from(MOST), st.integers(0, len(SEALED) - 1), st.integers(0, 255))
def test_no_byte_is_taken_for_another(plain: bytes, at: int, byte: int) -> None:
    data = plain[:at] + bytes([byte]) + plain[at + 1 :]
    expected = decoded_by_the_wire_format(data)
    if expected is None:
        with pytest.raises(DecodeError):
            decode_send_untrusted(data)
    else:
        assert decode_send_untrusted(data) == expected


@pytest.mark.parametrize("data", MOST)
def test_order_and_fingerprint_change_nothing(data: bytes) -> None:
    assert decode_send_untrusted(data) == (PEER, b"media", False)


@given(st.sampled_from(MOST), st.integers(0, len(SEALED) - 1))
def test_what_is_cut_is_refused(plain: bytes, size: int) -> None:
    if size < len(plain):
        with pytest.raises(DecodeError):
            decode_send_untrusted(plain[:size])


@pytest.mark.parametrize("data", MOST)
def test_what_is_longer_than_it_says_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_send_untrusted(data + bytes(4))


def test_transaction_ids_are_read_many_at_a_time_and_never_come_again() -> None:
    asked: list[int] = []

    def numbered(size: int) -> bytes:
        asked.append(size)
        return b"".join(number.to_bytes(4, "big") for number in range(sum(asked) // 4))[-size:]

    ids = transaction_ids(numbered)
    drawn = [next(ids) for _ in range(600)]
    assert {len(each) for each in drawn} == {12}
    assert len(set(drawn)) == 600
    assert len(asked) == 3


@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    length = len(data).to_bytes(2, "big")
    with pytest.raises(DecodeError):
        decode_send_untrusted(SEND + length + b"\x21\x12\xa4\x42" + bytes(12) + data)


def test_what_turn_needs_elsewhere_is_not_understood_here() -> None:
    for attribute in (
        attributes.LIFETIME,
        attributes.CHANNEL_NUMBER,
        attributes.REQUESTED_TRANSPORT,
        attributes.EVEN_PORT,
        attributes.RESERVATION_TOKEN,
    ):
        assert attribute.comprehension_required
        assert attribute.number not in UNDERSTOOD


def test_peer_and_data_are_needed() -> None:
    for values in ([(attributes.XOR_PEER_ADDRESS, PEER)], [(attributes.DATA, b"")], []):
        indication = encode_message(Method.SEND, MessageClass.INDICATION, bytes(12), values)
        with pytest.raises(DecodeError, match="without peer or data"):
            decode_send_untrusted(indication)
