from __future__ import annotations

import errno
import select
import socket

import pytest

from tests.waiting import LIMIT
from turnd.engine import ancillary, sockets
from turnd.engine.base import ListenerSettings
from turnd.engine.fields import SYSTEM, Fields
from turnd.stun.addresses import TransportAddress

SETTINGS = ListenerSettings(receive_buffer=100_000, send_buffer=50_000)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_the_address_that_was_sent_to_is_told_and_can_be_sent_from(host: str) -> None:
    wildcard = TransportAddress("::" if ":" in host else "0.0.0.0", 0)
    client_host = "::1" if ":" in host else "127.0.0.1"
    with (
        sockets.bind_udp(wildcard, SETTINGS) as ours,
        sockets.bind_udp(TransportAddress(client_host, 0), SETTINGS) as theirs,
    ):
        ancillary.ask_for_destination(ours)
        theirs.sendto(b"question", (host, ours.getsockname()[1]))
        assert select.select([ours], [], [], LIMIT)[0]
        data, told, _, source = ours.recvmsg(100, ancillary.ANCILLARY_SPACE)
        assert data == b"question"
        assert ancillary.told_by(*told).to == host
        ours.sendmsg((b"answer",), ancillary.source_option(host), 0, source)
        assert select.select([theirs], [], [], LIMIT)[0]
        assert theirs.recvfrom(100)[1][0] == host


def test_a_link_local_destination_has_its_zone() -> None:
    info = socket.inet_pton(socket.AF_INET6, "fe80::1") + (3).to_bytes(4, "little")
    told = ((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info),)
    assert ancillary.told_by(*told).to == "fe80::1%3"
    assert ancillary.source_option("fe80::1%3") == told


def test_other_news_tell_nothing() -> None:
    assert ancillary.told_by((socket.SOL_SOCKET, 29, b"")) == (None, SYSTEM)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_header_fields_are_those_of_what_is_sent_on(host: str) -> None:
    address = TransportAddress(host, 0)
    with sockets.bind_udp(address, SETTINGS) as ours, sockets.bind_udp(address, SETTINGS) as theirs:
        ancillary.ask_for_fields(ours)
        level = socket.IPPROTO_IPV6 if ":" in host else socket.IPPROTO_IP
        names = (
            (socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS)
            if ":" in host
            else (socket.IP_TTL, socket.IP_TOS)
        )
        for sent, onward in (((64, 0xB9), (63, 0xB9)), ((2, 0), (1, 0)), ((1, 3), None)):
            for name, value in zip(names, sent, strict=True):
                theirs.setsockopt(level, name, value)
            theirs.sendto(b"datagram", ours.getsockname())
            assert select.select([ours], [], [], LIMIT)[0]
            told = ours.recvmsg(100, ancillary.ANCILLARY_SPACE)[1]
            assert ancillary.told_by(*told) == (None, onward)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_has_the_class_of_its_first_packets(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.socket(family) as theirs,
    ):
        if family == socket.AF_INET6:
            theirs.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xB8)
        else:
            theirs.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
        theirs.connect(server.getsockname())
        ours, _ = server.accept()
        with ours:
            assert ancillary.fields_of_stream(ours) == Fields(0, 0xB8)


def test_what_has_no_ip_header_has_no_fields() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert ancillary.fields_of_stream(one) == SYSTEM


class _Elsewhere:
    """A socket of a system that refuses options."""

    family = socket.AF_INET

    def __init__(self, error: int) -> None:
        self._error = error

    def setsockopt(self, *_: int) -> None:
        raise OSError(self._error, "refused")


def test_a_system_need_not_know_of_header_fields() -> None:
    ancillary.ask_for_fields(_Elsewhere(errno.ENOPROTOOPT))  # type: ignore[arg-type]  # enough of one
    with pytest.raises(OSError, match="refused"):
        ancillary.ask_for_fields(_Elsewhere(errno.EBADF))  # type: ignore[arg-type]  # enough of one
