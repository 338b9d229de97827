"""What DTLS records tell without being opened, and datagrams that hold them. Pure."""

from __future__ import annotations

import struct

MTU = 1200
"""Bytes of a handshake's datagram: less than an IPv6 path takes at least (1,280), headers off."""

LARGEST_HELLO = 4096

FIRST_BYTES = range(20, 64)
"""Of a DTLS record, where others share the port (RFC 7983 section 7)."""

APPLICATION_DATA = 23
"""The first byte of a record with messages (RFC 6347 section 4.1)."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER = struct.Struct("!B2xHHLH")  # type, version, epoch, sequence number, length
_RANDOM = slice(27, 59)
"""Of a ClientHello, behind the headers of record and message and the version."""


def hello_random(datagram_untrusted: bytes) -> bytes | None:
    """What tells one client's hello from another's; None for what is no hello.

    A hello that is sent again, with a cookie or not, has the same.
    """
    if (
        len(datagram_untrusted) < _RANDOM.stop
        or datagram_untrusted[0] != _HANDSHAKE
        or datagram_untrusted[3:5] != b"\0\0"  # the epoch
        or datagram_untrusted[13] != _CLIENT_HELLO
    ):
        return None
    return datagram_untrusted[_RANDOM]


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
    datagrams.append(records[begin:])
    return datagrams
