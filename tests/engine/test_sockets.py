from __future__ import annotations

import errno
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import LIMIT
from turnd.engine import sockets
from turnd.engine.ancillary import ANCILLARY_SPACE, ask_for_fields, told_by
from turnd.engine.base import ListenerSettings, RelayError
from turnd.engine.fields import Fields
from turnd.stun.addresses import TransportAddress
from turnd.stun.attributes import IcmpValue

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = ListenerSettings(receive_buffer=100_000, send_buffer=50_000)
FRAGMENTATION = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}


@pytest.fixture(params=["127.0.0.1", "::1"])
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with sockets.bind_udp(TransportAddress(request.param, 0), SETTINGS) as bound:
        yield bound


def test_a_socket_is_not_shared_and_never_blocks(sock: socket.socket) -> None:
    assert sock.gettimeout() == 0
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 200_000  # as Linux counts
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000
    with pytest.raises(OSError, match="in use"):
        sockets.bind_udp(sockets.bound_address(sock), SETTINGS)


def test_buffers_are_left_alone_when_not_asked_for() -> None:
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound = sockets.bind_udp(TransportAddress("127.0.0.1", 0), ListenerSettings(0, 0))
    with plain, bound:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            expected = plain.getsockopt(socket.SOL_SOCKET, option)
            assert bound.getsockopt(socket.SOL_SOCKET, option) == expected


def test_ipv6_leaves_ipv4_alone() -> None:
    for _ in range(20):  # somebody else may have a port of IPv4, but not every one
        with sockets.bind_udp(TransportAddress("::", 0), SETTINGS) as six:
            assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            address = TransportAddress("127.0.0.1", six.getsockname()[1])
            try:
                four = sockets.bind_udp(address, SETTINGS)
            except OSError:
                continue
            with four:
                assert sockets.bound_address(four) == address
            return
    pytest.fail("the port is IPv4's as well")


@pytest.mark.parametrize("allowed", [True, False])
def test_fragmentation_is_allowed_or_not(sock: socket.socket, allowed: bool) -> None:
    freely = {socket.AF_INET: 5, socket.AF_INET6: 0}  # IP_PMTUDISC_OMIT, IPV6_PMTUDISC_DONT
    sockets.let_fragment(sock, allowed)
    mode = sock.getsockopt(*FRAGMENTATION[sock.family])
    assert mode == (freely[socket.AddressFamily(sock.family)] if allowed else 3)  # _PROBE


def test_an_inherited_socket_never_blocks() -> None:
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs.bind(("127.0.0.1", 0))
    name = theirs.getsockname()
    with sockets.inherit_udp(theirs.detach(), SETTINGS) as ours:
        assert sockets.bound_address(ours) == name
        assert ours.gettimeout() == 0


@pytest.mark.parametrize(
    ("family", "kind"),
    [(socket.AF_INET, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM)],
)
def test_only_a_udp_socket_is_inherited(family: int, kind: int) -> None:
    descriptor = socket.socket(family, kind).detach()
    with pytest.raises(OSError, match="no UDP socket"):
        sockets.inherit_udp(descriptor, SETTINGS)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EADDRINUSE, RelayError.PORT_TAKEN),
        (errno.EADDRNOTAVAIL, RelayError.NO_SUCH_ADDRESS),
        (errno.EAFNOSUPPORT, RelayError.NO_SUCH_ADDRESS),
        (errno.EMFILE, RelayError.NO_DESCRIPTORS),
        (errno.ENFILE, RelayError.NO_DESCRIPTORS),
        (errno.EACCES, RelayError.OTHER),
        (None, RelayError.OTHER),
    ],
)
def test_why_a_relay_cannot_be_bound(number: int | None, error: RelayError) -> None:
    assert sockets.relay_error(OSError(number, "why")) is error


def test_each_datagram_leaves_with_its_fields(sock: socket.socket) -> None:
    sender = sockets.Sender(sock)
    with sockets.bind_udp(sockets.bound_address(sock)._replace(port=0), SETTINGS) as theirs:
        ask_for_fields(theirs)
        target = theirs.getsockname()
        for hops, traffic_class in ((64, 0), (9, 0xB9), (9, 0xB9), (255, 0), (0, 3), (0, 0)):
            sender.send(b"datagram", target, Fields(hops, traffic_class))
            assert select.select([theirs], [], [], LIMIT)[0]
            told = told_by(*theirs.recvmsg(100, ANCILLARY_SPACE)[1]).onward
            assert told == ((hops or 64) - 1, traffic_class)


