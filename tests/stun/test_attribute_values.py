from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnd.stun import attribute_values as values
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.attribute_values import (
    AddressErrorCodeValue,
    ChangeRequest,
    ErrorCodeValue,
    IcmpValue,
    PasswordAlgorithmEntry,
    TransmitCounter,
)
from turnd.stun.codec import Codec
from turnd.stun.errors import DecodeError, ErrorCode

TRANSACTION_ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
IPV4 = TransportAddress("192.0.2.1", 32853)
IPV6 = TransportAddress("2001:db8:1234:5678:11:2233:4455:6677", 32853)

bytes_1, bytes_2, bytes_4 = (st.integers(0, 256**size - 1) for size in (1, 2, 4))
addresses = st.builds(TransportAddress, st.ip_addresses().map(str), bytes_2)
codes = st.integers(300, 699)
reasons = st.text(st.characters(exclude_categories=["Cs"]), max_size=127)
entries = st.builds(PasswordAlgorithmEntry, bytes_2, st.binary(max_size=40))

ROUND_TRIPS: list[tuple[Codec[Any], st.SearchStrategy[Any]]] = [
    (values.ADDRESS, addresses),
    (values.XOR_ADDRESS, addresses),
    (values.ERROR, st.builds(ErrorCodeValue, codes, reasons)),
    (
        values.ADDRESS_ERROR,
        st.builds(AddressErrorCodeValue, st.sampled_from(AddressFamily), codes, reasons),
    ),
    (values.ALGORITHMS, st.lists(entries, max_size=5).map(tuple)),
    (values.ALGORITHM, entries),
    (values.ATTRIBUTE_TYPES, st.lists(bytes_2, max_size=20).map(tuple)),
    (
        values.ICMP_ERROR,
        st.builds(IcmpValue, st.integers(0, 127), st.integers(0, 511), bytes_4),
    ),
    (values.CHANGES, st.builds(ChangeRequest, st.booleans(), st.booleans())),
    (values.TRANSMISSIONS, st.builds(TransmitCounter, bytes_1, bytes_1)),
]


@settings(max_examples=400)
@given(st.sampled_from(ROUND_TRIPS), st.data(), st.binary(min_size=12, max_size=12))
def test_any_value_round_trips(
    kind: tuple[Codec[Any], st.SearchStrategy[Any]], data: st.DataObject, transaction_id: bytes
) -> None:
    codec, strategy = kind
    value = data.draw(strategy)
    assert codec.decode(codec.encode(value, transaction_id), transaction_id) == value


@settings(max_examples=400)
@given(st.sampled_from(ROUND_TRIPS), st.binary(max_size=24), st.data())
def test_any_bytes_decode_or_raise_decode_error(
    kind: tuple[Codec[Any], st.SearchStrategy[Any]], value: bytes, data: st.DataObject
) -> None:
    codec, strategy = kind
    well_formed = codec.encode(data.draw(strategy), TRANSACTION_ID)
    cut = data.draw(st.integers(0, len(well_formed)))
    for candidate in (value, well_formed[:cut], well_formed + value):
        try:
            decoded = codec.decode(candidate, TRANSACTION_ID)
        except DecodeError:
            continue
        assert codec.decode(codec.encode(decoded, TRANSACTION_ID), TRANSACTION_ID) == decoded


def test_mapped_addresses_are_plain() -> None:
    assert values.ADDRESS.encode(IPV4, TRANSACTION_ID) == bytes.fromhex("00018055c0000201")
    assert values.ADDRESS.decode(bytes.fromhex("ff018055c0000201"), TRANSACTION_ID) == IPV4


@pytest.mark.parametrize(
    ("address", "value"),
    [
        (IPV4, "0001a147e112a643"),
        (IPV6, "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"),
    ],
)
def test_xored_addresses_are_those_of_rfc_5769(address: TransportAddress, value: str) -> None:
    assert values.XOR_ADDRESS.encode(address, TRANSACTION_ID).hex() == value
    assert values.XOR_ADDRESS.decode(bytes.fromhex(value), TRANSACTION_ID) == address


def test_an_address_is_encoded_from_any_text_and_decoded_to_the_canonical_one() -> None:
    value = values.XOR_ADDRESS.encode(TransportAddress("2001:DB8:0:0::1", 1), TRANSACTION_ID)
    decoded = values.XOR_ADDRESS.decode(value, TRANSACTION_ID)
    assert decoded == TransportAddress("2001:db8::1", 1)


@pytest.mark.parametrize("codec", [values.ADDRESS, values.XOR_ADDRESS])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "0001",
        "00010050c00002",
        "00010050c000020100",
        "00020050c0000201",
        "00000050c0000201",
        "00030050c0000201",
        "0001005020010db8000000000000000000000001",
        "0002005020010db80000000000000000000001",
    ],
)
def test_malformed_addresses_are_refused(codec: Codec[TransportAddress], value: str) -> None:
    with pytest.raises(DecodeError):
        codec.decode(bytes.fromhex(value), TRANSACTION_ID)


@pytest.mark.parametrize("codec", [values.ADDRESS, values.XOR_ADDRESS])
@pytest.mark.parametrize(
    "address", [TransportAddress("no address", 1), TransportAddress("192.0.2.1", 65536)]
)
def test_what_is_no_address_is_not_encoded(
    codec: Codec[TransportAddress], address: TransportAddress
) -> None:
    with pytest.raises(ValueError, match=r"no port|does not appear"):
        codec.encode(address, TRANSACTION_ID)


