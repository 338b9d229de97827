import pytest

from tests.stun.registry import IANA
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError

NO_ID = bytes(12)


def test_the_table_is_the_registry_and_origin() -> None:
    registered = {int(number, 16): name for number, name in IANA["attributes"].items()}
    listed = {number: attribute.name for number, attribute in a.ATTRIBUTES.items()}
    assert listed == registered | {0x802F: "ORIGIN"}


def test_each_attribute_is_listed_under_its_number_and_named_in_the_module() -> None:
    for number, attribute in a.ATTRIBUTES.items():
        assert attribute.number == number
        constant = attribute.name.removesuffix(" STUN").replace("-", "_")
        assert getattr(a, constant) is attribute


def test_the_first_half_of_the_numbers_is_comprehension_required() -> None:
    assert a.DONT_FRAGMENT.comprehension_required
    assert a.raw(0x7FFF).comprehension_required
    assert not a.raw(0x8000).comprehension_required
    assert not a.SOFTWARE.comprehension_required


def test_a_raw_attribute_takes_any_bytes() -> None:
    attribute = a.raw(0x7F00)
    assert attribute.name == "0x7f00"
    assert attribute.decode(attribute.encode(b"any", NO_ID), NO_ID) == b"any"


def test_a_user_name_is_sent_up_to_508_bytes_and_taken_up_to_763() -> None:
    assert a.USERNAME.encode("x" * 508, NO_ID) == b"x" * 508
    with pytest.raises(ValueError, match="too long"):
        a.USERNAME.encode("x" * 509, NO_ID)
    assert a.USERNAME.decode(b"x" * 763, NO_ID) == "x" * 763
    with pytest.raises(DecodeError):
        a.USERNAME.decode(b"x" * 764, NO_ID)


@pytest.mark.parametrize(
    ("attribute", "value", "decoded"),
    [
        (a.LIFETIME, b"\0\0\x0e\x10", 3600),
        (a.CHANNEL_NUMBER, b"\x40\0\xff\xff", 0x4000),
        (a.REQUESTED_TRANSPORT, b"\x11\0\0\0", 17),
        (a.REQUESTED_ADDRESS_FAMILY, b"\x03\0\0\0", 3),
        (a.ADDITIONAL_ADDRESS_FAMILY, b"\x02\0\0\0", 2),
        (a.EVEN_PORT, b"\x80", True),
        (a.DONT_FRAGMENT, b"", True),
        (a.RESERVATION_TOKEN, b"12345678", b"12345678"),
        (a.CONNECTION_ID, b"\0\0\0\x01", 1),
        (a.RESPONSE_PORT, b"\x0d\x96\0\0", 3478),
        (a.PRIORITY, b"\x6e\0\x01\xff", 0x6E0001FF),
        (a.ICE_CONTROLLED, b"\x93\x2f\xf9\xb1\x51\x26\x3b\x36", 0x932FF9B151263B36),
        (a.ALTERNATE_DOMAIN, b"turn.example.org", "turn.example.org"),
        (a.ORIGIN, b"https://example.org", "https://example.org"),
        (a.MOBILITY_TICKET, b"", b""),
        (a.UNKNOWN_ATTRIBUTES, b"\0\3", (3,)),
    ],
)
def test_values(attribute: a.Attribute[object], value: bytes, decoded: object) -> None:
    assert attribute.decode(value, NO_ID) == decoded


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (a.LIFETIME, b"\0\0\x0e"),
        (a.CHANNEL_NUMBER, b"\x40\0"),
        (a.REQUESTED_TRANSPORT, b""),
        (a.EVEN_PORT, b""),
        (a.DONT_FRAGMENT, b"\0"),
        (a.RESERVATION_TOKEN, b"1234567"),
        (a.USERHASH, bytes(31)),
        (a.MESSAGE_INTEGRITY, bytes(19)),
        (a.MESSAGE_INTEGRITY_SHA256, bytes(12)),
        (a.FINGERPRINT, bytes(5)),
        (a.XOR_PEER_ADDRESS, bytes(8)),
    ],
)
def test_malformed_values(attribute: a.Attribute[object], value: bytes) -> None:
    with pytest.raises(DecodeError):
        attribute.decode(value, NO_ID)
