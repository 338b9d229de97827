"""What every engine with sockets does about PROXY headers in front of datagrams."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST, channel_data, data_of, send_indication
from tests.engine.worlds import CHANNEL, LOOPBACK, SETTINGS, Party
from turnd.engine.base import ClientMessage, Leg, ListenerId, ListenerSettings, Transport
from turnd.engine.proxy_v2 import SIGNATURE, Protocol, crc32c, write_header
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from tests.engine.socket_worlds import SocketWorld

PROXY = "127.0.0.9"
TRUSTING = replace(SETTINGS, proxies=(ip_network("127.0.0.8/31"), ip_network("2001:db8::/32")))
CLIENT = ClientAddress(TransportAddress("203.0.113.9", 51_334))
OTHER = ClientAddress(TransportAddress("2001:db8::9", 40_000))
ASKED = TransportAddress("192.0.2.7", 3_478)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def headed(data: bytes, client: TransportAddress = CLIENT) -> bytes:
    """A datagram as a proxy passes it on."""
    return write_header(client, ASKED, Protocol.DATAGRAM) + data


def with_checksum(data: bytes, error: int = 0) -> bytes:
    block = write_header(CLIENT, ASKED, Protocol.DATAGRAM)[16:] + b"\x03\x00\x04" + bytes(4)
    header = SIGNATURE + b"\x21\x12" + len(block).to_bytes(2, "big") + block
    return header[:-4] + (crc32c(header) ^ error).to_bytes(4, "big") + data


class Site:
    """A listener that trusts a proxy, and the proxy."""

    def __init__(
        self, world: SocketWorld, settings: ListenerSettings = TRUSTING, host: str = LOOPBACK
    ) -> None:
        self.world = world
        self.engine = world.engine
        self.listener: ListenerId = self.engine.listen(TransportAddress(host, 0), settings)
        self.address = TransportAddress(LOOPBACK, self.engine.endpoint(self.listener).port)
        self.proxy: Party = world.client(PROXY)

    def leg(self, client: ClientAddress = CLIENT, via: Party | None = None) -> Leg:
        local, proxy = ServerAddress(self.address), ClientAddress((via or self.proxy).address)
        return Leg(self.listener, Transport.UDP, local, client, 0, proxy)

    def send(self, data: bytes) -> None:
        self.proxy.send(data, self.address)


class Proxies:
    @pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
    @pytest.mark.parametrize("client", [CLIENT, OTHER])
    async def test_the_header_says_whose_a_message_is(
        self, world: SocketWorld, host: str, client: ClientAddress
    ) -> None:
        site = Site(world, host=host)
        site.send(headed(REQUEST, client))
        assert await world.events(1) == [ClientMessage(site.leg(client), REQUEST)]
        world.engine.send_to_client(site.leg(client), ANSWER)
        assert await site.proxy.receive() == (ANSWER, site.address)

    @pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
    async def test_media_goes_both_ways(self, world: SocketWorld, host: str) -> None:
        site = Site(world, host=host)
        relay, relayed = world.open_relay(site.leg())
        peer = world.peer()
        world.permit(relay, peer)
        site.send(headed(send_indication(peer.address, b"up")))
        assert await peer.receive() == (b"up", relayed)
        peer.send(b"down", relayed)
        indication, source = await site.proxy.receive()
        assert source == site.address
        assert data_of(indication) == (peer.address, b"down")
        world.bind(relay, peer)
        for number in range(40):
            site.send(headed(channel_data(b"%2d" % number)))
        for number in range(40):
            assert await peer.receive() == (b"%2d" % number, relayed)
        peer.send(b"down", relayed)
        assert await site.proxy.receive() == (channel_data(b"down"), site.address)
        counters = world.engine.relay_counters(relay)
        assert counters is not None
        assert counters.counters.bytes_from_client == len(b"up") + 40 * 2  # without headers

    async def test_clients_and_proxies_are_told_apart(self, world: SocketWorld) -> None:
        site = Site(world)
        elsewhere = world.client("127.0.0.8")
        legs = [site.leg(), site.leg(OTHER), site.leg(CLIENT, elsewhere)]
        peers = [world.peer() for _ in legs]
        for leg, peer in zip(legs, peers, strict=True):
            relay, _ = world.open_relay(leg)
            world.permit(relay, peer)
            world.bind(relay, peer)
        for leg, peer in zip(legs, peers, strict=True):
            sender = elsewhere if leg.via == elsewhere.address else site.proxy
            sender.send(headed(channel_data(b"mine"), leg.client), site.address)
            assert (await peer.receive())[0] == b"mine"
            assert all(other.has_nothing() for other in peers)

    async def test_a_proxy_may_speak_for_itself(self, world: SocketWorld) -> None:
        site = Site(world)
        itself = site.leg(ClientAddress(site.proxy.address))._replace(via=None)
        tcp = write_header(CLIENT, ASKED, Protocol.STREAM)
        for header in (LOCAL, SIGNATURE + b"\x21\x00\x00\x00", tcp):
            site.send(header + REQUEST)
            assert await world.events(1) == [ClientMessage(itself, REQUEST)]
        world.engine.send_to_client(itself, ANSWER)
        assert await site.proxy.receive() == (ANSWER, site.address)

    async def test_others_headers_are_not_believed(self, world: SocketWorld) -> None:
        site = Site(world)
        stranger = world.client()
        stranger.send(headed(REQUEST), site.address)
        await world.dropped(not_stun=1)
        stranger.send(REQUEST, site.address)
        leg = site.leg(ClientAddress(stranger.address))._replace(via=None)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]

    @pytest.mark.parametrize(
        "data",
        [
            REQUEST,
            channel_data(b"media", CHANNEL),
            b"PROXY UDP4 203.0.113.9 192.0.2.7 51334 3478\r\n" + REQUEST,
            headed(b"")[:-1],
            SIGNATURE,
            SIGNATURE + b"\x31\x12\x00\x0c" + bytes(12),
            SIGNATURE + b"\x21\x42\x00\x0c" + bytes(12),
            SIGNATURE + b"\x21\x13\x00\x0c" + bytes(12),
            SIGNATURE + b"\x21\x12\x00\x0b" + bytes(11),
            SIGNATURE + b"\x21\x12\x00\x0e" + bytes(14),
            SIGNATURE + b"\x21\x12\x00\x0f" + bytes(12) + b"\x04\x00\x01",
            SIGNATURE + b"\x21\x12\x20\x00" + bytes(0x2000),
            with_checksum(REQUEST, error=1),
        ],
    )
    async def test_a_proxy_without_a_good_header_is_not_heard(
        self, world: SocketWorld, data: bytes
    ) -> None:
        site = Site(world)
        site.send(data)
        await world.dropped(proxy_header=1)
        site.send(with_checksum(REQUEST))
        assert await world.events(1) == [ClientMessage(site.leg(), REQUEST)]

    async def test_trust_is_given_and_taken_live(self, world: SocketWorld) -> None:
        site = Site(world, SETTINGS)
        site.send(headed(REQUEST))
        await world.dropped(not_stun=1)
        world.engine.configure(site.listener, TRUSTING)
        site.send(headed(REQUEST))
        assert await world.events(1) == [ClientMessage(site.leg(), REQUEST)]
        world.engine.configure(site.listener, SETTINGS)
        site.send(headed(REQUEST))
        await world.dropped(not_stun=2)

    async def test_a_relay_follows_its_client_away_from_the_proxy(self, world: SocketWorld) -> None:
        site = Site(world)
        relay, relayed = world.open_relay(site.leg())
        peer, direct = world.peer(), world.client()
        world.permit(relay, peer)
        world.bind(relay, peer)
        there = site.leg(ClientAddress(direct.address))._replace(via=None)
        world.engine.move(relay, there, 9e9)
        peer.send(b"down", relayed)
        assert await direct.receive() == (channel_data(b"down"), site.address)
        direct.send(channel_data(b"up"), site.address)
        assert await peer.receive() == (b"up", relayed)
