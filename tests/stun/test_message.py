from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.errors import DecodeError, ErrorCode
from turnd.stun.integrity import message_fingerprint, message_hmac
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    Message,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)

SHA1, SHA256 = IntegrityAlgorithm.SHA1, IntegrityAlgorithm.SHA256
TRANSACTION_ID = bytes(range(12))
KEY = b"the key of some user"
SEALS = {0x0008, 0x001C, 0x8028}

numbers = st.integers(0, 0xFFFF).filter(lambda number: number not in SEALS)
raw_attributes = st.lists(st.tuples(numbers, st.binary(max_size=40)), max_size=8)
integrities = st.builds(Integrity, st.binary(max_size=80), st.sampled_from(IntegrityAlgorithm))


def raw(pairs: list[tuple[int, bytes]]) -> list[tuple[a.Attribute[Any], bytes]]:
    return [(a.raw(number), value) for number, value in pairs]


def tlv(number: int, value: bytes, size: int | None = None) -> bytes:
    """An attribute, whose length may lie."""
    length = len(value) if size is None else size
    return number.to_bytes(2, "big") + length.to_bytes(2, "big") + value + bytes(-len(value) & 3)


def message_of(
    body: bytes, length: int | None = None, cookie: int = 0x2112A442, message_type: int = 1
) -> bytes:
    size = len(body) if length is None else length
    header = message_type.to_bytes(2, "big") + size.to_bytes(2, "big") + cookie.to_bytes(4, "big")
    return header + TRANSACTION_ID + body


def sealed(body: bytes, algorithm: IntegrityAlgorithm, cut: int | None = None) -> bytes:
    """The body and the integrity attribute over it, perhaps truncated."""
    size = algorithm.size if cut is None else cut
    covered = message_of(body, length=len(body) + 4 + algorithm.size)
    number = 0x0008 if algorithm is SHA1 else 0x001C
    return body + tlv(number, message_hmac(KEY, algorithm, covered)[:size])


def fingerprinted(body: bytes) -> bytes:
    crc = message_fingerprint(message_of(body, length=len(body) + 8))
    return body + tlv(0x8028, crc.to_bytes(4, "big"))


def numbers_of(message: Message) -> list[int]:
    return [number for number, _ in message.attributes]


@settings(max_examples=300)
@given(
    st.integers(0, 0xFFF),
    st.sampled_from(MessageClass),
    st.binary(min_size=12, max_size=12),
    raw_attributes,
    st.none() | integrities,
    st.booleans(),
)
def test_any_message_round_trips(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    pairs: list[tuple[int, bytes]],
    integrity: Integrity | None,
    fingerprint: bool,
) -> None:
    data = encode_message(
        method,
        message_class,
        transaction_id,
        raw(pairs),
        integrity=integrity,
        fingerprint=fingerprint,
    )
    message = decode_untrusted(data)
    assert (message.method, message.message_class) == (method, message_class)
    assert message.transaction_id == transaction_id
    assert [pair for pair in message.attributes if pair[0] not in SEALS] == pairs
    assert message.has_fingerprint is fingerprint
    assert message.size == len(data)
    for algorithm in IntegrityAlgorithm:
        signed = integrity is not None and integrity.algorithm is algorithm
        has = message.has_integrity if algorithm is SHA1 else message.has_integrity_sha256
        assert has is signed
        assert message.verify_integrity(integrity.key if integrity else b"", algorithm) is signed


@settings(max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=80).map(lambda data: data[: len(data) & ~3]))
def test_any_bytes_decode_or_raise_decode_error(data: bytes, body: bytes) -> None:
    for candidate in (data, message_of(body), message_of(data)):
        try:
            message = decode_untrusted(candidate)
        except DecodeError:
            continue
        for number in numbers_of(message):
            attribute = a.ATTRIBUTES.get(number, a.raw(number))
            try:
                message.get_all(attribute)
            except DecodeError:
                continue
        assert message.size == len(candidate)


