"""What DTLS records tell without being opened, and datagrams that hold them. Pure."""

from __future__ import annotations

import struct

MTU = 1200
"""Bytes of a handshake's datagram: less than an IPv6 path takes at least (1,280), headers off."""

LARGEST_HELLO = 4096
"""Bytes of the longest message of a client's handshake, and of its datagrams."""

FIRST_BYTES = range(20, 64)
"""Of a DTLS record, where others share the port (RFC 7983 section 7)."""

APPLICATION_DATA = 23
"""The first byte of a record with messages (RFC 6347 section 4.1)."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER = struct.Struct("!B2xHHLH")  # type, version, epoch, sequence number, length
_MESSAGE_HEADER = 12
_FRAGMENT_OFFSET = slice(19, 22)
_RANDOM = slice(27, 59)
"""Of a ClientHello, behind the headers of record and message and the version."""


def hello_random(datagram_untrusted: bytes) -> bytes | None:
    """What tells one client's hello from another's; None for what is no hello.

    A hello that is sent again, with a cookie or not, has the same. What is told is told by its
    first fragment; the others are for whoever has begun with it.
    """
    if (
        len(datagram_untrusted) < _RANDOM.stop
        or datagram_untrusted[0] != _HANDSHAKE
        or datagram_untrusted[3:5] != b"\0\0"  # the epoch
        or datagram_untrusted[13] != _CLIENT_HELLO
        or datagram_untrusted[_FRAGMENT_OFFSET] != b"\0\0\0"
    ):
        return None
    return datagram_untrusted[_RANDOM]


def announces_too_much(datagram_untrusted: bytes) -> bool:
    """Whether it has a part of a handshake message that is longer than any of a client's.

    A few bytes of it would have OpenSSL make room for all: for 100 KB, and for ten such messages.
    """
    at = 0
    while len(datagram_untrusted) - at > _RECORD_HEADER.size:
        kind, epoch, _, _, length = _RECORD_HEADER.unpack_from(datagram_untrusted, at)
        body = at + _RECORD_HEADER.size
        at = body + length
        if kind == _HANDSHAKE and not epoch and _is_too_long(datagram_untrusted[body:at]):
            return True
    return False


def _is_too_long(fragments_untrusted: bytes) -> bool:
    at = 0
    while len(fragments_untrusted) - at >= _MESSAGE_HEADER:
        header = fragments_untrusted[at : at + _MESSAGE_HEADER]
        if int.from_bytes(header[1:4], "big") > LARGEST_HELLO:
            return True
        at += _MESSAGE_HEADER + int.from_bytes(header[9:], "big")
    return False


def is_message(datagram_untrusted: bytes) -> bool:
    """Whether it is one record with a message, and nothing else."""
    return (
        len(datagram_untrusted) > _RECORD_HEADER.size
        and datagram_untrusted[0] == APPLICATION_DATA
        and len(datagram_untrusted) - _RECORD_HEADER.size
        == datagram_untrusted[11] << 8 | datagram_untrusted[12]
    )


def cut_at_records(records: bytes, mtu: int = MTU) -> list[bytes]:
    """Records of ours in as few datagrams as hold them, each at most `mtu` bytes long."""
    datagrams: list[bytes] = []
    begin = at = 0
    while at < len(records):
        *_, length = _RECORD_HEADER.unpack_from(records, at)
        end = at + _RECORD_HEADER.size + length
        if end - begin > mtu and at > begin:
            datagrams.append(records[begin:at])
            begin = at
        at = end
    return [*datagrams, records[begin:]] if records else []
