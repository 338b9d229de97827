"""UDP sockets as the portable engine needs them: bound, non-blocking, with the right IP options.

Fragmentation (RFC 8656 sections 13 to 15)
    The Don't Fragment bit is 0 unless a Send indication has DONT-FRAGMENT: the RFC's alternate
    behaviour, since a socket does not tell the bit of what it received.
    On IPv4 what an ICMP error says of a path's MTU is not believed (`OMIT`, and `PROBE` with the
    bit): who forges one could make all our packets to a host small, and a packet with the bit shall
    meet the narrow place each time, so that its client is told each time. The other mode that sends
    without the bit (`DONT`) would keep such errors from the error queue.
    On IPv6 no router fragments, so that the error has to be believed: what is longer leaves in
    fragments from then on.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Any

from turnd.engine.base import ListenerSettings, RelayError
from turnd.engine.fields import SYSTEM
from turnd.engine.sockaddr import SockAddr, raw_address, shown_address
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.attributes import IcmpValue

if TYPE_CHECKING:
    from turnd.engine.fields import Fields

LARGEST_DATAGRAM = 65_536

# From <linux/in.h> and <linux/in6.h>; Python 3.11 does not name them.
_IP_MTU_DISCOVER = 10
_IP_RECVERR = 11
_IPV6_MTU_DISCOVER = 23
_IPV6_RECVERR = 25
_FRAGMENT_FREELY_IPV4 = 5  # IP_PMTUDISC_OMIT
_FRAGMENT_FREELY_IPV6 = 0  # IPV6_PMTUDISC_DONT
_NEVER_FRAGMENT = 3  # IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE

_MARKS_IPV4 = (socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS)
_MARKS_IPV6 = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS)

_ERROR_SPACE = 192
_EXTENDED_ERROR = struct.Struct("@IBBBxII")  # sock_extended_err in <linux/errqueue.h>
_FRAGMENTATION_NEEDED = (3, 4)
_PACKET_TOO_BIG = 2
"""With any code: who receives it ignores the code (RFC 4443 section 3.2)."""

_OPEN_ERRORS = {
    errno.EADDRINUSE: RelayError.PORT_TAKEN,
    errno.EADDRNOTAVAIL: RelayError.NO_SUCH_ADDRESS,
    errno.EAFNOSUPPORT: RelayError.NO_SUCH_ADDRESS,
    errno.EMFILE: RelayError.NO_DESCRIPTORS,
    errno.ENFILE: RelayError.NO_DESCRIPTORS,
}

_RELAYED_ICMP = {4: {(2, 3), (2, 11)}, 6: {(3, 1), (3, 2), (3, 3)}}
"""By IP version: who tells it (SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6) and the ICMP type."""


def bind_udp(endpoint: TransportAddress, settings: ListenerSettings) -> socket.socket:
    """A non-blocking UDP socket at an endpoint, not shared with anybody.

    Raises:
        OSError: it cannot be bound.
    """
    family = socket.AF_INET6 if endpoint.family is AddressFamily.IPV6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        set_buffers(sock, settings)
        sock.bind(raw_address(endpoint))
    except OSError:
        sock.close()
        raise
    return sock


def inherit_udp(descriptor: int, settings: ListenerSettings) -> socket.socket:
    """A socket that was bound before us, made non-blocking; the descriptor is its own from now on.

    Raises:
        OSError: the descriptor is no UDP socket.
    """
    sock = socket.socket(fileno=descriptor)
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_DGRAM:
        sock.close()
        raise OSError(errno.EPROTOTYPE, "the inherited descriptor is no UDP socket")
    sock.setblocking(False)
    set_buffers(sock, settings)
    return sock


def set_buffers(sock: socket.socket, settings: ListenerSettings) -> None:
    """SO_RCVBUF and SO_SNDBUF, as far as the system's limits let us."""
    if settings.receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer)
    if settings.send_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer)


def missing_buffers(sock: socket.socket, settings: ListenerSettings) -> list[str]:
    """What the system's limits did not grant of the buffers, in words."""
    wanted = (
        ("receive_buffer", settings.receive_buffer, socket.SO_RCVBUF, "rmem_max"),
        ("send_buffer", settings.send_buffer, socket.SO_SNDBUF, "wmem_max"),
    )
    notes = []
    for name, asked, option, limit in wanted:
        # The kernel doubles what it grants, for its own bookkeeping, and tells the double.
        granted = sock.getsockopt(socket.SOL_SOCKET, option) // 2
        if granted < asked:
            notes.append(
                f"the kernel grants {granted} bytes of sockets.{name}, not {asked}: raise "
                f"net.core.{limit}"
            )
    return notes