@settings(max_examples=300)
@given(raw_attributes, st.data())
def test_a_mutated_message_decodes_or_raises_decode_error(
    pairs: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    mutated = bytearray(
        encode_message(
            Method.ALLOCATE,
            MessageClass.REQUEST,
            TRANSACTION_ID,
            raw(pairs),
            integrity=Integrity(KEY, SHA1),
            fingerprint=data.draw(st.booleans()),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode_untrusted(bytes(mutated))
    except DecodeError:
        return
    assert message.size == len(mutated)


@settings(max_examples=300)
@given(raw_attributes, raw_attributes, st.sampled_from(IntegrityAlgorithm), st.booleans())
def test_what_follows_the_integrity_never_shows(
    before: list[tuple[int, bytes]],
    after: list[tuple[int, bytes]],
    algorithm: IntegrityAlgorithm,
    fingerprint: bool,
) -> None:
    body = sealed(b"".join(tlv(*pair) for pair in before), algorithm)
    body += b"".join(tlv(*pair) for pair in after)
    message = decode_untrusted(message_of(fingerprinted(body) if fingerprint else body))
    assert [pair for pair in message.attributes if pair[0] not in SEALS] == before
    assert message.verify_integrity(KEY, algorithm)
    assert message.has_fingerprint is fingerprint
    absent = {number for number, _ in after} - {number for number, _ in before}
    assert not any(message.has(a.raw(number)) for number in absent)
    assert absent.isdisjoint(message.unknown_required(frozenset()))


def test_both_integrities_count_one_right_after_the_other() -> None:
    user = tlv(0x0006, b"alice")
    both = sealed(sealed(user, SHA1), SHA256)
    message = decode_untrusted(message_of(fingerprinted(both)))
    assert numbers_of(message) == [0x0006, 0x0008, 0x001C, 0x8028]
    assert message.verify_integrity(KEY, SHA1)
    assert message.verify_integrity(KEY, SHA256)


def test_an_integrity_that_does_not_follow_right_after_the_other_does_not_count() -> None:
    apart = sealed(sealed(b"", SHA1) + tlv(0x8022, b"soft"), SHA256)
    message = decode_untrusted(message_of(apart))
    assert numbers_of(message) == [0x0008]
    assert not message.has_integrity_sha256
    assert not message.verify_integrity(KEY, SHA256)


def test_message_integrity_after_the_one_with_sha256_does_not_count() -> None:
    message = decode_untrusted(message_of(sealed(sealed(b"", SHA256), SHA1)))
    assert numbers_of(message) == [0x001C]
    assert not message.has_integrity
    assert not message.verify_integrity(KEY, SHA1)


def test_a_second_integrity_does_not_count_whatever_its_size() -> None:
    body = sealed(b"", SHA1) + tlv(0x0008, b"short") + tlv(0x001C, b"short")
    message = decode_untrusted(message_of(body))
    assert numbers_of(message) == [0x0008]
    assert message.verify_integrity(KEY, SHA1)


@pytest.mark.parametrize("size", [0, 4, 16, 19, 21, 24, 32])
def test_message_integrity_has_20_bytes(size: int) -> None:
    with pytest.raises(DecodeError):
        decode_untrusted(message_of(tlv(0x0008, bytes(size))))


@pytest.mark.parametrize("size", [0, 12, 15, 17, 30, 33, 36])
def test_message_integrity_sha256_has_16_to_32_bytes(size: int) -> None:
    for before in (b"", tlv(0x0008, bytes(20))):
        with pytest.raises(DecodeError):
            decode_untrusted(message_of(before + tlv(0x001C, bytes(size))))


@pytest.mark.parametrize("size", [16, 20, 24, 28])
def test_truncated_message_integrity_sha256_never_holds(size: int) -> None:
    message = decode_untrusted(message_of(sealed(b"", SHA256, cut=size)))
    assert message.has_integrity_sha256
    assert not message.verify_integrity(KEY, SHA256)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        message_of(b"")[:-1],
        message_of(b"", cookie=0x2112A443),
        message_of(b"", cookie=0),
        message_of(b"", message_type=0x4001),
        message_of(b"", message_type=0x8001),
        message_of(b"", message_type=0xFFFF),
        message_of(b"", length=4),
        message_of(b"", length=1),
        message_of(b"", length=0xFFFC),
        message_of(bytes(4), length=0),
        message_of(bytes(2)),
        message_of(bytes(8))[:-4],
        message_of(bytes(8)) + b"\0\0\0\0",
        message_of(tlv(0x8022, b"soft", size=5)),
        message_of(tlv(0x8022, b"soft", size=0xFFFF)),
        message_of(tlv(0x8022, b"", size=1)),
        message_of(sealed(b"", SHA1) + tlv(0x8022, b"soft", size=5)),
        b"\x40\x00\x00\x10" + bytes(16),
        b"GET / HTTP/1.1\r\n\r\n\r\n\r\n",
    ],
)
def test_what_is_no_stun_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_untrusted(data)


def test_every_truncation_is_refused() -> None:
    data = encode_message(
        Method.ALLOCATE,
        MessageClass.REQUEST,
        TRANSACTION_ID,
        [(a.USERNAME, "alice"), (a.REQUESTED_TRANSPORT, 17)],
        integrity=Integrity(KEY, SHA1),
    )
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            decode_untrusted(data[:size])


@pytest.mark.parametrize(
    "body",
    [
        tlv(0x8028, bytes(4)),
        tlv(0x8028, b""),
        tlv(0x8028, bytes(8)),
        tlv(0x8028, bytes(3)),
        fingerprinted(b"") + tlv(0x8022, b"soft"),
        fingerprinted(b"") + tlv(0x8022, b""),
        fingerprinted(fingerprinted(b"")),
        sealed(fingerprinted(b""), SHA1),
        fingerprinted(sealed(b"", SHA1)) + tlv(0x8022, b"soft"),
        sealed(b"", SHA1) + tlv(0x8028, bytes(4)),
    ],
)
def test_a_fingerprint_is_right_and_last(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_untrusted(message_of(body))


def test_padding_is_zero_when_sent_and_ignored_when_received() -> None:
    sent = encode_message(
        Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID, [(a.SOFTWARE, "abcde")]
    )
    assert sent.endswith(b"abcde\0\0\0")
    assert decode_untrusted(sent[:-3] + b"xyz").get(a.SOFTWARE) == "abcde"


def test_the_first_of_several_counts_and_all_can_be_had() -> None:
    peers = [TransportAddress("192.0.2.1", 1), TransportAddress("2001:db8::1", 2)]
    data = encode_message(
        Method.CREATE_PERMISSION,
        MessageClass.REQUEST,
        TRANSACTION_ID,
        [(a.XOR_PEER_ADDRESS, peer) for peer in peers] + [(a.LIFETIME, 1), (a.LIFETIME, 2)],
    )
    message = decode_untrusted(data)
    assert message.get(a.XOR_PEER_ADDRESS) == peers[0]
    assert message.get_all(a.XOR_PEER_ADDRESS) == peers
    assert message.get(a.LIFETIME) == 1
    assert message.get_all(a.CHANNEL_NUMBER) == []
    assert message.get(a.CHANNEL_NUMBER) is None
    assert not message.has(a.CHANNEL_NUMBER)


def test_a_malformed_value_shows_when_it_is_asked_for() -> None:
    message = decode_untrusted(message_of(tlv(0x000D, b"\0\0\1") + tlv(0x000D, b"\0\0\0\1")))
    assert message.has(a.LIFETIME)
    with pytest.raises(DecodeError):
        message.get(a.LIFETIME)
    with pytest.raises(DecodeError):
        message.get_all(a.LIFETIME)


def test_unknown_required_attributes_are_told_once_and_in_order() -> None:
    body = b"".join(tlv(number, b"") for number in (0x7001, 0x8001, 0x0003, 0x7001, 0x001A))
    message = decode_untrusted(message_of(body))
    assert message.unknown_required(frozenset({0x001A})) == (0x7001, 0x0003)
    assert message.unknown_required(frozenset({0x7001, 0x0003, 0x001A})) == ()
    assert message.unknown_required(frozenset({0x7001, 0x8001, 0x0003, 0x001A})) == ()


def test_a_message_tells_what_it_is() -> None:
    message = decode_untrusted(message_of(tlv(0x001A, b""), message_type=0x0003))
    assert repr(message) == "<REQUEST of method 0x003 with 0x001a>"
    assert repr(decode_untrusted(message_of(b""))) == "<REQUEST of method 0x001 with none>"


def test_an_error_response() -> None:
    data = encode_message(
        Method.ALLOCATE,
        MessageClass.ERROR,
        TRANSACTION_ID,
        [(a.ERROR_CODE, ErrorCode.UNAUTHENTICATED), (a.REALM, "example.org")],
    )
    expected = tlv(0x0009, b"\0\0\4\1Unauthenticated") + tlv(0x0014, b"example.org")
    assert data == message_of(expected, message_type=0x0113)


def test_the_length_of_each_seal_covers_it_and_no_more() -> None:
    data = encode_message(
        Method.BINDING,
        MessageClass.REQUEST,
        TRANSACTION_ID,
        [(a.SOFTWARE, "soft")],
        integrity=Integrity(KEY, SHA256),
        fingerprint=True,
    )
    assert data == message_of(fingerprinted(sealed(tlv(0x8022, b"soft"), SHA256)))


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_transaction_id_has_12_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="transaction id"):
        encode_message(Method.BINDING, MessageClass.REQUEST, bytes(size), [])


@pytest.mark.parametrize(
    ("attributes", "integrity", "fingerprint"),
    [
        ([(a.DATA, bytes(65536))], None, False),
        ([(a.UNKNOWN_ATTRIBUTES, (1,) * 32768)], None, False),
        ([(a.DATA, bytes(65535))], None, False),
        ([(a.DATA, bytes(65508))], Integrity(KEY, SHA1), False),
        ([(a.DATA, bytes(65524))], None, True),
        ([(a.LIFETIME, -1)], None, False),
        ([(a.SOFTWARE, "\ud800")], None, False),
    ],
)
def test_what_does_not_fit_is_not_encoded(
    attributes: list[tuple[a.Attribute[Any], Any]], integrity: Integrity | None, fingerprint: bool
) -> None:
    with pytest.raises(ValueError, match=r"bytes|fit|surrogates"):
        encode_message(
            Method.SEND,
            MessageClass.INDICATION,
            TRANSACTION_ID,
            attributes,
            integrity=integrity,
            fingerprint=fingerprint,
        )


def test_the_largest_message_round_trips() -> None:
    data = encode_message(
        Method.SEND,
        MessageClass.INDICATION,
        TRANSACTION_ID,
        [(a.DATA, bytes(65496))],
        integrity=Integrity(KEY, SHA1),
        fingerprint=True,
    )
    message = decode_untrusted(data)
    assert message.size == 20 + 65532 == 20 + 4 + 65496 + 24 + 8
    assert message.verify_integrity(KEY, SHA1)


def test_a_message_of_rfc_3489_has_a_transaction_id_where_the_cookie_is() -> None:
    classic = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(range(16)), ())
    assert classic == bytes.fromhex("00010000") + bytes(range(16))
    message = decode_untrusted(classic, classic=True)
    assert message.is_classic
    assert message.transaction_id == bytes(range(16))
    with pytest.raises(DecodeError):
        decode_untrusted(classic)
    modern = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), ())
    assert not decode_untrusted(modern, classic=True).is_classic