def test_an_error_code_alone_brings_its_reason() -> None:
    value = values.ERROR.encode(ErrorCode.STALE_NONCE, TRANSACTION_ID)
    assert value == b"\0\0\x04\x26Stale Nonce"
    assert values.ERROR.decode(value, TRANSACTION_ID) == (438, "Stale Nonce")


def test_an_error_code_may_go_without_a_reason() -> None:
    value = values.ERROR.encode(ErrorCodeValue(ErrorCode.STALE_NONCE, ""), TRANSACTION_ID)
    assert value == b"\0\0\x04\x26"


def test_reserved_bits_of_an_error_code_are_ignored() -> None:
    assert values.ERROR.decode(b"\xff\xff\xfc\x01", TRANSACTION_ID) == (401, "")


@pytest.mark.parametrize("value", [b"", b"\0\0\4", b"\0\0\2\0", b"\0\0\7\0", b"\0\0\4\x64"])
def test_malformed_error_codes_are_refused(value: bytes) -> None:
    for codec in (values.ERROR, values.ADDRESS_ERROR):
        with pytest.raises(DecodeError):
            codec.decode(value, TRANSACTION_ID)


@pytest.mark.parametrize("value", [b"\0\0\4\x28", b"\3\0\4\x28"])
def test_an_address_error_names_a_family(value: bytes) -> None:
    with pytest.raises(DecodeError):
        values.ADDRESS_ERROR.decode(value, TRANSACTION_ID)


def test_the_format_of_an_address_error() -> None:
    error = AddressErrorCodeValue(AddressFamily.IPV6, 440, "no")
    assert values.ADDRESS_ERROR.encode(error, TRANSACTION_ID) == b"\2\0\4\x28no"


@pytest.mark.parametrize("code", [0, 299, 700])
def test_other_numbers_are_no_error_codes(code: int) -> None:
    with pytest.raises(ValueError, match="is no error code"):
        values.ERROR.encode((code, ""), TRANSACTION_ID)


def test_password_algorithms_keep_their_parameters() -> None:
    listed = (PasswordAlgorithmEntry(2), PasswordAlgorithmEntry(7, b"abcde"))
    value = values.ALGORITHMS.encode(listed, TRANSACTION_ID)
    assert value == b"\0\2\0\0" + b"\0\7\0\5abcde\0\0\0"
    assert values.ALGORITHMS.decode(value, TRANSACTION_ID) == listed
    assert values.ALGORITHMS.decode(value[:-3], TRANSACTION_ID) == listed
    assert values.ALGORITHMS.decode(value[:-3] + b"PAD", TRANSACTION_ID) == listed


@pytest.mark.parametrize("value", [b"\0", b"\0\2\0", b"\0\2\0\1", b"\0\2\0\0\0\1\0\5abcd"])
def test_malformed_password_algorithms_are_refused(value: bytes) -> None:
    for codec in (values.ALGORITHMS, values.ALGORITHM):
        with pytest.raises(DecodeError):
            codec.decode(value, TRANSACTION_ID)


@pytest.mark.parametrize("value", [b"", b"\0\2\0\0\0\1\0\0"])
def test_one_password_algorithm_is_chosen(value: bytes) -> None:
    with pytest.raises(DecodeError):
        values.ALGORITHM.decode(value, TRANSACTION_ID)


@pytest.mark.parametrize(
    "entry",
    [
        PasswordAlgorithmEntry(-1),
        PasswordAlgorithmEntry(1 << 16),
        PasswordAlgorithmEntry(1, bytes(1 << 16)),
    ],
)
def test_what_is_no_password_algorithm_is_not_encoded(entry: PasswordAlgorithmEntry) -> None:
    with pytest.raises(ValueError, match="no password algorithm"):
        values.ALGORITHM.encode(entry, TRANSACTION_ID)


def test_the_format_of_unknown_attributes() -> None:
    assert values.ATTRIBUTE_TYPES.encode((3, 0x7FFF), TRANSACTION_ID) == b"\0\3\x7f\xff"
    with pytest.raises(DecodeError):
        values.ATTRIBUTE_TYPES.decode(b"\0\3\x7f", TRANSACTION_ID)
    with pytest.raises(ValueError, match="does not fit"):
        values.ATTRIBUTE_TYPES.encode((1 << 16,), TRANSACTION_ID)


def test_the_format_of_icmp() -> None:
    value = values.ICMP_ERROR.encode(IcmpValue(3, 4, 1280), TRANSACTION_ID)
    assert value == b"\0\0\x06\x04\0\0\x05\0"
    assert values.ICMP_ERROR.decode(b"\xff\xff" + value[2:], TRANSACTION_ID) == (3, 4, 1280)


@pytest.mark.parametrize("icmp", [IcmpValue(128, 0), IcmpValue(0, 512), IcmpValue(0, 0, 1 << 32)])
def test_icmp_that_does_not_fit_is_not_encoded(icmp: IcmpValue) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        values.ICMP_ERROR.encode(icmp, TRANSACTION_ID)


def test_the_format_of_change_request() -> None:
    change_ip, change_port = ChangeRequest(True, False), ChangeRequest(False, True)
    assert values.CHANGES.encode(change_ip, TRANSACTION_ID) == b"\0\0\0\4"
    assert values.CHANGES.encode(change_port, TRANSACTION_ID) == b"\0\0\0\2"
    assert values.CHANGES.decode(b"\xff\xff\xff\xf9", TRANSACTION_ID) == (False, False)


def test_the_format_of_the_transmit_counter() -> None:
    assert values.TRANSMISSIONS.encode(TransmitCounter(3, 1), TRANSACTION_ID) == b"\0\0\3\1"
