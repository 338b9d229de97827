"""Attribute values with a structure (RFC 8489 14, RFC 8656 18.12 and 18.13, RFC 5780 7.2)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, iter_unpack
from typing import NamedTuple

from turnd.stun.addresses import AddressFamily, TransportAddress, pack_host, unpack_host
from turnd.stun.codec import Codec, decode_text, text, unsigned
from turnd.stun.errors import DecodeError, ErrorCode

MAGIC_COOKIE = 0x2112A442

_PORT_XOR = MAGIC_COOKIE >> 16
_ADDRESS_HEADER = Struct("!xBH")
_TWO_UINT16 = Struct("!HH")
_IPV4_SIZE = 8
_IPV6_SIZE = 20
_REASON = text()
_UINT16 = unsigned(2)
_UINT32 = unsigned(4)
_UINT64 = unsigned(8)


class ErrorCodeValue(NamedTuple):
    """ERROR-CODE: a code from 300 to 699, registered or not, and a reason phrase or none."""

    code: int
    reason: str


class AddressErrorCodeValue(NamedTuple):
    """ADDRESS-ERROR-CODE: why an address of one family is not to be had."""

    family: AddressFamily
    code: int
    reason: str


class PasswordAlgorithmEntry(NamedTuple):
    """One algorithm of PASSWORD-ALGORITHMS, or the one of PASSWORD-ALGORITHM."""

    algorithm: int
    parameters: bytes = b""


class IcmpValue(NamedTuple):
    """ICMP: what a packet to a peer met with; `data` is the next hop's MTU, or 0."""

    type: int
    code: int
    data: int = 0


class ChangeRequest(NamedTuple):
    """CHANGE-REQUEST: from where the answer is to come (RFC 5780 7.2)."""

    change_ip: bool
    change_port: bool


class TransmitCounter(NamedTuple):
    """TRANSACTION_TRANSMIT_COUNTER: how often request and response were sent (RFC 7982 3.1)."""

    requests: int
    responses: int


def _split_address(value: bytes) -> tuple[int, bytes]:
    """Port and packed host, still XORed where they are."""
    if len(value) not in (_IPV4_SIZE, _IPV6_SIZE):
        raise DecodeError(f"{len(value)} bytes are no transport address")
    family, port = _ADDRESS_HEADER.unpack_from(value)
    if family != (AddressFamily.IPV4 if len(value) == _IPV4_SIZE else AddressFamily.IPV6):
        raise DecodeError(f"address family {family} with {len(value) - 4} bytes of address")
    return port, value[4:]


def _join_address(port: int, packed: bytes) -> bytes:
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{port} is no port")
    return _ADDRESS_HEADER.pack(1 if len(packed) == 4 else 2, port) + packed


def _decode_address(value: bytes, _transaction_id: bytes) -> TransportAddress:
    port, packed = _split_address(value)
    return TransportAddress(unpack_host(packed), port)


def _encode_address(address: TransportAddress, _transaction_id: bytes) -> bytes:
    return _join_address(address.port, pack_host(address.host))


def _xor_host(packed: bytes, transaction_id: bytes) -> bytes:
    """The host's bytes XORed with magic cookie and transaction id, which undoes itself."""
    if len(packed) == 4:
        return (int.from_bytes(packed, "big") ^ MAGIC_COOKIE).to_bytes(4, "big")
    mask = (MAGIC_COOKIE << 96) | int.from_bytes(transaction_id, "big")
    return (int.from_bytes(packed, "big") ^ mask).to_bytes(16, "big")


def _decode_xor_address(value: bytes, transaction_id: bytes) -> TransportAddress:
    port, packed = _split_address(value)
    return TransportAddress(unpack_host(_xor_host(packed, transaction_id)), port ^ _PORT_XOR)


def _encode_xor_address(address: TransportAddress, transaction_id: bytes) -> bytes:
    packed = _xor_host(pack_host(address.host), transaction_id)
    return _join_address(address.port ^ _PORT_XOR, packed)


def _decode_error_code(value: bytes, _transaction_id: bytes) -> ErrorCodeValue:
    if len(value) < 4:
        raise DecodeError("an error code without its four bytes")
    hundreds, number = value[2] & 7, value[3]
    if not (3 <= hundreds <= 6 and number <= 99):
        raise DecodeError(f"error class {hundreds}, number {number}")
    return ErrorCodeValue(hundreds * 100 + number, decode_text(value[4:]))


def _encode_error_code(error: ErrorCode | tuple[int, str], _transaction_id: bytes) -> bytes:
    """Code and reason, or an `ErrorCode` alone, which brings its reason."""
    code, reason = (error, error.reason) if isinstance(error, ErrorCode) else error
    return _error_code(code, reason)


