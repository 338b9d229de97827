from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.stun.addresses import TransportAddress
from turnd.stun.attributes import ATTRIBUTES, CHANGE_REQUEST, ChangeRequest
from turnd.stun.classic import CHANGED_ADDRESS, SOURCE_ADDRESS, is_classic_binding_untrusted
from turnd.stun.errors import DecodeError
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

ID = bytes(range(16))
REQUEST = bytes.fromhex("00010008") + ID + bytes.fromhex("0003000400000006")
ADDRESS = TransportAddress("192.0.2.1", 32853)


def test_a_request_of_rfc_3489_is_told_by_the_cookie_that_it_lacks() -> None:
    assert is_classic_binding_untrusted(REQUEST)
    modern = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
    assert not is_classic_binding_untrusted(modern)


@pytest.mark.parametrize(
    "data",
    [b"", REQUEST[:19], REQUEST[:-1], REQUEST + bytes(4), b"\x00\x02" + REQUEST[2:],
     bytes.fromhex("00010001") + ID + b"\x00"],
)  # fmt: skip
def test_what_is_none(data: bytes) -> None:
    assert not is_classic_binding_untrusted(data)


def test_it_is_decoded_where_it_is_expected_and_only_there() -> None:
    message = decode_untrusted(REQUEST, classic=True)
    assert message.is_classic
    assert message.transaction_id == ID
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert message.get(CHANGE_REQUEST) == ChangeRequest(True, True)
    with pytest.raises(DecodeError):
        decode_untrusted(REQUEST)


def test_a_message_with_cookie_is_no_classic_one() -> None:
    modern = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
    message = decode_untrusted(modern, classic=True)
    assert not message.is_classic
    assert message.transaction_id == bytes(12)


def test_the_first_two_bits_are_zero_in_it_too() -> None:
    with pytest.raises(DecodeError):
        decode_untrusted(b"\x40" + REQUEST[1:], classic=True)


def test_an_answer_has_no_cookie_either() -> None:
    answer = encode_message(
        Method.BINDING,
        MessageClass.SUCCESS,
        ID,
        [(SOURCE_ADDRESS, ADDRESS), (CHANGED_ADDRESS, ADDRESS)],
    )
    value = bytes.fromhex("00018055c0000201")
    assert answer == (
        bytes.fromhex("01010018") + ID
        + bytes.fromhex("00040008") + value + bytes.fromhex("00050008") + value
    )  # fmt: skip
    assert decode_untrusted(answer, classic=True).get(CHANGED_ADDRESS) == ADDRESS


def test_its_attributes_are_not_in_the_table() -> None:
    assert not ATTRIBUTES.keys() & {SOURCE_ADDRESS.number, CHANGED_ADDRESS.number}


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    for data_untrusted in (data, REQUEST[:4] + data):
        try:
            message = decode_untrusted(data_untrusted, classic=True)
        except DecodeError:
            continue
        assert len(message.transaction_id) == (16 if message.is_classic else 12)
