"""DSCP, ECN, TTL and DF of what is relayed, as tshark sees them at both sides of the server."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.inside import ANSWER_LIMIT, client_by, connected, inside
from tests.e2e.routed import (
    NARROW,
    PEER,
    RELAY,
    SERVER,
    Capture,
    Hosts,
    captured,
    routed_hosts,
    served,
)
from tests.waiting import LIMIT, eventually
from turnd.client.uri import Transport
from turnd.stun.addresses import AddressFamily, TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turnd.client.client import TurnClient

IN_FAMILY = {4: AddressFamily.IPV4, 6: AddressFamily.IPV6}
SYSTEM_TTL = 64
EF, AF41 = 46, 34
NOT_ECT, ECT_0, CE = 0, 2, 3
UP, DOWN = b"from the client", b"from the peer"


@dataclass(frozen=True)
class Header:
    """What is compared of an IP header; `df` is None on IPv6."""

    ttl: int
    dscp: int
    ecn: int
    df: bool | None = None


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with routed_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="module", autouse=True)
def server(hosts: Hosts, folders: Path, engine: str) -> Iterator[None]:
    with served(hosts, folders / f"fields-{engine}", "0.0.0.0"):
        yield


def mark(sock: socket.socket, ttl: int, dscp: int, ecn: int) -> None:
    """What a socket's packets say from now on."""
    if sock.family == socket.AF_INET6:
        level, hops, traffic_class = (
            socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS,
        )  # fmt: skip
    else:
        level, hops, traffic_class = socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS
    sock.setsockopt(level, hops, ttl)
    sock.setsockopt(level, traffic_class, dscp << 2 | ecn)


class Headers:
    """Of what passed an interface."""

    def __init__(self, capture: Capture, version: int) -> None:
        names = (
            ("ip.ttl", "ip.dsfield.dscp", "ip.dsfield.ecn", "ip.flags.df")
            if version == 4
            else ("ipv6.hlim", "ipv6.tclass.dscp", "ipv6.tclass.ecn", "ipv6.flow")
        )
        self._packets = capture.packets("not icmp", "udp.payload", "tcp.payload", *names)
        self._version = version

    def of(self, payload: bytes) -> Header:
        """Of the one packet with a payload."""
        (numbers,) = self._with(payload)
        ttl, dscp, ecn, last = numbers
        return Header(ttl, dscp, ecn, bool(last) if self._version == 4 else None)

    def flow_label(self, payload: bytes) -> int:
        """Of the one packet, on IPv6."""
        ((*_, label),) = self._with(payload)
        return label

    def have(self, payload: bytes) -> bool:
        """Whether there was one."""
        return bool(self._with(payload))

    def _with(self, payload: bytes) -> list[list[int]]:
        return [
            [int(number, 0) for number in numbers]
            for udp, tcp, *numbers in self._packets
            if payload in bytes.fromhex(udp or tcp)
        ]


class Call:
    """A client, its relay, and a peer that it may send to."""

    def __init__(self, client: TurnClient, relayed: TransportAddress, peer: socket.socket) -> None:
        self.client = client
        self.relayed = relayed
        self.peer = peer
        self.peer_address = TransportAddress(*peer.getsockname()[:2])

    async def up(self, data: bytes, *, dont_fragment: bool = False) -> None:
        """From the client to the peer."""
        await self.client.send(self.peer_address, data, dont_fragment=dont_fragment)
        assert await eventually(self._received, LIMIT) == data

    def _received(self) -> bytes | None:
        try:
            return self.peer.recv(65_536)
        except BlockingIOError:
            return None

    async def down(self, data: bytes) -> None:
        """From the peer to the client."""
        self.peer.sendto(data, self.relayed)
        async with asyncio.timeout(ANSWER_LIMIT):
            assert (await self.client.receive())[1] == data


