"""What the kernel tells beside a datagram, or is told: control messages of `recvmsg`, `sendmsg`."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from functools import lru_cache
from typing import NamedTuple

from turnd.engine.fields import SYSTEM, Fields, of_stream, sent_on
from turnd.engine.sockaddr import raw_address, shown_address
from turnd.stun.addresses import TransportAddress

ANCILLARY_SPACE = 128

# From <linux/in.h> and <linux/in6.h>; Python 3.11 does not name them.
_IP_PKTINFO = 8
_IP_PKTOPTIONS = 9
_IP_RECVTTL = 12
_IPV6_2292PKTOPTIONS = 6

_PKTINFO_IPV4 = struct.Struct("@I4s4s")
_PKTINFO_IPV6 = struct.Struct("@16sI")
_HEADER = socket.CMSG_LEN(0)
_HOPS = frozenset({(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)})
_TRAFFIC_CLASS = frozenset(
    {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
)

ControlMessage = tuple[int, int, bytes]
"""Level, kind and value, as `recvmsg` gives and `sendmsg` takes it."""


def ask_for_destination(sock: socket.socket) -> None:
    """Make `recvmsg` tell which address of ours a datagram was sent to."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def ask_for_fields(sock: socket.socket) -> None:
    """Make `recvmsg` tell the IP header fields of a datagram that go along when it is relayed.

    A system that does not know these options tells none, and what is sent on has the system's: the
    alternate behaviour of RFC 8656 section 14.
    """
    if sock.family == socket.AF_INET6:
        level, options = socket.IPPROTO_IPV6, (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS)
    else:
        level, options = socket.IPPROTO_IP, (_IP_RECVTTL, socket.IP_RECVTOS)
    for option in options:
        try:
            sock.setsockopt(level, option, 1)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise


class Told(NamedTuple):
    """What `recvmsg` tells of a datagram beside its bytes and its sender."""

    to: str | None
    """The host that it was sent to, where the socket was asked to tell."""
    onward: Fields | None
    """The IP header fields of what is sent on of it; None: it goes no further."""


@lru_cache(maxsize=4096)
def told_by(*ancillary: ControlMessage) -> Told:
    """What the kernel told; the same for most datagrams of a path."""
    to, hops, traffic_class = None, 0, 0
    for level, kind, value in ancillary:
        what = (level, kind)
        if what in _HOPS:
            hops = max(1, int.from_bytes(value, sys.byteorder))
        elif what in _TRAFFIC_CLASS:
            traffic_class = int.from_bytes(value, sys.byteorder)  # a byte on IPv4, else an int
        elif what == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, packed, _ = _PKTINFO_IPV4.unpack(value[: _PKTINFO_IPV4.size])
            to = socket.inet_ntop(socket.AF_INET, packed)
        elif what == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            packed, index = _PKTINFO_IPV6.unpack(value[: _PKTINFO_IPV6.size])
            scope = index if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80 else 0
            to = shown_address((socket.inet_ntop(socket.AF_INET6, packed), 0, 0, scope)).host
    return Told(to, sent_on(Fields(hops, traffic_class)))


@lru_cache(maxsize=1024)
def source_option(host: str) -> tuple[ControlMessage, ...]:
    """What `sendmsg` needs beside a datagram so that it leaves from a host of ours."""
    raw = raw_address(TransportAddress(host, 0))
    if len(raw) == 4:
        packed = socket.inet_pton(socket.AF_INET6, raw[0])
        info = _PKTINFO_IPV6.pack(packed, raw[3])
        return ((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info),)
    info = _PKTINFO_IPV4.pack(0, socket.inet_pton(socket.AF_INET, host), bytes(4))
    return ((socket.IPPROTO_IP, _IP_PKTINFO, info),)


def fields_of_stream(sock: socket.socket) -> Fields:
    """The IP header fields of what comes by a TCP connection: what its first packets had."""
    if sock.family == socket.AF_INET6:
        asking, options = (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS), _IPV6_2292PKTOPTIONS
    elif sock.family == socket.AF_INET:
        asking, options = (socket.IPPROTO_IP, socket.IP_RECVTOS), _IP_PKTOPTIONS
    else:
        return SYSTEM
    sock.setsockopt(*asking, 1)
    told = sock.getsockopt(asking[0], options, ANCILLARY_SPACE)
    # One message, of a header (length, level, kind) and a number.
    return of_stream(told[_HEADER]) if len(told) > _HEADER else SYSTEM
