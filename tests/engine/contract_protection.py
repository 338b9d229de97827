"""What every engine refuses to reach (see `contract`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import Allocation, channel_data, data_of, send_indication
from tests.engine.worlds import CHANNEL, LOOPBACK
from turnd.stun.addresses import ChannelNumber, PeerAddress, TransportAddress

if TYPE_CHECKING:
    from tests.engine.worlds import World

ANNOUNCED = "203.0.113.7"
ANNOUNCED_LATER = "203.0.113.8"


class Protection:
    @pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0", "::"])
    async def test_a_protected_endpoint_is_never_reached(self, world: World, host: str) -> None:
        allocation = Allocation(world)
        secret = world.peer()
        world.bind(allocation.relay, secret, 0x4001)
        world.engine.protect([TransportAddress(host, secret.address.port)], {})
        world.bind(allocation.relay, secret, 0x4002)
        allocation.send(channel_data(b"1", 0x4001))
        allocation.send(channel_data(b"2", 0x4002))
        allocation.send(send_indication(secret.address, b"3"))
        await world.dropped(forbidden_peer=2, no_channel=1)
        assert secret.has_nothing()
        await allocation.passes()

    async def test_a_protected_port_of_another_host_is_reached(self, world: World) -> None:
        allocation = Allocation(world)
        port = allocation.peer.address.port
        world.engine.protect([TransportAddress("192.0.2.9", port)], {})
        await allocation.passes()
        allocation.send(send_indication(allocation.peer.address, b"by name"))
        assert (await allocation.peer.receive())[0] == b"by name"

    async def test_the_unspecified_address_is_not_this_host(self, world: World) -> None:
        allocation = Allocation(world)
        peer = PeerAddress(TransportAddress("0.0.0.0", allocation.peer.address.port))
        world.engine.permit(allocation.relay, peer.host, 9e9)
        world.engine.bind_channel(allocation.relay, ChannelNumber(0x4009), peer, 9e9)
        allocation.send(channel_data(b"1", 0x4009))
        allocation.send(send_indication(peer, b"2"))
        await world.dropped(forbidden_peer=2)
        assert allocation.peer.has_nothing()

    async def test_protection_is_replaced_as_a_whole(self, world: World) -> None:
        allocation = Allocation(world)
        world.engine.protect([allocation.peer.address], {})
        allocation.send(channel_data(b"no"))
        await world.dropped(forbidden_peer=1)
        world.engine.protect([], {})
        await allocation.passes()


class OwnAddresses:
    """Two clients of one server that know each other by announced addresses."""

    def own(self, world: World) -> tuple[Allocation, Allocation]:
        world.engine.protect([], {ANNOUNCED: LOOPBACK})
        return Allocation(world), Allocation(world)

    def announced(self, allocation: Allocation) -> PeerAddress:
        return PeerAddress(TransportAddress(ANNOUNCED, allocation.relayed.port))

    def link(self, world: World, one: Allocation, other: Allocation) -> None:
        world.engine.permit(one.relay, ANNOUNCED, world.clock.now + 300)
        deadline = world.clock.now + 600
        number = ChannelNumber(CHANNEL + 7)
        world.engine.bind_channel(one.relay, number, self.announced(other), deadline)

    async def test_two_clients_reach_each_other(self, world: World) -> None:
        one, other = self.own(world)
        self.link(world, one, other)
        self.link(world, other, one)
        one.send(channel_data(b"hello", CHANNEL + 7))
        assert (await other.client.receive())[0] == channel_data(b"hello", CHANNEL + 7)
        other.send(channel_data(b"yes?", CHANNEL + 7))
        assert (await one.client.receive())[0] == channel_data(b"yes?", CHANNEL + 7)

    async def test_they_see_announced_addresses(self, world: World) -> None:
        one, other = self.own(world)
        for allocation in (one, other):
            world.engine.permit(allocation.relay, ANNOUNCED, world.clock.now + 300)
        one.send(send_indication(self.announced(other), b"hello"))
        data, _ = await other.client.receive()
        assert data_of(data) == (self.announced(one), b"hello")

    async def test_it_needs_the_permission_for_the_announced_address(self, world: World) -> None:
        one, other = self.own(world)
        world.engine.permit(one.relay, ANNOUNCED, world.clock.now + 300)
        one.send(send_indication(self.announced(other), b"hello"))
        await world.dropped(no_permission=1)

    @pytest.mark.parametrize("host", [ANNOUNCED, LOOPBACK])
    async def test_nothing_else_on_the_host_is_reached(self, world: World, host: str) -> None:
        one, _ = self.own(world)
        service = world.peer()
        peer = PeerAddress(TransportAddress(host, service.address.port))
        world.engine.permit(one.relay, host, 9e9)
        world.engine.bind_channel(one.relay, ChannelNumber(0x4009), peer, 9e9)
        one.send(channel_data(b"1", 0x4009))
        one.send(send_indication(peer, b"2"))
        await world.dropped(forbidden_peer=2)
        assert service.has_nothing()

    async def test_the_port_is_looked_at_per_packet(self, world: World) -> None:
        one, other = self.own(world)
        self.link(world, one, other)
        self.link(world, other, one)
        one.send(channel_data(b"hello", CHANNEL + 7))
        await other.client.receive()
        world.engine.extend(other.relay, world.clock.now)
        one.send(channel_data(b"expired", CHANNEL + 7))
        one.send(send_indication(self.announced(other), b"expired"))
        await world.dropped(forbidden_peer=2)
        world.engine.close_relay(other.relay)
        service = world.peer()
        one.send(channel_data(b"closed", CHANNEL + 7))
        one.send(send_indication(self.announced(other), b"closed"))
        await world.dropped(forbidden_peer=4)
        assert service.has_nothing()

    async def test_a_client_reaches_itself_once(self, world: World) -> None:
        one, _ = self.own(world)
        self.link(world, one, one)
        one.send(channel_data(b"echo", CHANNEL + 7))
        assert (await one.client.receive())[0] == channel_data(b"echo", CHANNEL + 7)
        assert one.client.has_nothing()

    async def test_a_protected_port_stays_so_at_an_announced_address(self, world: World) -> None:
        one, other = self.own(world)
        self.link(world, one, other)
        world.engine.protect([TransportAddress("::", other.relayed.port)], {ANNOUNCED: LOOPBACK})
        one.send(channel_data(b"no", CHANNEL + 7))
        await world.dropped(forbidden_peer=1)

    async def test_a_relay_keeps_the_address_that_was_announced_when_it_was_opened(
        self, world: World
    ) -> None:
        """The server's address changes: who is known by the old one stays so, and is reached."""
        world.engine.protect([], {ANNOUNCED: LOOPBACK})
        old = Allocation(world)
        world.engine.protect([], {ANNOUNCED: LOOPBACK, ANNOUNCED_LATER: LOOPBACK})
        new = Allocation(world)
        of_new = PeerAddress(TransportAddress(ANNOUNCED_LATER, new.relayed.port))
        world.engine.permit(old.relay, ANNOUNCED_LATER, world.clock.now + 300)
        world.engine.permit(new.relay, ANNOUNCED, world.clock.now + 300)
        old.send(send_indication(of_new, b"from the old"))
        data, _ = await new.client.receive()
        assert data_of(data) == (self.announced(old), b"from the old")
        new.send(send_indication(self.announced(old), b"from the new"))
        data, _ = await old.client.receive()
        assert data_of(data) == (of_new, b"from the new")

    async def test_channels_follow_when_announced_addresses_change(self, world: World) -> None:
        one, other = self.own(world)
        self.link(world, one, other)
        self.link(world, other, one)
        world.engine.protect([], {})
        world.engine.protect([], {ANNOUNCED: LOOPBACK})
        one.send(channel_data(b"hello", CHANNEL + 7))
        assert (await other.client.receive())[0] == channel_data(b"hello", CHANNEL + 7)
