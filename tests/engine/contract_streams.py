"""What every engine does with streams (see `contract`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST, channel_data, data_of, send_indication
from tests.engine.worlds import CHANNEL, SETTINGS
from turnd.engine.base import ClientMessage, CloseReason, LegClosed, RelayCounters, Transport
from turnd.stun.channel_data import encode_channel_data

if TYPE_CHECKING:
    from tests.engine.worlds import Party, StreamClient, World
    from turnd.engine.base import RelayId
    from turnd.stun.addresses import TransportAddress

BOTH = pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])


def padded(data: bytes) -> bytes:
    return encode_channel_data(CHANNEL, data, padded=True)


def with_channel(world: World, stream: StreamClient) -> tuple[RelayId, TransportAddress, Party]:
    relay, relayed = world.open_relay(stream.leg)
    peer = world.peer()
    world.permit(relay, peer)
    world.bind(relay, peer)
    return relay, relayed, peer


class Streams:
    @BOTH
    async def test_messages_and_media_pass(self, world: World, transport: Transport) -> None:
        stream = await world.connect(transport)
        assert stream.leg.transport is transport
        stream.send(REQUEST)
        assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]
        world.engine.send_to_client(stream.leg, ANSWER)
        assert await stream.receive() == ANSWER
        relay, relayed, peer = with_channel(world, stream)
        for data in (b"", b"1", b"22", b"333", b"4444", bytes(1_200)):
            stream.send(padded(data))
            assert await peer.receive() == (data, relayed)
            peer.send(data, relayed)
            assert await stream.receive() == channel_data(data)
        expected = RelayCounters(6, 1_210, 6, 1_210)
        await world.until(lambda: world.relayed(relay) == expected)
        assert world.engine.counters().by_transport[transport] == expected
        assert world.engine.counters().streams == 1

    async def test_it_is_told_whom_a_client_asked_for(self, world: World) -> None:
        assert (await world.connect(Transport.TLS)).server_name == "localhost"
        assert (await world.connect(Transport.TCP)).server_name is None

    @BOTH
    async def test_indications_pass(self, world: World, transport: Transport) -> None:
        stream = await world.connect(transport)
        _, relayed, _ = with_channel(world, stream)
        peer = world.peer()
        stream.send(send_indication(peer.address, b"up"))
        assert await peer.receive() == (b"up", relayed)
        peer.send(b"down!", relayed)
        assert data_of(await stream.receive()) == (peer.address, b"down!")

    @BOTH
    async def test_a_large_frame_is_garbage_before_there_is_a_relay(
        self, world: World, transport: Transport
    ) -> None:
        large = padded(bytes(8_192))
        stream = await world.connect(transport)
        relay, _, peer = with_channel(world, stream)
        stream.send(large)
        assert (await peer.receive())[0] == bytes(8_192)
        world.engine.close_relay(relay)
        stream.send(large + REQUEST)  # what was under way when the client deleted its allocation
        assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]
        stranger = await world.connect(transport)
        stranger.send(large[:4])
        assert await world.events(1) == [LegClosed(stranger.leg, CloseReason.GARBAGE)]

    @BOTH
    async def test_any_split_is_put_together(self, world: World, transport: Transport) -> None:
        stream = await world.connect(transport)
        _, _, peer = with_channel(world, stream)
        for byte in REQUEST + padded(b"whole"):
            stream.send(bytes([byte]))
        assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]
        assert (await peer.receive())[0] == b"whole"

    @BOTH
    async def test_any_pipelining_is_taken_apart(self, world: World, transport: Transport) -> None:
        stream = await world.connect(transport)
        _, _, peer = with_channel(world, stream)
        stream.send(REQUEST + b"".join(padded(bytes([i]) * i) for i in range(40)) + REQUEST)
        for i in range(40):
            assert (await peer.receive())[0] == bytes([i]) * i
        assert await world.events(2) == [ClientMessage(stream.leg, REQUEST)] * 2

    async def test_what_was_read_before_comes_first(self, world: World) -> None:
        stream = await world.connect(Transport.TCP, first_bytes=REQUEST[:7])
        stream.send(REQUEST[7:])
        message = [ClientMessage(stream.leg, REQUEST)]
        assert await world.until(world.engine.poll) == message

    @BOTH
    async def test_a_stream_that_ends_leaves_its_relays_to_python(
        self, world: World, transport: Transport
    ) -> None:
        stream = await world.connect(transport)
        relay, _, _ = with_channel(world, stream)
        stream.close()
        assert await world.events(1) == [LegClosed(stream.leg, CloseReason.CLIENT)]
        counters = world.engine.counters()
        assert (counters.relays, counters.streams) == (1, 0)
        world.engine.close_relay(relay)
        assert world.engine.counters().relays == 0

    @BOTH
    @pytest.mark.parametrize("garbage", [b"\x80", b"\x00\x01\x00\x00HTTP", b"\x50\0\0\0"])
    async def test_garbage_closes_after_what_was_right(
        self, world: World, transport: Transport, garbage: bytes
    ) -> None:
        stream = await world.connect(transport)
        with_channel(world, stream)
        stream.send(REQUEST + garbage)
        expected = [
            ClientMessage(stream.leg, REQUEST),
            LegClosed(stream.leg, CloseReason.GARBAGE),
        ]
        assert await world.events(2) == expected
        assert await stream.ended()

    @BOTH
    async def test_a_frame_that_trickles_in_has_a_deadline(
        self, world: World, transport: Transport
    ) -> None:
        stream = await world.connect(transport, replace(SETTINGS, frame_timeout=7))
        stream.send(REQUEST + REQUEST[:10])
        await world.events(1)
        world.clock.now += 6.999
        world.engine.tick()
        stream.send(REQUEST[10:] + REQUEST[:10])
        await world.events(1)
        world.clock.now += 6.999
        world.engine.tick()
        assert world.engine.counters().streams == 1
        world.clock.now += 0.001
        world.engine.tick()
        assert await world.events(1) == [LegClosed(stream.leg, CloseReason.FRAME_TIMEOUT)]
        assert await stream.ended()

    @BOTH
    async def test_an_idle_stream_stays(self, world: World, transport: Transport) -> None:
        stream = await world.connect(transport)
        stream.send(REQUEST)
        await world.events(1)
        world.clock.now += 1e6
        world.engine.tick()
        stream.send(REQUEST)
        assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]

    async def test_a_half_open_handshake_has_a_deadline(self, world: World) -> None:
        stream = await world.handshake(replace(SETTINGS, handshake_timeout=3))
        world.clock.now += 2.999
        world.engine.tick()
        assert world.engine.counters().streams == 1
        world.clock.now += 0.001
        world.engine.tick()
        assert await world.events(1) == [LegClosed(stream.leg, CloseReason.HANDSHAKE_TIMEOUT)]

    @BOTH
    async def test_an_order_closes_after_what_was_answered(
        self, world: World, transport: Transport
    ) -> None:
        stream = await world.connect(transport)
        with_channel(world, stream)
        world.engine.send_to_client(stream.leg, ANSWER)
        world.engine.close_leg(stream.leg, CloseReason.UNAUTHENTICATED)
        world.engine.close_leg(stream.leg, CloseReason.SERVER)
        expected = [LegClosed(stream.leg, CloseReason.UNAUTHENTICATED)]
        assert await world.until(world.engine.poll) == expected
        assert await stream.receive() == ANSWER
        assert await stream.ended()

    async def test_a_closed_listener_leaves_its_streams(self, world: World) -> None:
        stream = await world.connect(Transport.TCP)
        world.engine.close_listener(stream.leg.listener)
        with_channel(world, stream)
        stream.send(REQUEST)
        assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]

    async def test_a_closed_listener_takes_no_new_streams(self, world: World) -> None:
        stream = await world.connect(Transport.TCP)
        world.engine.close_listener(stream.leg.listener)
        leg = world.adopt_by(stream.leg.listener)
        assert await world.events(1) == [LegClosed(leg, CloseReason.SERVER)]

    async def test_connections_with_the_same_addresses_are_told_apart(self, world: World) -> None:
        one = await world.connect(Transport.TCP)
        other = await world.connect(Transport.TCP)
        assert 0 != one.leg.stream != other.leg.stream != 0
