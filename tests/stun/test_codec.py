import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.stun.codec import (
    DOMAIN,
    EVEN_PORT_FLAG,
    FLAG,
    TEXT_MAX,
    TEXT_MAX_SENT,
    Codec,
    decode_text,
    opaque,
    text,
    unsigned,
)
from turnd.stun.errors import DecodeError

NO_ID = bytes(12)


def test_numbers() -> None:
    codec = unsigned(4)
    assert codec.encode(600, NO_ID) == b"\0\0\2\x58"
    assert codec.decode(b"\0\0\2\x58", NO_ID) == 600


def test_reserved_bytes_are_zero_when_sent_and_ignored_when_received() -> None:
    codec = unsigned(1, reserved=3)
    assert codec.encode(17, NO_ID) == b"\x11\0\0\0"
    assert codec.decode(b"\x11\xff\xff\xff", NO_ID) == 17


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 3), st.data())
def test_numbers_round_trip(size: int, reserved: int, data: st.DataObject) -> None:
    codec = unsigned(size, reserved)
    number = data.draw(st.integers(0, 256**size - 1))
    assert codec.decode(codec.encode(number, NO_ID), NO_ID) == number


@pytest.mark.parametrize("number", [-1, 1 << 16])
def test_numbers_that_do_not_fit_are_not_encoded(number: int) -> None:
    with pytest.raises(ValueError, match="does not fit into 2 bytes"):
        unsigned(2).encode(number, NO_ID)


@pytest.mark.parametrize("value", [b"", b"1", b"123", b"12345"])
def test_a_number_has_its_size(value: bytes) -> None:
    with pytest.raises(DecodeError):
        unsigned(2, reserved=2).decode(value, NO_ID)


@pytest.mark.parametrize(("size", "fits"), [(15, False), (16, True), (18, False), (36, False)])
def test_opaque_values_have_a_bounded_size(size: int, fits: bool) -> None:
    codec = opaque(16, 32, multiple_of=4)
    value = bytes(size)
    if fits:
        assert codec.decode(value, NO_ID) == value == codec.encode(value, NO_ID)
        return
    with pytest.raises(DecodeError):
        codec.decode(value, NO_ID)
    with pytest.raises(ValueError, match="where a value has 16 to 32") as raised:
        codec.encode(value, NO_ID)
    assert not isinstance(raised.value, DecodeError)


def test_text_is_taken_up_to_763_bytes() -> None:
    assert decode_text(b"x" * TEXT_MAX) == "x" * TEXT_MAX
    with pytest.raises(DecodeError):
        decode_text(b"x" * (TEXT_MAX + 1))


@pytest.mark.parametrize("value", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_text_is_utf_8(value: bytes) -> None:
    with pytest.raises(DecodeError):
        text().decode(value, NO_ID)


@pytest.mark.parametrize("words", ["", "nul\0 line\n colon: %", "マトリックス", "é" * 127])
def test_text_round_trips(words: str) -> None:
    assert text().decode(text().encode(words, NO_ID), NO_ID) == words


@pytest.mark.parametrize("words", ["x" * 128, "\N{GRINNING FACE}" * 128])
def test_text_of_128_characters_is_not_sent(words: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        text().encode(words, NO_ID)


def test_text_of_more_bytes_than_allowed_is_not_sent() -> None:
    assert len(text().encode("\N{GRINNING FACE}" * 127, NO_ID)) == TEXT_MAX_SENT - 1
    with pytest.raises(ValueError, match="too long"):
        text(largest_sent=508, characters=509).encode("é" * 255, NO_ID)


def test_a_flag_is_set_by_being_there() -> None:
    assert FLAG.encode(True, NO_ID) == b""
    assert FLAG.decode(b"", NO_ID) is True
    with pytest.raises(DecodeError):
        FLAG.decode(b"\0\0\0\0", NO_ID)
    with pytest.raises(ValueError, match="leaving the attribute out"):
        FLAG.encode(False, NO_ID)


def test_even_port_is_the_first_bit_of_one_byte() -> None:
    assert EVEN_PORT_FLAG.encode(True, NO_ID) == b"\x80"
    assert EVEN_PORT_FLAG.encode(False, NO_ID) == b"\x00"
    assert EVEN_PORT_FLAG.decode(b"\xff", NO_ID) is True
    assert EVEN_PORT_FLAG.decode(b"\x7f", NO_ID) is False
    for value in (b"", b"\x80\0\0\0"):
        with pytest.raises(DecodeError):
            EVEN_PORT_FLAG.decode(value, NO_ID)


def test_domain_names_are_ascii_of_at_most_255_characters() -> None:
    longest = "a" * 255
    assert DOMAIN.decode(DOMAIN.encode(longest, NO_ID), NO_ID) == longest
    for name in ("a" * 256, "exämple.org"):
        with pytest.raises(ValueError, match="is no domain name"):
            DOMAIN.encode(name, NO_ID)
        with pytest.raises(DecodeError):
            DOMAIN.decode(name.encode(), NO_ID)


@given(
    st.sampled_from([unsigned(2, 2), opaque(1, 8), text(), FLAG, EVEN_PORT_FLAG, DOMAIN]),
    st.binary(max_size=800),
)
def test_any_value_decodes_or_raises_decode_error(codec: Codec[object], value: bytes) -> None:
    try:
        codec.decode(value, NO_ID)
    except DecodeError:
        return
    assert len(value) <= TEXT_MAX