def peer_socket(hosts: Hosts, version: int) -> socket.socket:
    """A peer's, bound."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    peer = hosts.peer.open_socket(family, socket.SOCK_DGRAM)
    peer.bind((PEER[version], 0))
    peer.setblocking(False)
    return peer


@pytest.mark.parametrize("leg", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
async def test_from_udp_to_udp(hosts: Hosts, folder: Path, leg: int, version: int) -> None:
    sock = connected(hosts.client, SERVER[leg], Transport.UDP, 3478)
    peer = peer_socket(hosts, version)
    mark(sock, 60, EF, ECT_0)
    mark(peer, 50, AF41, CE)
    with (
        peer,
        captured(hosts.client, "server", SERVER[4], folder / "at-client") as near,
        captured(hosts.router, "server", RELAY[4], folder / "at-router") as far,
    ):
        async with client_by(sock, Transport.UDP) as client:
            relayed = (await client.allocate(family=IN_FAMILY[version])).relayed[0]
            call = Call(client, relayed, peer)
            await client.create_permission(PEER[version])
            await call.up(UP + b" 1")
            await call.up(UP + b" 2", dont_fragment=True)
            await call.down(DOWN + b" 1")
            await client.channel_bind(call.peer_address)
            await call.up(UP + b" 3")
            await call.down(DOWN + b" 2")
    near_headers, far_headers = Headers(near, leg), Headers(far, version)
    for number in (b" 1", b" 2", b" 3"):
        came = near_headers.of(UP + number)
        assert (came.ttl, came.dscp, came.ecn) == (60, EF, ECT_0)
        heeded = number == b" 2" and (leg, version) == (4, 4)
        assert far_headers.of(UP + number) == Header(
            59, EF, ECT_0, None if version == 6 else heeded
        )
    if (leg, version) == (6, 6):
        # Two flows, as section 13.2 says.
        assert near_headers.flow_label(UP + b" 1") != far_headers.flow_label(UP + b" 1")
    for number in (b" 1", b" 2"):
        came = far_headers.of(DOWN + number)
        assert (came.ttl, came.dscp, came.ecn) == (49, AF41, CE)
        assert near_headers.of(DOWN + number) == Header(48, AF41, CE, None if leg == 6 else False)


@pytest.mark.parametrize("leg", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
async def test_by_tcp(hosts: Hosts, folder: Path, leg: int, version: int) -> None:
    family = socket.AF_INET6 if leg == 6 else socket.AF_INET
    sock = hosts.client.open_socket(family, socket.SOCK_STREAM)
    mark(sock, 60, EF, NOT_ECT)
    sock.connect((SERVER[leg], 3478))
    sock.setblocking(False)
    peer = peer_socket(hosts, version)
    mark(peer, 50, AF41, CE)
    with (
        peer,
        captured(hosts.client, "server", SERVER[4], folder / "at-client") as near,
        captured(hosts.router, "server", RELAY[4], folder / "at-router") as far,
    ):
        async with client_by(sock, Transport.TCP) as client:
            relayed = (await client.allocate(family=IN_FAMILY[version])).relayed[0]
            call = Call(client, relayed, peer)
            await client.create_permission(PEER[version])
            await call.up(UP + b" 1")
            await call.up(UP + b" 2", dont_fragment=True)
            await call.down(DOWN)
    far_headers = Headers(far, version)
    for number in (b" 1", b" 2"):
        assert far_headers.of(UP + number) == Header(
            SYSTEM_TTL, EF, NOT_ECT, None if version == 6 else number == b" 2"
        )
    # What the peer's packet says ends here.
    sent = Headers(near, leg).of(DOWN)
    assert (sent.ttl, sent.dscp, sent.ecn) == (SYSTEM_TTL, 0, NOT_ECT)


@pytest.mark.parametrize("leg", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
async def test_what_is_longer_than_a_link_takes_passes_in_fragments(
    hosts: Hosts, leg: int, version: int, transport: Transport
) -> None:
    """Put together on the way in, cut on the way out, by the system (section 13: MUST)."""
    peer = peer_socket(hosts, version)
    long = bytes(range(250)) * 20
    with peer:
        async with inside(hosts.client, SERVER[leg], transport) as client:
            relayed = (await client.allocate(family=IN_FAMILY[version])).relayed[0]
            call = Call(client, relayed, peer)
            await client.create_permission(PEER[version])
            if version == 6:  # routers do not cut: the first is lost, and says how narrow it is
                hosts.server.run("ip", "-6", "route", "flush", "cache")
                await client.send(call.peer_address, long)
                async with asyncio.timeout(ANSWER_LIMIT):
                    _, error = await client.receive_icmp_error()
                assert error == (2, 0, NARROW)
            await call.up(long)
            await call.down(long)
            await client.channel_bind(call.peer_address)
            await call.up(long)
            await call.down(long)


async def test_what_has_come_too_far_goes_no_further(hosts: Hosts, folder: Path) -> None:
    sock = connected(hosts.client, SERVER[4], Transport.UDP, 3478)
    peer = peer_socket(hosts, 4)
    with peer, captured(hosts.router, "server", RELAY[4], folder / "at-router") as far:
        async with client_by(sock, Transport.UDP) as client:
            relayed = (await client.allocate()).relayed[0]
            call = Call(client, relayed, peer)
            await client.create_permission(PEER[4])
            mark(sock, 1, 0, NOT_ECT)
            await client.send(call.peer_address, b"one hop too far")
            mark(sock, 2, 0, NOT_ECT)
            # It arrives at the router as the last hop, which is told by ICMP.
            await client.send(call.peer_address, b"the last hop")
            async with asyncio.timeout(ANSWER_LIMIT):
                shown, error = await client.receive_icmp_error()
            assert shown == call.peer_address
            assert (error.type, error.code) == (11, 0)
            mark(sock, 64, 0, NOT_ECT)
            await call.up(UP)
    headers = Headers(far, 4)
    assert headers.of(b"the last hop").ttl == 1
    assert not headers.have(b"one hop too far")
