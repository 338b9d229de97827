"""What every engine does with ICMP errors of peers' paths (see `contract`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import Allocation, channel_data, send_indication
from tests.engine.worlds import LOOPBACK
from turnd.engine.base import ICMP_PER_SECOND, Transport
from turnd.stun import attributes
from turnd.stun.addresses import ChannelNumber, PeerAddress
from turnd.stun.attributes import IcmpValue
from turnd.stun.message import MessageClass, Method, decode_untrusted

if TYPE_CHECKING:
    from tests.engine.worlds import World

UNREACHABLE = IcmpValue(3, 3)
"""ICMP of IPv4: the port is."""


def error_of(indication: bytes) -> tuple[PeerAddress, IcmpValue]:
    message = decode_untrusted(indication)
    assert (message.method, message.message_class) == (Method.DATA, MessageClass.INDICATION)
    assert not message.has(attributes.DATA)
    peer, error = message.get(attributes.XOR_PEER_ADDRESS), message.get(attributes.ICMP)
    assert peer is not None
    assert error is not None
    return PeerAddress(peer), error


class Icmp:
    @pytest.mark.parametrize(("host", "error"), [(LOOPBACK, UNREACHABLE), ("::1", IcmpValue(1, 4))])
    async def test_an_error_is_told_to_the_client(
        self, world: World, host: str, error: IcmpValue
    ) -> None:
        """Port unreachable, of either IP version; the packets after it go out all the same."""
        allocation = Allocation(world, host)
        peer = world.peer(host)
        with world.nowhere(host) as closed:
            for _ in range(3):
                allocation.send(send_indication(closed, b"to nobody"))
                allocation.send(send_indication(peer.address, b"to somebody"))
                assert await peer.receive() == (b"to somebody", allocation.relayed)
                told, source = await allocation.client.receive()
                assert error_of(told) == (closed, error)
                assert source == allocation.server
        await allocation.passes()
        assert world.drops() == {}
        assert world.engine.counters().icmp_errors == 3

    async def test_it_is_an_indication_also_where_there_is_a_channel(self, world: World) -> None:
        allocation = Allocation(world)
        with world.nowhere() as closed:
            world.engine.bind_channel(allocation.relay, ChannelNumber(0x4001), closed, 9e9)
            allocation.send(channel_data(b"to nobody", 0x4001))
            told, _ = await allocation.client.receive()
        assert error_of(told) == (closed, UNREACHABLE)
        allocation.answer(b"after the error")
        assert (await allocation.client.receive())[0] == channel_data(b"after the error")
        await allocation.passes()

    async def test_it_comes_by_a_stream_too(self, world: World) -> None:
        stream = await world.connect(Transport.TCP)
        relay, _ = world.open_relay(stream.leg)
        with world.nowhere() as closed:
            world.engine.permit(relay, closed.host, 9e9)
            stream.send(send_indication(closed, b"to nobody"))
            assert error_of(await stream.receive()) == (closed, UNREACHABLE)

    async def test_a_whole_packet_that_hears_of_it_first_goes_out_and_it_is_told(
        self, world: World
    ) -> None:
        """The kernel tells the error to whatever the socket does next, and that once."""
        allocation = Allocation(world)
        peer = world.peer()
        with world.nowhere() as closed:
            for _ in range(5):
                allocation.send(send_indication(closed, b"to nobody"))
                whole = send_indication(peer.address, b"whole", (attributes.DONT_FRAGMENT, True))
                allocation.send(whole)
                assert await peer.receive() == (b"whole", allocation.relayed)
                told, _ = await allocation.client.receive()
                assert error_of(told) == (closed, UNREACHABLE)
        assert world.drops() == {}

    async def test_without_a_permission_it_is_not_told(self, world: World) -> None:
        allocation = Allocation(world)
        with world.nowhere("127.0.0.9") as closed:
            world.engine.bind_channel(allocation.relay, ChannelNumber(0x4001), closed, 9e9)
            allocation.send(channel_data(b"to nobody", 0x4001))
            await world.dropped(no_permission=1)
        await allocation.passes()
        assert world.engine.counters().icmp_errors == 0

    async def test_they_are_no_flood(self, world: World) -> None:
        allocation = Allocation(world)
        with world.nowhere() as closed:
            for _ in range(ICMP_PER_SECOND):
                allocation.send(send_indication(closed, b"to nobody"))
                assert error_of((await allocation.client.receive())[0])[0] == closed
            allocation.send(send_indication(closed, b"to nobody"))
            await world.dropped(icmp_rate=1)
            assert allocation.client.has_nothing()
            report = world.engine.relay_counters(allocation.relay)
            assert report is not None
            assert sum(report.drops.values()) == 1
            world.clock.now += 1
            allocation.send(send_indication(closed, b"to nobody"))
            assert error_of((await allocation.client.receive())[0])[0] == closed
        assert world.engine.counters().icmp_errors == ICMP_PER_SECOND + 1