@lru_cache(maxsize=64)
def _error_code(code: int, reason: str) -> bytes:
    if not 300 <= code <= 699:
        raise ValueError(f"{code} is no error code")
    return bytes((0, 0, code // 100, code % 100)) + _REASON.encode(reason, b"")


def _decode_address_error_code(value: bytes, transaction_id: bytes) -> AddressErrorCodeValue:
    code, reason = _decode_error_code(value, transaction_id)
    if value[0] not in (AddressFamily.IPV4, AddressFamily.IPV6):
        raise DecodeError(f"address family {value[0]}")
    return AddressErrorCodeValue(AddressFamily(value[0]), code, reason)


def _encode_address_error_code(error: AddressErrorCodeValue, transaction_id: bytes) -> bytes:
    family, code, reason = error
    value = _encode_error_code((code, reason), transaction_id)
    return bytes((AddressFamily(family),)) + value[1:]


def _decode_password_algorithms(
    value: bytes, _transaction_id: bytes
) -> tuple[PasswordAlgorithmEntry, ...]:
    entries = []
    offset = 0
    while offset < len(value):
        if offset + 4 > len(value):
            raise DecodeError("a password algorithm without its four bytes")
        algorithm, size = _TWO_UINT16.unpack_from(value, offset)
        parameters = value[offset + 4 : offset + 4 + size]
        if len(parameters) != size:
            raise DecodeError("a password algorithm's parameters shorter than their length")
        entries.append(PasswordAlgorithmEntry(algorithm, parameters))
        offset += 4 + (size + 3 & ~3)
    return tuple(entries)


def _encode_password_algorithms(
    entries: tuple[PasswordAlgorithmEntry, ...], _transaction_id: bytes
) -> bytes:
    return _password_algorithms(entries)


@lru_cache(maxsize=16)
def _password_algorithms(entries: tuple[PasswordAlgorithmEntry, ...]) -> bytes:
    parts = []
    for algorithm, parameters in entries:
        size = len(parameters)
        if not 0 <= algorithm <= 0xFFFF or size > 0xFFFF:
            raise ValueError(f"no password algorithm: {algorithm} with {size} bytes")
        parts.append(_TWO_UINT16.pack(algorithm, size) + parameters + bytes(-size & 3))
    return b"".join(parts)


def _decode_password_algorithm(value: bytes, transaction_id: bytes) -> PasswordAlgorithmEntry:
    entries = _decode_password_algorithms(value, transaction_id)
    if len(entries) != 1:
        raise DecodeError(f"{len(entries)} password algorithms where one is chosen")
    return entries[0]


def _decode_numbers(value: bytes, _transaction_id: bytes) -> tuple[int, ...]:
    if len(value) % 2:
        raise DecodeError("half an attribute type")
    return tuple(number for (number,) in iter_unpack("!H", value))


def _encode_numbers(numbers: tuple[int, ...], _transaction_id: bytes) -> bytes:
    return b"".join(_UINT16.encode(number, b"") for number in numbers)


def _decode_icmp(value: bytes, transaction_id: bytes) -> IcmpValue:
    number = _UINT64.decode(value, transaction_id)
    # 16 bits reserved, 7 of type, 9 of code, 32 of data (RFC 8656 figure 11).
    return IcmpValue(number >> 41 & 0x7F, number >> 32 & 0x1FF, number & 0xFFFFFFFF)


def _encode_icmp(icmp: IcmpValue, transaction_id: bytes) -> bytes:
    if not (0 <= icmp.type <= 0x7F and 0 <= icmp.code <= 0x1FF and 0 <= icmp.data <= 0xFFFFFFFF):
        raise ValueError(f"{icmp} does not fit")
    return _UINT64.encode(icmp.type << 41 | icmp.code << 32 | icmp.data, transaction_id)


def _decode_change_request(value: bytes, transaction_id: bytes) -> ChangeRequest:
    flags = _UINT32.decode(value, transaction_id)
    return ChangeRequest(bool(flags & 4), bool(flags & 2))


def _encode_change_request(change: ChangeRequest, transaction_id: bytes) -> bytes:
    return _UINT32.encode(change.change_ip << 2 | change.change_port << 1, transaction_id)


def _decode_transmit_counter(value: bytes, transaction_id: bytes) -> TransmitCounter:
    number = _UINT32.decode(value, transaction_id)
    return TransmitCounter(number >> 8 & 0xFF, number & 0xFF)


def _encode_transmit_counter(counter: TransmitCounter, _transaction_id: bytes) -> bytes:
    return bytes((0, 0, *counter))


ADDRESS = Codec(_decode_address, _encode_address)
XOR_ADDRESS = Codec(_decode_xor_address, _encode_xor_address)
ERROR = Codec(_decode_error_code, _encode_error_code)
ADDRESS_ERROR = Codec(_decode_address_error_code, _encode_address_error_code)
ALGORITHMS = Codec(_decode_password_algorithms, _encode_password_algorithms)
ALGORITHM = Codec(
    _decode_password_algorithm,
    lambda entry, transaction_id: _encode_password_algorithms((entry,), transaction_id),
)
ATTRIBUTE_TYPES = Codec(_decode_numbers, _encode_numbers)
ICMP_ERROR = Codec(_decode_icmp, _encode_icmp)
CHANGES = Codec(_decode_change_request, _encode_change_request)
TRANSMISSIONS = Codec(_decode_transmit_counter, _encode_transmit_counter)
