"""What every engine does with a stream and a peer's connection that become one (RFC 6062)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST
from tests.engine.contract_streams import BOTH, padded
from tests.waiting import eventually
from turnd.engine.base import (
    SPLICE_LINGER,
    BucketId,
    ClientMessage,
    CloseReason,
    LegClosed,
    RelayCounters,
    Transport,
)
from turnd.listeners.gate import NO_LINGER
from turnd.stun.message import MessageClass, Method, encode_message

if TYPE_CHECKING:
    from tests.engine.socket_worlds import SocketWorld
    from tests.engine.worlds import PeerConnection, StreamClient, World
    from turnd.engine.base import Event

BIND = encode_message(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12), [])
BOUND = encode_message(Method.CONNECTION_BIND, MessageClass.SUCCESS, bytes(12), [])
REFUSED = encode_message(Method.CONNECTION_BIND, MessageClass.ERROR, bytes(12), [])
RATE = 80_000
"""Bits per second: 10 kB."""
DEPTH = 64 << 10


async def bound(
    world: World, transport: Transport = Transport.TCP, more: bytes = b""
) -> tuple[StreamClient, PeerConnection]:
    """A stream whose ConnectionBind was handed up, and a peer that waits for it."""
    stream, peer = await world.connect(transport), world.peer_connection()
    stream.send(BIND + more)
    assert await world.events(1) == [ClientMessage(stream.leg, BIND)]
    return stream, peer


async def spliced(
    world: World, transport: Transport = Transport.TCP, buckets: tuple[BucketId, ...] = ()
) -> tuple[StreamClient, PeerConnection]:
    stream, peer = await bound(world, transport)
    assert world.engine.splice(stream.leg, peer.descriptor, BOUND, buckets)
    assert await stream.read(len(BOUND)) == BOUND
    return stream, peer


async def the_end(world: World, stream: StreamClient, reason: CloseReason) -> None:
    assert await world.events(1) == [LegClosed(stream.leg, reason)]
    assert world.engine.counters().streams == 0


class Splicing:
    @BOTH
    async def test_bytes_pass_as_they_are(self, world: World, transport: Transport) -> None:
        stream, peer = await spliced(world, transport)
        assert world.engine.counters().streams == 1
        for data in (b"\xff" * 5, REQUEST, padded(b"no channel"), BIND):
            stream.send(data)
            assert await peer.read(len(data)) == data
            peer.send(data)
            assert await stream.read(len(data)) == data
        sum_of_all = 5 + len(REQUEST) + len(padded(b"no channel")) + len(BIND)
        expected = RelayCounters(4, sum_of_all, 4, sum_of_all)
        await world.until(lambda: world.engine.counters().totals == expected)
        counters = world.engine.counters()
        assert counters.by_transport[transport] == counters.totals
        assert counters.by_listener[stream.leg.listener] == counters.totals
        assert world.drops() == {}
        assert world.engine.poll() == []

    @BOTH
    async def test_what_came_before_is_not_lost(self, world: World, transport: Transport) -> None:
        early = b"\x80 no frame begins so" * 1_000
        stream, peer = await bound(world, transport, early)
        peer.send(b"first the answer, then this")
        world.engine.splice(stream.leg, peer.descriptor, BOUND)
        assert await stream.read(len(BOUND)) == BOUND
        assert await stream.read(27) == b"first the answer, then this"
        assert await peer.read(len(early)) == early

    @BOTH
    async def test_a_refusal_leaves_a_stream_of_frames(
        self, world: World, transport: Transport
    ) -> None:
        stream, _ = await bound(world, transport, REQUEST + REQUEST)
        world.engine.send_to_client(stream.leg, ANSWER)  # of an earlier request
        assert await stream.receive() == ANSWER
        assert world.engine.poll() == []
        world.engine.send_to_client(stream.leg, REFUSED)
        assert await stream.receive() == REFUSED
        assert await world.events(2) == [ClientMessage(stream.leg, REQUEST)] * 2
        stream.send(REQUEST)
        assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]

    async def test_garbage_behind_a_refusal_is_garbage(self, world: World) -> None:
        stream, _ = await bound(world, more=b"\x80")
        world.engine.send_to_client(stream.leg, REFUSED)
        await the_end(world, stream, CloseReason.GARBAGE)

    async def test_a_bind_has_a_frames_time_to_be_answered(self, world: World) -> None:
        stream, _ = await bound(world, more=b"waits")
        world.clock.now += 9.9
        world.engine.tick()
        assert world.engine.poll() == []
        world.clock.now += 0.2
        world.engine.tick()
        await the_end(world, stream, CloseReason.FRAME_TIMEOUT)

    async def test_a_clients_end_is_passed_on_and_the_peer_finishes(self, world: World) -> None:
        stream, peer = await spliced(world)
        stream.send(b"last words")
        stream.end()
        assert await peer.read(10) == b"last words"
        assert await peer.ended()
        assert world.engine.poll() == []
        peer.send(b"reply")
        assert await stream.read(5) == b"reply"
        peer.end()
        await the_end(world, stream, CloseReason.CLIENT)
        assert await stream.ended()
        assert world.engine.counters().totals == RelayCounters(1, 10, 1, 5)

    async def test_a_peers_end_is_passed_on_and_the_client_finishes(self, world: World) -> None:
        stream, peer = await spliced(world)
        peer.send(b"last words")
        peer.end()
        assert await stream.read(10) == b"last words"
        stream.send(b"reply")
        assert await peer.read(5) == b"reply"
        stream.end()
        await the_end(world, stream, CloseReason.PEER)
        assert await peer.ended()

    async def test_who_is_silent_after_the_others_end_is_closed(self, world: World) -> None:
        stream, peer = await spliced(world)
        world.clock.now += 2 * SPLICE_LINGER
        peer.send(b"bye")
        peer.end()
        assert await stream.read(3) == b"bye"
        world.clock.now += SPLICE_LINGER - 0.1
        stream.send(b"not yet")
        assert await peer.read(7) == b"not yet"
        world.clock.now += SPLICE_LINGER - 0.1
        world.engine.tick()
        assert world.engine.poll() == []
        world.clock.now += 0.2
        world.engine.tick()
        await the_end(world, stream, CloseReason.PEER)
        assert await stream.ended()
        assert await peer.ended()

    @BOTH
    async def test_an_order_ends_both(self, world: World, transport: Transport) -> None:
        stream, peer = await spliced(world, transport)
        world.engine.close_leg(stream.leg, CloseReason.SERVER)
        await the_end(world, stream, CloseReason.SERVER)
        assert await stream.ended()
        assert await peer.ended()

    async def test_a_protected_endpoint_is_never_reached(self, world: World) -> None:
        stream, peer = await bound(world, more=b"secret")
        world.protect_peer(peer)
        world.engine.splice(stream.leg, peer.descriptor, BOUND)
        await the_end(world, stream, CloseReason.SERVER)
        assert await peer.ended()

    async def test_a_stream_that_has_ended_takes_the_connection_along(self, world: World) -> None:
        stream, peer = await bound(world)
        world.engine.close_leg(stream.leg, CloseReason.SERVER)
        assert not world.engine.splice(stream.leg, peer.descriptor, BOUND)
        await the_end(world, stream, CloseReason.SERVER)
        assert await peer.ended()
        again = world.peer_connection()
        assert not world.engine.splice(stream.leg, again.descriptor, BOUND)
        assert await again.ended()
        assert not world.engine.poll()


class SplicedSockets:
    """What needs a kernel that holds bytes back."""

    @BOTH
    async def test_much_passes_both_ways_at_once(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        stream, peer = await spliced(world, transport)
        data = bytes(range(256)) * 16_384  # 4 MiB
        await asyncio.gather(
            in_pieces(stream, data), in_pieces(peer, data), expect(stream, data), expect(peer, data)
        )

        def all_counted() -> bool:
            totals = world.engine.counters().totals
            return totals.bytes_from_client == totals.bytes_to_client == len(data)

        await world.until(all_counted)

    @BOTH
    async def test_who_reads_slowly_slows_down_who_sends(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        stream, peer = await spliced(world, transport)
        sent = await fill(world, peer)
        assert sent < 16 << 20, "kernel and engine hold so much at most"
        await expect(stream, bytes(sent))
        peer.send(b"!")
        assert await stream.read(1) == b"!"

    async def test_a_slow_peer_slows_down_the_client(self, world: SocketWorld) -> None:
        stream, peer = await spliced(world)
        sent = 0
        while sent < 64 << 20:
            stream.send(bytes(65_536))
            sent += 65_536
            try:
                async with asyncio.timeout(0.5):
                    await stream.writer.drain()  # type: ignore[attr-defined] # of sockets
            except TimeoutError:
                break
        assert sent < 32 << 20
        await expect(peer, bytes(sent))

    async def test_what_is_under_way_arrives_before_the_end(self, world: SocketWorld) -> None:
        stream, peer = await spliced(world)
        sent = await fill(world, peer)
        peer.end()
        await expect(stream, bytes(sent))
        stream.end()
        await the_end(world, stream, CloseReason.PEER)

    @BOTH
    async def test_a_client_that_closes_ends_the_peers_connection(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        stream, peer = await spliced(world, transport)
        stream.close()
        assert await peer.ended()
        peer.end()
        await the_end(world, stream, CloseReason.CLIENT)

    async def test_a_reset_ends_the_other_side(self, world: SocketWorld) -> None:
        stream, peer = await spliced(world)
        stream.send(b"unread")
        await world.until(lambda: world.engine.counters().totals.bytes_from_client == 6)
        peer.sock.close()  # type: ignore[attr-defined] # of sockets
        assert await stream.ended()
        stream.close()
        await the_end(world, stream, CloseReason.PEER)

    @BOTH
    async def test_a_client_may_say_all_at_once_and_leave(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        stream, peer = await world.connect(transport), world.peer_connection()
        stream.send(BIND + b"all that there is")
        stream.close()
        assert await world.events(1) == [ClientMessage(stream.leg, BIND)]
        world.engine.splice(stream.leg, peer.descriptor, BOUND)
        assert await peer.read(17) == b"all that there is"
        assert await peer.ended()
        peer.end()
        await the_end(world, stream, CloseReason.CLIENT)

    @BOTH
    async def test_who_leaves_before_a_refusal_is_gone_after_it(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        stream = await world.connect(transport)
        stream.send(BIND + REQUEST)
        stream.close()
        assert await world.events(1) == [ClientMessage(stream.leg, BIND)]
        world.engine.send_to_client(stream.leg, REFUSED)
        left = LegClosed(stream.leg, CloseReason.CLIENT)
        assert await world.events(2) == [ClientMessage(stream.leg, REQUEST), left]

    @BOTH
    async def test_a_reset_is_noticed_although_the_other_side_reads_nothing(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        stream, peer = await spliced(world, transport)
        await fill(world, peer)
        sock = peer.sock  # type: ignore[attr-defined] # of sockets
        sock.setsockopt(*NO_LINGER)
        sock.close()

        def told() -> list[Event]:
            """The reset is on its way; its end comes when nothing has moved for so long."""
            world.clock.now += SPLICE_LINGER
            world.engine.tick()
            return list(world.engine.poll())

        assert await eventually(told) == [LegClosed(stream.leg, CloseReason.PEER)]
        assert world.engine.counters().streams == 0

    @pytest.mark.parametrize("upward", [True, False])
    async def test_bandwidth_makes_wait_and_drops_nothing(
        self, world: SocketWorld, upward: bool
    ) -> None:
        world.engine.limit(BucketId(7), RATE)
        stream, peer = await spliced(world, buckets=(BucketId(7),))
        sender, receiver = (stream, peer) if upward else (peer, stream)
        data = bytes(range(256)) * 512  # 128 KiB
        sender.send(data)
        first = DEPTH - (16 << 10)
        assert await receiver.read(first) == data[:first]
        totals = world.engine.counters().totals
        passed = totals.bytes_from_client if upward else totals.bytes_to_client
        assert passed <= DEPTH + RATE // 8
        world.clock.now += len(data) / (RATE / 8)
        assert await receiver.read(len(data) - first) == data[first:]
        assert world.drops() == {}


async def in_pieces(sender: StreamClient | PeerConnection, data: bytes) -> None:
    """Send as fast as it is taken."""
    sock = getattr(sender, "sock", None)
    loop = asyncio.get_running_loop()
    for start in range(0, len(data), 65_536):
        piece = data[start : start + 65_536]
        if sock is not None:
            await loop.sock_sendall(sock, piece)
        else:
            sender.send(piece)
            await sender.writer.drain()  # type: ignore[union-attr] # of sockets


async def expect(receiver: StreamClient | PeerConnection, data: bytes) -> None:
    for start in range(0, len(data), 65_536):
        piece = data[start : start + 65_536]
        assert await receiver.read(len(piece)) == piece


async def fill(world: SocketWorld, peer: PeerConnection) -> int:
    """Send until nothing more is taken for a while; how much was."""
    sock = peer.sock  # type: ignore[attr-defined] # of sockets
    sent = refusals = 0
    while refusals < 40:
        try:
            sent += sock.send(bytes(65_536))
            refusals = 0
        except BlockingIOError:
            refusals += 1
            await asyncio.sleep(0.005)
        assert sent < 64 << 20
    return sent
