import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.stun.channel_data import (
    CHANNEL_DATA_MAX,
    CHANNEL_MAX,
    CHANNEL_MIN,
    decode_channel_data_untrusted,
    encode_channel_data,
)
from turnd.stun.errors import DecodeError

numbers = st.integers(CHANNEL_MIN, CHANNEL_MAX)


def test_the_format() -> None:
    assert encode_channel_data(0x4001, b"hello", padded=False) == b"\x40\x01\x00\x05hello"
    assert encode_channel_data(0x4001, b"hello", padded=True) == b"\x40\x01\x00\x05hello\0\0\0"
    assert encode_channel_data(0x4FFF, b"", padded=True) == b"\x4f\xff\x00\x00"
    assert encode_channel_data(0x4000, b"full", padded=True) == b"\x40\x00\x00\x04full"


@given(numbers, st.binary(max_size=300), st.booleans())
def test_any_message_round_trips(number: int, data: bytes, padded: bool) -> None:
    message = encode_channel_data(number, data, padded)
    assert not padded or len(message) % 4 == 0
    assert decode_channel_data_untrusted(message) == (number, data)


def test_the_largest_message_round_trips() -> None:
    data = bytes(CHANNEL_DATA_MAX)
    message = encode_channel_data(CHANNEL_MAX, data, padded=True)
    assert len(message) == 4 + CHANNEL_DATA_MAX + 1
    assert decode_channel_data_untrusted(message) == (CHANNEL_MAX, data)


def test_what_follows_the_length_is_padding_whatever_it_is() -> None:
    assert decode_channel_data_untrusted(b"\x40\x00\x00\x01aPAD") == (0x4000, b"a")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40",
        b"\x40\x00\x00",
        b"\x40\x00\x00\x01",
        b"\x40\x00\xff\xffshort",
        b"\x3f\xff\x00\x00",
        b"\x50\x00\x00\x00",
        b"\xff\xff\x00\x00",
    ],
)
def test_bad_messages_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_channel_data_untrusted(data)


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    try:
        number, application_data = decode_channel_data_untrusted(data)
    except DecodeError:
        return
    assert data.startswith(encode_channel_data(number, application_data, padded=False))


@pytest.mark.parametrize(
    ("number", "size"), [(0x3FFF, 0), (0x5000, 0), (-1, 0), (0x4000, CHANNEL_DATA_MAX + 1)]
)
def test_what_does_not_fit_is_not_encoded(number: int, size: int) -> None:
    with pytest.raises(ValueError, match="no ChannelData"):
        encode_channel_data(number, bytes(size), padded=False)
