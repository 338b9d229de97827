"""What every engine does with the IP header of what it relays (see `contract`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST, channel_data, data_of, send_indication
from tests.engine.worlds import CHANNEL, LOOPBACK, SETTINGS
from turnd.engine.base import Transport
from turnd.engine.fields import Fields
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from tests.engine.worlds import World

HOSTS = [LOOPBACK, "::1"]
ARRIVED = [
    Fields(64, 0),
    Fields(2, 0),
    Fields(255, 46 << 2),  # EF
    Fields(57, 34 << 2 | 2),  # AF41, ECT(0)
    Fields(57, 1),  # ECT(1)
    Fields(57, 3),  # congestion experienced
]


def less_a_hop(fields: Fields) -> Fields:
    return fields._replace(hops=fields.hops - 1)


class Path:
    """From a client over a relay to a peer, in any two families."""

    def __init__(self, world: World, client_host: str, peer_host: str) -> None:
        self.world = world
        listener = world.engine.listen(TransportAddress(client_host, 0), SETTINGS)
        self.server = world.engine.endpoint(listener)
        self.client, self.peer = world.client(client_host), world.peer(peer_host)
        self.leg = world.leg(self.client, listener)
        self.relay, self.relayed = world.open_relay(self.leg, peer_host)
        world.permit(self.relay, self.peer)

    async def up(self, fields: Fields, message: bytes) -> Fields:
        """Send a message; what the peer got."""
        self.client.mark(fields)
        self.client.send(message, self.server)
        assert (await self.peer.receive())[0] == b"up"
        return self.peer.fields

    async def down(self, fields: Fields) -> Fields:
        """Send a datagram from the peer; what the client got."""
        self.peer.mark(fields)
        self.peer.send(b"down", self.relayed)
        await self.client.receive()
        return self.client.fields


class HeaderFields:
    @pytest.mark.parametrize("client_host", HOSTS)
    @pytest.mark.parametrize("peer_host", HOSTS)
    async def test_from_udp_to_udp_they_are_passed_on(
        self, world: World, client_host: str, peer_host: str
    ) -> None:
        path = Path(world, client_host, peer_host)
        indication = send_indication(path.peer.address, b"up")
        for fields in ARRIVED:
            expected = less_a_hop(fields)
            assert await path.up(fields, indication) == expected
            assert await path.down(fields) == expected
        world.bind(path.relay, path.peer)
        for fields in ARRIVED:
            expected = less_a_hop(fields)
            assert await path.up(fields, channel_data(b"up")) == expected
            assert await path.down(fields) == expected
        assert world.drops() == {}

    async def test_packets_of_many_kinds_keep_their_order_and_their_own(self, world: World) -> None:
        path = Path(world, LOOPBACK, LOOPBACK)
        world.bind(path.relay, path.peer)
        sent = [ARRIVED[number % 5 // 2] for number in range(40)]
        for number, fields in enumerate(sent):
            path.client.mark(fields)
            path.client.send(channel_data(bytes([number])), path.server)
            path.peer.mark(fields)
            path.peer.send(bytes([number]), path.relayed)
        for number, fields in enumerate(sent):
            assert (await path.peer.receive())[0] == bytes([number])
            assert path.peer.fields == less_a_hop(fields)
            assert (await path.client.receive())[0] == channel_data(bytes([number]))
            assert path.client.fields == less_a_hop(fields)

    async def test_what_has_come_too_far_goes_no_further(self, world: World) -> None:
        path = Path(world, LOOPBACK, LOOPBACK)
        world.bind(path.relay, path.peer)
        for party in (path.client, path.peer):
            party.mark(Fields(1, 0))
        path.client.send(channel_data(b"far"), path.server)
        path.client.send(send_indication(path.peer.address, b"far"), path.server)
        path.peer.send(b"far", path.relayed)
        await world.dropped(hop_limit=3)
        report = world.engine.relay_counters(path.relay)
        assert report is not None
        assert sum(report.drops.values()) == 3
        assert path.peer.has_nothing()
        assert path.client.has_nothing()

    async def test_what_is_for_us_may_have_come_as_far_as_it_likes(self, world: World) -> None:
        path = Path(world, LOOPBACK, LOOPBACK)
        path.client.mark(Fields(1, 0))
        path.client.send(REQUEST, path.server)
        assert len(await world.events(1)) == 1

    async def test_an_answer_has_the_systems(self, world: World) -> None:
        path = Path(world, LOOPBACK, LOOPBACK)
        assert await path.down(Fields(20, 0xB8)) == Fields(19, 0xB8)
        world.engine.send_to_client(path.leg, ANSWER)
        assert await path.client.receive() == (ANSWER, path.server)
        assert path.client.fields == world.system

    async def test_from_tcp_to_udp_the_connection_gives_the_dscp(self, world: World) -> None:
        world.traffic_class = 46 << 2
        stream = await world.connect(Transport.TCP)
        relay, _ = world.open_relay(stream.leg)
        peer = world.peer()
        world.permit(relay, peer)
        stream.send(send_indication(peer.address, b"up"))
        assert (await peer.receive())[0] == b"up"
        assert peer.fields == Fields(world.system.hops, 46 << 2)

    async def test_from_udp_to_tcp_they_are_lost(self, world: World) -> None:
        stream = await world.connect(Transport.TCP)
        relay, relayed = world.open_relay(stream.leg)
        peer = world.peer()
        world.permit(relay, peer)
        peer.mark(Fields(1, 0xB8))
        peer.send(b"down", relayed)
        assert data_of(await stream.receive()) == (peer.address, b"down")
        world.bind(relay, peer, CHANNEL)
        peer.send(b"down", relayed)
        assert await stream.receive() == channel_data(b"down")
        assert world.drops() == {}