def let_fragment(sock: socket.socket, allowed: bool) -> None:
    """Whether what the socket sends may be fragmented; else too big for our link is EMSGSIZE."""
    if sock.family == socket.AF_INET6:
        mode = _FRAGMENT_FREELY_IPV6 if allowed else _NEVER_FRAGMENT
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, mode)
    else:
        mode = _FRAGMENT_FREELY_IPV4 if allowed else _NEVER_FRAGMENT
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, mode)


class Sender:
    """Sends by a UDP socket, each datagram with IP header fields of its own.

    The socket keeps those of the last one: to set options at a change costs less than control
    messages with each.
    """

    __slots__ = ("_fields", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fields = SYSTEM

    def send(self, data: bytes, target: SockAddr, fields: Fields = SYSTEM) -> None:
        """Send to a raw address; raises OSError when it cannot."""
        if fields is not self._fields:
            self._mark(fields)
        self._sock.sendto(data, target)

    def send_from(self, data: bytes, route: tuple[SockAddr, Any], fields: Fields = SYSTEM) -> None:
        """The same with what `source_option` makes of a host of ours."""
        if fields is not self._fields:
            self._mark(fields)
        self._sock.sendmsg((data,), route[1], 0, route[0])

    def _mark(self, fields: Fields) -> None:
        if self._sock.family == socket.AF_INET6:
            level, hops, traffic_class = _MARKS_IPV6
        else:
            level, hops, traffic_class = _MARKS_IPV4
        if fields.hops != self._fields.hops:
            self._sock.setsockopt(level, hops, fields.hops or -1)
        if fields.traffic_class != self._fields.traffic_class:
            self._sock.setsockopt(level, traffic_class, fields.traffic_class)
        self._fields = fields


def ask_for_icmp(sock: socket.socket) -> None:
    """Keep the ICMP errors that packets of this socket met with, for `read_icmp`.

    The next send or read then fails once with the error, and is to be done again.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def read_icmp(sock: socket.socket) -> tuple[SockAddr, IcmpValue] | None:
    """Where the packet went that an error came back for, and the error.

    None for what is no ICMP error that is relayed (RFC 8656 section 11.5).

    Raises:
        BlockingIOError: there is none.
    """
    _, ancillary, _, target = sock.recvmsg(0, _ERROR_SPACE, socket.MSG_ERRQUEUE)
    for level, kind, value in ancillary:
        version = {
            (socket.IPPROTO_IP, _IP_RECVERR): 4, (socket.IPPROTO_IPV6, _IPV6_RECVERR): 6
        }.get((level, kind))  # fmt: skip
        if version is None:
            continue
        _, origin, number, code, info, _ = _EXTENDED_ERROR.unpack(value[: _EXTENDED_ERROR.size])
        if (origin, number) in _RELAYED_ICMP[version]:
            is_ipv4 = version == 4
            has_mtu = (
                (number, code) == _FRAGMENTATION_NEEDED if is_ipv4 else number == _PACKET_TOO_BIG
            )
            return target, IcmpValue(number, code, info if has_mtu else 0)
    return None


def bound_address(sock: socket.socket) -> TransportAddress:
    """Where a socket is bound."""
    raw: SockAddr = sock.getsockname()
    return shown_address(raw)


def relay_error(error: OSError) -> RelayError:
    """Why a relayed transport address could not be bound."""
    return _OPEN_ERRORS.get(error.errno or 0, RelayError.OTHER)


class LocalAddresses:
    """Which hosts are addresses of this machine, by trying to bind them; remembered briefly."""

    _BOUND = 1_024

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def __call__(self, host: str) -> bool:
        """Whether a host in canonical text is an address of this machine."""
        known = self._known.get(host)
        if known is None:
            known = _can_bind(host)
            if len(self._known) < self._BOUND:
                self._known[host] = known
        return known

    def forget(self) -> None:
        """Addresses come and go: ask the system again."""
        self._known.clear()


def _can_bind(host: str) -> bool:
    try:
        bind_udp(TransportAddress(host, 0), ListenerSettings(0, 0)).close()
    except OSError as error:
        # Not knowing (out of descriptors, say) must not open what is protected.
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