def test_what_the_system_refuses_is_tried_again_with_the_next(sock: socket.socket) -> None:
    sender, target = sockets.Sender(sock), sock.getsockname()
    for _ in range(2):
        with pytest.raises(OSError, match="Invalid argument"):
            sender.send(b"datagram", target, Fields(256, 0))
    sender.send(b"datagram", target)
    assert select.select([sock], [], [], LIMIT)[0]


class TestLocalAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "0.0.0.0"])
    def test_what_is_ours(self, host: str) -> None:
        assert sockets.LocalAddresses()(host)

    @pytest.mark.parametrize("host", ["198.51.100.77", "2001:db8::77", "fe80::77"])
    def test_what_is_not(self, host: str) -> None:
        assert not sockets.LocalAddresses()(host)

    def test_it_is_asked_once_until_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        local = sockets.LocalAddresses()
        assert local("127.0.0.1")
        monkeypatch.setattr(sockets, "bind_udp", self._refuse)
        assert local("127.0.0.1")
        local.forget()
        assert not local("127.0.0.1")

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "bind_udp", self._refuse)
        local = sockets.LocalAddresses()
        for number in range(3_000):
            assert not local(f"198.18.{number >> 8}.{number & 255}")
        assert len(local._known) == 1_024

    def test_not_knowing_opens_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "bind_udp", self._exhausted)
        assert sockets.LocalAddresses()("198.51.100.77")

    def _refuse(self, *_: object) -> socket.socket:
        raise OSError(errno.EADDRNOTAVAIL, "not ours")

    def _exhausted(self, *_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "no descriptors")


def test_buffers_that_the_system_does_not_grant_are_told() -> None:
    modest = ListenerSettings(receive_buffer=4_096, send_buffer=0)
    immodest = ListenerSettings(receive_buffer=1 << 30, send_buffer=1 << 30)
    with sockets.bind_udp(TransportAddress("127.0.0.1", 0), modest) as sock:
        assert sockets.missing_buffers(sock, modest) == []
    with sockets.bind_udp(TransportAddress("127.0.0.1", 0), immodest) as sock:
        receive, send = sockets.missing_buffers(sock, immodest)
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    assert receive == (
        f"the kernel grants {granted} bytes of sockets.receive_buffer, not 1073741824: raise "
        "net.core.rmem_max"
    )
    assert send.endswith("raise net.core.wmem_max")


class Told:
    """A socket whose error queue says one thing."""

    def __init__(self, level: int, kind: int, told: tuple[int, int, int]) -> None:
        origin, number, code = told
        error = struct.pack("@IBBBxII", errno.EMSGSIZE, origin, number, code, 1280, 0)
        self.recvmsg = lambda *_: (b"", [(level, kind, error + bytes(16))], 0, ("192.0.2.1", 9))


IP, IPV6 = (socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)
"""IP_RECVERR, IPV6_RECVERR."""
OUR_SIDE, ICMP, ICMP6 = 1, 2, 3


@pytest.mark.parametrize(
    ("option", "origin", "number", "code", "mtu"),
    [
        (IP, ICMP, 3, 3, 0),
        (IP, ICMP, 3, 4, 1280),
        (IP, ICMP, 11, 0, 0),
        (IP, ICMP, 12, 0, None),
        (IP, ICMP6, 3, 3, None),
        (IP, OUR_SIDE, 3, 4, None),
        (IPV6, ICMP6, 1, 4, 0),
        (IPV6, ICMP6, 2, 0, 1280),
        (IPV6, ICMP6, 2, 1, 1280),
        (IPV6, ICMP6, 3, 0, 0),
        (IPV6, ICMP6, 4, 0, None),
        (IPV6, ICMP, 3, 3, None),
        ((socket.SOL_SOCKET, 37), ICMP, 3, 3, None),
    ],
)
def test_only_what_the_rfc_names_is_relayed_and_only_two_errors_have_an_mtu(
    option: tuple[int, int], origin: int, number: int, code: int, mtu: int | None
) -> None:
    told: Any = Told(*option, (origin, number, code))
    expected = None if mtu is None else (("192.0.2.1", 9), IcmpValue(number, code, mtu))
    assert sockets.read_icmp(told) == expected
