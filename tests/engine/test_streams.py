"""The streams of the portable engine, where they are more than the contract shows."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST, channel_data
from tests.engine.contract_streams import BOTH, padded, with_channel
from tests.engine.socket_worlds import PortableWorld, tls_sides
from tests.engine.worlds import SETTINGS
from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Drop,
    LegClosed,
    LegOpened,
    TlsSettings,
    Transport,
)
from turnd.engine.streams import ANSWER_RESERVE, Stream
from turnd.engine.tls import TlsSession
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnd.engine.base import Leg, RelayId

BACKLOG = 32 << 10
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
async def world() -> AsyncIterator[PortableWorld]:
    surroundings = PortableWorld()
    yield surroundings
    await surroundings.close()


def inner_of(world: PortableWorld, leg: Leg) -> Stream:
    connection = world.engine._connections[leg]
    assert isinstance(connection, Stream)
    return connection


class TlsByHand:
    """A TLS client whose bytes a test carries itself."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or tls_sides()[1]).wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost"
        )
        self.done = self.step()

    def step(self, received: bytes = b"") -> bool:
        self._incoming.write(received)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        return self._outgoing.read()

    async def finish(self, world: PortableWorld, sock: socket.socket) -> None:
        """The rest of the handshake, by a non-blocking socket."""

        def step() -> bool:
            try:
                self.done = self.step(sock.recv(65_536))
            except BlockingIOError:
                return False
            sock.sendall(self.to_send())
            return self.done

        await world.until(step)


