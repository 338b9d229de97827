"""ICMP errors of a peer's path reach the client, as our client and tshark decode them."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.e2e.inside import ANSWER_LIMIT, inside
from tests.e2e.routed import NARROW, PEER, SERVER, Hosts, captured, routed_hosts, served
from turnd.client.uri import Transport
from turnd.stun.addresses import AddressFamily, PeerAddress, TransportAddress
from turnd.stun.attributes import IcmpValue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turnd.client.client import TurnClient

CLOSED = 9
"""A port of the peer where nobody listens."""
PORT_UNREACHABLE = {4: IcmpValue(3, 3), 6: IcmpValue(1, 4)}
TOO_BIG = {4: IcmpValue(3, 4, NARROW), 6: IcmpValue(2, 0, NARROW)}
LEGS = [(Transport.UDP, 4), (Transport.UDP, 6), (Transport.TCP, 4)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with routed_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="module", autouse=True)
def server(hosts: Hosts, folders: Path, engine: str) -> Iterator[None]:
    with served(hosts, folders / f"icmp-{engine}", SERVER[4]):
        yield


class Step(NamedTuple):
    """What is sent to a port where nobody listens, and whether the path is too narrow for it."""

    size: int
    dont_fragment: bool
    is_too_big: bool


async def error_of(client: TurnClient, version: int, step: Step) -> IcmpValue:
    """The error that comes back for a packet to the closed port."""
    peer = TransportAddress(PEER[version], CLOSED)
    await client.send(peer, bytes(step.size), dont_fragment=step.dont_fragment)
    async with asyncio.timeout(ANSWER_LIMIT):
        shown, error = await client.receive_icmp_error()
    assert shown == PeerAddress(peer)
    return error


def steps(transport: Transport, leg_version: int, version: int) -> list[Step]:
    """What is sent in turn."""
    small, large = Step(1, False, False), Step(NARROW, False, False)
    if transport is Transport.TCP or (leg_version, version) == (4, 4):
        # DONT-FRAGMENT counts, and each time anew: nobody has to remember it for the client.
        return [small, *[Step(NARROW, True, True)] * 2, small]
    if version == 4:
        return [small, large, Step(NARROW, True, False), small]  # ignored: section 13.3
    # No router fragments; but when the server knows how narrow the path is, it does.
    return [small, Step(NARROW, False, True), large, Step(NARROW, True, False), small]


@pytest.mark.parametrize(("transport", "leg_version"), LEGS)
@pytest.mark.parametrize("version", [4, 6])
async def test_the_client_is_told(
    hosts: Hosts, folder: Path, transport: Transport, leg_version: int, version: int
) -> None:
    hosts.server.run("ip", "-6", "route", "flush", "cache")
    family = AddressFamily.IPV4 if version == 4 else AddressFamily.IPV6
    all_steps = steps(transport, leg_version, version)
    with captured(hosts.client, "server", SERVER[4], folder / "pcap") as capture:
        async with inside(hosts.client, SERVER[leg_version], transport) as client:
            await client.allocate(family=family)
            await client.create_permission(PEER[version])
            for step in all_steps:
                told = await error_of(client, version, step)
                assert told == (TOO_BIG if step.is_too_big else PORT_UNREACHABLE)[version]
                if step is all_steps[-2]:  # over a channel the last one goes
                    await client.channel_bind(TransportAddress(PEER[version], CLOSED))
    fields = ("stun.type", f"stun.att.ipv{version}", "stun.att.port")
    seen = capture.packets("stun.att.type == 0x8004", *fields)
    assert seen == [("0x0017", PEER[version], str(CLOSED))] * len(all_steps)


def fragmentation_needed(relayed: TransportAddress, peer: TransportAddress, mtu: int) -> bytes:
    """An ICMP error for a packet of 1,428 bytes (RFC 792, RFC 1191 section 4)."""
    hosts = [socket.inet_aton(host) for host in (relayed.host, peer.host)]
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1428, 0, 0x4000, 60, 17, 0, *hosts)
    quoted += struct.pack("!HHHH", relayed.port, peer.port, 1408, 0)
    body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    return body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]


async def test_an_error_may_come_late(hosts: Hosts) -> None:
    """Through a namespace an error comes while its packet is still being sent; not so elsewhere."""
    async with inside(hosts.client, SERVER[4], Transport.UDP) as client:
        relayed = (await client.allocate()).relayed[0]
        peer = TransportAddress(PEER[4], CLOSED)
        await client.create_permission(peer)
        with hosts.router.open_socket(socket.AF_INET, socket.SOCK_RAW, 1) as raw:
            # Whose destination has no permission is not told, and makes no later packet smaller.
            for target in (peer._replace(host="10.3.0.77"), peer):
                raw.sendto(fragmentation_needed(relayed, target, 600), (relayed.host, 0))
        async with asyncio.timeout(ANSWER_LIMIT):
            assert await client.receive_icmp_error() == (peer, IcmpValue(3, 4, 600))
