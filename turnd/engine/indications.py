"""Send and Data indications (RFC 8656 section 11) as far as the engine needs them."""

from __future__ import annotations

import struct
from functools import lru_cache
from os import urandom
from typing import TYPE_CHECKING, NamedTuple

from turnd.stun import attributes
from turnd.stun.addresses import PeerAddress, TransportAddress, pack_host, unpack_host
from turnd.stun.attribute_values import MAGIC_COOKIE
from turnd.stun.errors import DecodeError
from turnd.stun.integrity import FINGERPRINT_SIZE, HEADER_SIZE, message_fingerprint
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEND = b"\x00\x16"
"""The first two bytes of a Send indication."""

UNDERSTOOD = frozenset(
    attribute.number
    for attribute in (
        attributes.XOR_PEER_ADDRESS,
        attributes.DATA,
        attributes.DONT_FRAGMENT,
        # Every agent understands those of RFC 8489; in an indication they mean nothing.
        attributes.MAPPED_ADDRESS,
        attributes.USERNAME,
        attributes.MESSAGE_INTEGRITY,
        attributes.ERROR_CODE,
        attributes.UNKNOWN_ATTRIBUTES,
        attributes.REALM,
        attributes.NONCE,
        attributes.MESSAGE_INTEGRITY_SHA256,
        attributes.PASSWORD_ALGORITHM,
        attributes.USERHASH,
        attributes.XOR_MAPPED_ADDRESS,
    )
)

_PORT_XOR = MAGIC_COOKIE >> 16
_XOR_PEER_IPV4 = struct.Struct("!HHxBHI")
_DATA_NUMBER = b"\0\x13"
_PLAIN_MARKS = (0x0016, MAGIC_COOKIE, 0x0013, 0x0012, 8, 1)
"""Of a Send indication: type, cookie, number of the data; number, size and family of the peer."""
_FINGERPRINT_HEADER = b"\x80\x28\0\4"
_TRANSACTION_ID = struct.Struct("12s")
_PAGE = 256 * _TRANSACTION_ID.size
_HEADER = struct.Struct("!HHI")
_PEER_IPV4 = struct.Struct("!HHBBHI")
_PEER_IPV6 = struct.Struct("!HHBBH")
_DATA = struct.Struct("!HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class SendIndication(NamedTuple):
    """What a client asks to send."""

    peer: PeerAddress
    data: bytes
    dont_fragment: bool


def decode_send_untrusted(data_untrusted: bytes) -> SendIndication:
    """Decode a Send indication (section 11.2).

    Raises:
        DecodeError: it is malformed, lacks the peer or the data, or has attributes that must be
            understood and are not.
    """
    plain = _decode_plain_send(data_untrusted)
    return _decode_any_send(data_untrusted) if plain is None else plain


def _decode_plain_send(data_untrusted: bytes) -> SendIndication | None:
    """Data and an IPv4 peer, in any order, at most FINGERPRINT: as clients send it; else None."""
    whole = len(data_untrusted)
    if whole < HEADER_SIZE + _XOR_PEER_IPV4.size + _DATA.size:
        return None
    kind, length, cookie = _HEADER.unpack_from(data_untrusted)
    data_first = data_untrusted[HEADER_SIZE : HEADER_SIZE + 2] == _DATA_NUMBER
    data_at = HEADER_SIZE if data_first else HEADER_SIZE + _XOR_PEER_IPV4.size
    data, size = _DATA.unpack_from(data_untrusted, data_at)
    begin = data_at + _DATA.size
    end = begin + size
    rest_at = end + (-size & 3)
    peer_at = HEADER_SIZE
    if data_first:
        peer_at, rest_at = rest_at, rest_at + _XOR_PEER_IPV4.size
    if rest_at > whole:
        return None
    peer, peer_size, family, port, host = _XOR_PEER_IPV4.unpack_from(data_untrusted, peer_at)
    if (
        (kind, cookie, data, peer, peer_size, family) != _PLAIN_MARKS
        or HEADER_SIZE + length != whole
        or not _ends_at(data_untrusted, rest_at)
    ):
        return None
    return SendIndication(_peer_ipv4(port, host), data_untrusted[begin:end], False)


def _ends_at(data_untrusted: bytes, offset: int) -> bool:
    """Whether nothing begins there but a FINGERPRINT that is right."""
    if offset == len(data_untrusted):
        return True
    crc = message_fingerprint(data_untrusted[:offset])
    return data_untrusted[offset:] == _FINGERPRINT_HEADER + crc.to_bytes(FINGERPRINT_SIZE, "big")


@lru_cache(maxsize=4096)
def _peer_ipv4(xored_port: int, xored_host: int) -> PeerAddress:
    host = unpack_host((xored_host ^ MAGIC_COOKIE).to_bytes(4, "big"))
    return PeerAddress(TransportAddress(host, xored_port ^ _PORT_XOR))


def _decode_any_send(data_untrusted: bytes) -> SendIndication:
    message = decode_untrusted(data_untrusted)
    if message.unknown_required(UNDERSTOOD):
        raise DecodeError("an attribute that must be understood is not")
    peer = message.get(attributes.XOR_PEER_ADDRESS)
    data = message.get(attributes.DATA)
    if peer is None or data is None:
        raise DecodeError("a Send indication without peer or data")
    return SendIndication(PeerAddress(peer), data, message.has(attributes.DONT_FRAGMENT))


def transaction_ids(random_bytes: Callable[[int], bytes] = urandom) -> Iterator[bytes]:
    """Unpredictable ones without end; the system is asked for many at a time."""
    while True:
        for (each,) in _TRANSACTION_ID.iter_unpack(random_bytes(_PAGE)):
            yield each


def encode_data(peer: PeerAddress, data: bytes, transaction_id: bytes) -> bytes:
    """Encode a Data indication (section 11.3).

    Raises:
        ValueError: the data is longer than a message can be.
    """
    packed = pack_host(peer.host)
    port = peer.port ^ 0x2112
    if len(packed) == 4:
        address = int.from_bytes(packed, "big") ^ MAGIC_COOKIE
        xor_peer = _PEER_IPV4.pack(0x0012, 8, 0, 1, port, address)
    else:
        mask = int.from_bytes(MAGIC_COOKIE.to_bytes(4, "big") + transaction_id, "big")
        address = int.from_bytes(packed, "big") ^ mask
        xor_peer = _PEER_IPV6.pack(0x0012, 20, 0, 2, port) + address.to_bytes(16, "big")
    padding = _PADDING[len(data) & 3]
    length = len(xor_peer) + 4 + len(data) + len(padding)
    if length > 0xFFFF:
        raise ValueError(f"{len(data)} bytes do not fit into a Data indication")
    return b"".join(
        (
            _HEADER.pack(0x0017, length, MAGIC_COOKIE),
            transaction_id,
            xor_peer,
            _DATA.pack(0x0013, len(data)),
            data,
            padding,
        )
    )


def encode_icmp(peer: PeerAddress, icmp: attributes.IcmpValue, transaction_id: bytes) -> bytes:
    """Encode a Data indication that tells of an ICMP error (section 11.5)."""
    return encode_message(
        Method.DATA,
        MessageClass.INDICATION,
        transaction_id,
        ((attributes.XOR_PEER_ADDRESS, peer), (attributes.ICMP, icmp)),
    )