@BOTH
async def test_a_slow_client_loses_its_newest_media_whole(
    world: PortableWorld, transport: Transport
) -> None:
    stream = await world.connect(transport, replace(SETTINGS, stream_backlog=BACKLOG))
    relay, relayed, peer = with_channel(world, stream)
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport
    sent = 0
    while not world.drops():
        for _ in range(50):
            peer.send(sent.to_bytes(4, "big") + bytes(1_197), relayed)
            sent += 1
        await world.until(partial(_has_handled, world, relay, sent))
        assert sent < 100_000
    world.engine.send_to_client(stream.leg, ANSWER)
    stream.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a read transport
    frames = []
    while (frame := await stream.receive()) != ANSWER:
        frames.append(int.from_bytes(frame[4:8], "big"))
        assert frame == channel_data(frame[4:8] + bytes(1_197))
    assert len(frames) == world.relayed(relay).packets_to_client
    assert frames == sorted(frames)
    # The oldest were kept, and what waited was about as much as the bound.
    assert frames[: len(frames) // 2] == list(range(len(frames) // 2))
    peer.send(b"flows again", relayed)
    assert await stream.receive() == channel_data(b"flows again")


def _arrived(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(100)
    except BlockingIOError:
        return None


def _has_handled(world: PortableWorld, relay: RelayId, number: int) -> bool:
    return world.relayed(relay).packets_to_client + world.drops().get(Drop.QUEUE_FULL, 0) == number


@BOTH
async def test_answers_have_a_reserve_that_is_bounded(
    world: PortableWorld, transport: Transport
) -> None:
    stream = await world.connect(transport, replace(SETTINGS, stream_backlog=BACKLOG))
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport
    for _ in range(1_000_000):
        world.engine.send_to_client(stream.leg, ANSWER)
        if world.drops():
            break
    assert world.drops() == {Drop.QUEUE_FULL: 1}
    waiting = inner_of(world, stream.leg)._backlog
    assert BACKLOG < len(waiting) <= BACKLOG + ANSWER_RESERVE + 100
    stream.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a read transport
    assert await stream.receive() == ANSWER
    await world.until(lambda: not waiting)


async def test_records_that_tls_makes_by_itself_are_bounded(
    world: PortableWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may ask for new keys without end, and never read what each brings."""
    stream = await world.connect(Transport.TLS, replace(SETTINGS, stream_backlog=BACKLOG))
    backlog = inner_of(world, stream.leg)._backlog
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport
    monkeypatch.setattr(TlsSession, "outgoing", lambda _: bytes(16_384))
    for _ in range(10_000):
        if stream.leg not in world.engine._connections:
            break
        stream.send(REQUEST)
        await asyncio.sleep(0)
    assert stream.leg not in world.engine._connections
    assert len(backlog) <= BACKLOG + 2 * ANSWER_RESERVE + 2 * 16_384


async def test_a_batch_leaves_by_one_write(world: PortableWorld) -> None:
    leg, theirs = world.adopt(Transport.TCP)
    await world.events(1)
    relay, relayed = world.open_relay(leg)
    peer = world.peer()
    world.permit(relay, peer)
    world.bind(relay, peer)
    stream = inner_of(world, leg)
    for _ in range(3):
        peer.send(b"four", relayed)
    await world.until(lambda: world.engine.counters().totals.packets_to_client == 3)
    assert not stream._backlog
    assert await world.until(partial(_arrived, theirs)) == padded(b"four") * 3


async def test_media_beyond_the_bound_goes_when_the_socket_takes_it(world: PortableWorld) -> None:
    """The bound is about what waits for the client, not about one batch."""
    stream = await world.connect(Transport.TCP, replace(SETTINGS, stream_backlog=2_000))
    _, relayed, peer = with_channel(world, stream)
    for _ in range(30):
        peer.send(bytes(1_200), relayed)
    for _ in range(30):
        assert await stream.receive() == channel_data(bytes(1_200))
    assert world.drops() == {}


async def test_a_tls_leg_opens_when_the_handshake_is_done(world: PortableWorld) -> None:
    leg, theirs = world.adopt(Transport.TLS)
    client = TlsByHand()
    theirs.sendall(client.to_send())
    await client.finish(world, theirs)
    assert await world.events(1) == [LegOpened(leg, "localhost")]


async def test_an_older_client_without_names(world: PortableWorld) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    leg, theirs = world.adopt(Transport.TLS)
    client = TlsByHand(context)
    client.tls = context.wrap_bio(client._incoming, client._outgoing)
    client.to_send()
    client.step()
    theirs.sendall(client.to_send())
    await client.finish(world, theirs)
    assert client.tls.version() == "TLSv1.2"
    assert await world.events(1) == [LegOpened(leg)]


async def test_what_was_read_before_the_handshake_belongs_to_it(world: PortableWorld) -> None:
    client = TlsByHand()
    hello = client.to_send()
    leg, theirs = world.adopt(Transport.TLS, first_bytes=hello[:30])
    theirs.sendall(hello[30:])
    await client.finish(world, theirs)
    client.tls.write(REQUEST)
    theirs.sendall(client.to_send())
    opened, message = await world.events(2)
    assert isinstance(opened, LegOpened)
    assert message == ClientMessage(leg, REQUEST)


async def test_a_handshake_that_fails_is_told_by_an_alert(world: PortableWorld) -> None:
    leg, theirs = world.adopt(Transport.TLS)
    theirs.sendall(b"\x16\x03\x01\x00\x05hello")
    assert await world.events(1) == [LegClosed(leg, CloseReason.HANDSHAKE_FAILED)]
    alert = await world.until(partial(_arrived, theirs))
    assert alert[0] == 21  # RFC 8446 section 5.1
    assert world.engine.counters().streams == 0


async def test_a_record_that_is_wrong_ends_the_stream(world: PortableWorld) -> None:
    leg, theirs = world.adopt(Transport.TLS)
    client = TlsByHand()
    theirs.sendall(client.to_send())
    await client.finish(world, theirs)
    await world.events(1)
    client.tls.write(REQUEST)
    record = bytearray(client.to_send())
    record[-1] ^= 1
    theirs.sendall(record)
    assert await world.events(1) == [LegClosed(leg, CloseReason.GARBAGE)]


async def test_a_farewell_by_tls_ends_the_stream(world: PortableWorld) -> None:
    leg, theirs = world.adopt(Transport.TLS)
    client = TlsByHand()
    theirs.sendall(client.to_send())
    await client.finish(world, theirs)
    await world.events(1)
    client.tls.write(REQUEST)
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    theirs.sendall(client.to_send())
    expected = [ClientMessage(leg, REQUEST), LegClosed(leg, CloseReason.CLIENT)]
    assert await world.events(2) == expected


async def test_new_certificates_are_for_new_streams(world: PortableWorld) -> None:
    stream = await world.connect(Transport.TLS)
    settings = replace(SETTINGS, tls=TlsSettings(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ()))
    world.engine.configure(stream.leg.listener, settings)
    stream.send(REQUEST)
    assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]
    leg, theirs = world._connect_to(stream.leg.listener, Transport.TLS, b"")
    theirs.sendall(TlsByHand().to_send())
    # That context has no certificate at all.
    assert await world.events(1) == [LegClosed(leg, CloseReason.HANDSHAKE_FAILED)]


async def test_tls_without_a_certificate_is_not_served_in_the_clear(world: PortableWorld) -> None:
    listener = world.engine.stream_listener(SETTINGS)
    leg, theirs = world._connect_to(listener, Transport.TLS, b"")
    theirs.sendall(REQUEST)
    assert await world.events(1) == [LegClosed(leg, CloseReason.SERVER)]


@BOTH
async def test_a_reset_is_an_end(world: PortableWorld, transport: Transport) -> None:
    leg, theirs = await _open(world, transport)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    theirs.close()
    assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]


@BOTH
async def test_writing_to_a_stream_that_is_gone_closes_it(
    world: PortableWorld, transport: Transport
) -> None:
    leg, theirs = await _open(world, transport)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    theirs.close()
    world.engine.send_to_client(leg, ANSWER)
    world.engine.send_to_client(leg, ANSWER)
    assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]
    assert world.engine.counters().streams == 0


async def test_media_for_a_stream_that_is_gone_closes_it(world: PortableWorld) -> None:
    leg, theirs = await _open(world, Transport.TCP)
    relay, relayed = world.open_relay(leg)
    peer = world.peer()
    world.permit(relay, peer)
    world.bind(relay, peer)
    # Its writing side alone, so that the next write is what finds out.
    inner_of(world, leg).sock.shutdown(socket.SHUT_WR)
    for _ in range(5):
        peer.send(b"media", relayed)
    assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]
    world.engine.close_relay(relay)  # Python's to do
    assert world.engine.counters().relays == 0
    theirs.close()


async def test_a_moved_relay_is_a_streams_no_longer(world: PortableWorld) -> None:
    leg, theirs = await _open(world, Transport.TCP)
    relay, _ = world.open_relay(leg)
    client = world.client()
    world.engine.move(relay, world.leg(client), world.clock.now + 600)
    theirs.sendall(padded(b"late"))
    await world.dropped(no_allocation=1)
    world.engine.close_leg(leg, CloseReason.SERVER)
    assert world.engine.counters().relays == 1


async def _open(world: PortableWorld, transport: Transport) -> tuple[Leg, socket.socket]:
    leg, theirs = world.adopt(transport)
    if transport is Transport.TLS:
        client = TlsByHand()
        theirs.sendall(client.to_send())
        await client.finish(world, theirs)
    opened = await world.events(1)
    assert isinstance(opened[0], LegOpened)
    return leg, theirs


async def test_any_stream_socket_will_do(world: PortableWorld) -> None:
    theirs, ours = socket.socketpair()
    listener = world.engine.stream_listener(SETTINGS)
    address = TransportAddress("192.0.2.1", 9)
    leg = world.engine.adopt(
        ours.detach(), listener, Transport.TCP, ClientAddress(address), ServerAddress(address)
    )
    with theirs:
        theirs.sendall(REQUEST)
        assert await world.events(2) == [LegOpened(leg), ClientMessage(leg, REQUEST)]


async def test_an_answer_before_the_handshake_ends_the_stream(world: PortableWorld) -> None:
    leg, _ = world.adopt(Transport.TLS)
    world.engine.send_to_client(leg, ANSWER)
    assert await world.events(1) == [LegClosed(leg, CloseReason.CLIENT)]
