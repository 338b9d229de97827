"""The binary PROXY header (version 2): whom a proxy's connection or datagram is really from.

https://github.com/haproxy/haproxy/blob/master/doc/proxy-protocol.txt section 2.2

Rules of the house
    1.  Whether there is a header is not guessed: whoever calls knows that there has to be one, and
        what is none is a `DecodeError`.
    2.  LOCAL, and what the specification leaves to the receiver (UNIX sockets, another protocol
        than the one at hand) stand for the proxy itself: there are no addresses.
    3.  TLVs are skipped, but for the checksum: where there is one it has to be right.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from turnd.stun.addresses import AddressFamily, TransportAddress, pack_host
from turnd.stun.errors import DecodeError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FIXED_PART = 16
"""Bytes that every header has."""
LONGEST = 4096
"""Bytes of a header with all TLVs that we take; by the specification it might have 64 KiB."""

_VERSION = 0x20
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _INET, _INET6, _UNIX = range(4)
_ADDRESSES = {_UNSPECIFIED: 0, _INET: 12, _INET6: 36, _UNIX: 216}
"""Bytes of the addresses of a family."""
_MAPPED = bytes(10) + b"\xff\xff"
"""Makes an IPv6 address of an IPv4 one (RFC 4291 section 2.5.5.2)."""
_CRC32C, _CRC32C_LENGTH = 3, 4


class Protocol(IntEnum):
    """The low four bits of the 14th byte."""

    STREAM = 1
    DATAGRAM = 2


class ProxiedAddresses(NamedTuple):
    """Both ends of what a client sent to the proxy."""

    client: TransportAddress
    local: TransportAddress
    """What the client came to."""


def header_length(begin_untrusted: bytes) -> int:
    """How long the header is that begins with these bytes, of which `FIXED_PART` are needed.

    Raises:
        DecodeError: no header begins so.
    """
    if len(begin_untrusted) < FIXED_PART or not begin_untrusted.startswith(SIGNATURE):
        raise DecodeError("no PROXY header")
    if begin_untrusted[12] not in (_VERSION | _LOCAL, _VERSION | _PROXY):
        raise DecodeError("a PROXY header of another version or command")
    length = FIXED_PART + int.from_bytes(begin_untrusted[14:FIXED_PART], "big")
    if length > LONGEST:
        raise DecodeError("a PROXY header that is too long")
    return length


def read_header(header_untrusted: bytes, wanted: Protocol) -> ProxiedAddresses | None:
    """Read a header as long as it says; None: the proxy speaks for itself, as to see us alive.

    Raises:
        DecodeError: it contradicts itself, or is cut off.
    """
    if len(header_untrusted) < header_length(header_untrusted):
        raise DecodeError("a PROXY header that is cut off")
    if header_untrusted[12] == _VERSION | _LOCAL:
        return None  # with whatever stands behind
    family, protocol = header_untrusted[13] >> 4, header_untrusted[13] & 0x0F
    if family not in _ADDRESSES or protocol > Protocol.DATAGRAM:
        raise DecodeError("a PROXY header of no known family or protocol")
    tlvs = FIXED_PART + _ADDRESSES[family]
    if len(header_untrusted) < tlvs:
        raise DecodeError("a PROXY header without its addresses")
    _check_tlvs(header_untrusted, tlvs)
    if protocol != wanted or family not in (_INET, _INET6):
        return None
    return _addresses(header_untrusted[FIXED_PART:tlvs])


def write_header(
    client: TransportAddress, local: TransportAddress, protocol: Protocol = Protocol.STREAM
) -> bytes:
    """A header for a connection that a client made, or for its datagram."""
    hosts = [pack_host(client.host), pack_host(local.host)]
    family = _INET
    if AddressFamily.IPV6 in (client.family, local.family):
        family, hosts = _INET6, [(_MAPPED + host)[-16:] for host in hosts]
    addresses = b"".join(hosts) + struct.pack("!HH", client.port, local.port)
    kind = family << 4 | protocol
    return SIGNATURE + struct.pack("!BBH", _VERSION | _PROXY, kind, len(addresses)) + addresses


def canonical_host(address: IPv4Address | IPv6Address) -> str:
    """A proxy with one socket for both families shows IPv4 as mapped: it is IPv4 all the same."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _addresses(block: bytes) -> ProxiedAddresses:
    size = (len(block) - 4) // 2
    client, local = ip_address(block[:size]), ip_address(block[size : 2 * size])
    client_port, local_port = struct.unpack("!HH", block[2 * size :])
    return ProxiedAddresses(
        TransportAddress(canonical_host(client), client_port),
        TransportAddress(canonical_host(local), local_port),
    )


def _check_tlvs(header: bytes, at: int) -> None:
    while at < len(header):
        value = at + 3
        end = value + int.from_bytes(header[at + 1 : value], "big")
        if value > len(header) or end > len(header):
            raise DecodeError("a TLV is longer than its PROXY header")
        if header[at] == _CRC32C:
            if end - value != _CRC32C_LENGTH:
                raise DecodeError("a checksum of another length")
            zeroed = header[:value] + bytes(_CRC32C_LENGTH) + header[end:]
            if crc32c(zeroed) != int.from_bytes(header[value:end], "big"):
                raise DecodeError("a PROXY header with a wrong checksum")
        at = end


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260 appendix A, once RFC 4960 appendix B: Castagnoli's polynomial."""
    register = 0xFFFF_FFFF
    for byte in data:
        register = register >> 8 ^ _CRC_TABLE[(register ^ byte) & 0xFF]
    return register ^ 0xFFFF_FFFF


def _crc_of_byte(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (0x82F6_3B78 if register & 1 else 0)
    return register


_CRC_TABLE = tuple(map(_crc_of_byte, range(256)))
