"""What whoever is up to no good may send by TCP and TLS, on connections of their own.

Made up at random, the same in every run: nobody else may be disturbed, and no worker break.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST, Allocation, channel_data
from tests.engine.contract_streams import BOTH, padded, with_channel
from tests.engine.socket_worlds import tls_sides
from turnd.engine.base import ClientMessage, Transport

if TYPE_CHECKING:
    from tests.engine.socket_worlds import SocketStreamClient, SocketWorld

RESET = struct.pack("ii", 1, 0)
CONNECTION_BIND = b"\x00\x0b" + REQUEST[2:]
STREAMS, TINY = 12, 32_768


class Forger:
    """Makes up what a connection says."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def message(self) -> bytes:
        """Something like a message: sound, wrong, or cut."""
        random = self.random
        return random.choice(
            [
                REQUEST[:2] + random.randbytes(2) + REQUEST[4:],
                REQUEST[: random.randrange(1, len(REQUEST))],
                b"\x40\0\xff\xff" + random.randbytes(random.randrange(200)),
                padded(b"") * random.randrange(1, 2_000),
                channel_data(random.randbytes(random.randrange(1, 9))),  # not padded
                random.randbytes(random.randrange(1, 90)),
                CONNECTION_BIND,
                REQUEST * random.randrange(1, 300),
                *(padded(random.randbytes(random.randrange(3_000))) for _ in range(2)),
            ]
        )

    def record(self, hello: bytes) -> bytes:
        """Something like a TLS record, from a client's first one."""
        random = self.random
        match random.randrange(5):
            case 0:
                forged = bytearray(hello)
                for _ in range(random.randrange(1, 4)):
                    # Of a name that is not ASCII the ssl module complains to stderr.
                    forged[random.randrange(len(hello))] = random.randrange(128)
                return bytes(forged)
            case 1:
                return hello[: random.randrange(1, len(hello))]
            case 2:
                kind, size = random.choice([20, 21, 22, 23, 24]), random.choice([0, 1, 2, 60])
                record = struct.pack("!BHH", kind, 0x0303, size) + random.randbytes(size)
                return record * random.randrange(1, 400)
            case 3:
                length = random.randrange(1 << 24).to_bytes(3, "big")
                body = b"\x01" + length + random.randbytes(random.randrange(16_000))
                return struct.pack("!BHH", 22, 0x0301, len(body)) + body
            case _:  # a message in records of a byte each
                records = (b"\x16\x03\x01\0\x01" + bytes([byte]) for byte in hello[5:])
                return b"".join(records)

    def pieces(self, said: bytes) -> list[bytes]:
        """Cut wherever."""
        cuts = sorted(self.random.choices(range(len(said) + 1), k=self.random.randrange(4)))
        return [said[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]


class Bystander:
    """A client that is served, whatever others do."""

    def __init__(self, world: SocketWorld, stream: SocketStreamClient) -> None:
        self._world = world
        self._stream = stream
        _, self._relayed, self._peer = with_channel(world, stream)

    async def is_served(self) -> None:
        """Its media passes both ways, and so do its request and the answer."""
        stream, world = self._stream, self._world
        stream.send(padded(b"up") + REQUEST)
        assert await self._peer.receive() == (b"up", self._relayed)
        self._peer.send(b"down", self._relayed)
        assert await stream.receive() == channel_data(b"down")
        message = ClientMessage(stream.leg, REQUEST)
        await world.until(lambda: message in world.engine.poll())
        world.engine.send_to_client(stream.leg, ANSWER)
        assert await stream.receive() == ANSWER


def first_flight() -> bytes:
    """A client's hello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_sides()[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def leave(sock: socket.socket, random: Random) -> None:
    """In one way or another."""
    match random.randrange(3):
        case 0:
            with suppress(OSError):  # it was sent away before
                sock.shutdown(socket.SHUT_WR)
        case 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def say(sock: socket.socket, pieces: list[bytes]) -> None:
    """As much as is taken."""
    try:
        for piece in pieces:
            sock.send(piece)
    except (BlockingIOError, ConnectionError):
        return  # it listens no more


async def is_alone(world: SocketWorld, bystander: Bystander) -> None:
    """The others go, by themselves or because they take too long."""
    world.clock.now += 60
    world.engine.tick()

    def have_gone() -> bool:
        world.engine.poll()
        return world.engine.counters().streams == 1

    await world.until(have_gone)
    await bystander.is_served()
    assert world.engine.faults == 0


class Hostile:
    @BOTH
    @pytest.mark.parametrize("seed", range(3))
    async def test_messages_harm_nobody_else(
        self, world: SocketWorld, transport: Transport, seed: int
    ) -> None:
        bystander = Bystander(world, await world.connect(transport))
        forger = Forger(seed)
        strangers = [await world.connect(transport) for _ in range(STREAMS // 2)]
        clients = [await world.connect(transport) for _ in range(STREAMS // 2)]
        for client in clients:
            with_channel(world, client)
        for stream in strangers + clients:
            for piece in forger.pieces(b"".join(forger.message() for _ in range(8))):
                stream.send(piece)
            await bystander.is_served()
            if forger.random.randrange(2):
                stream.writer.transport.abort()
            else:
                stream.close()
        await is_alone(world, bystander)

    @pytest.mark.parametrize("seed", range(3))
    async def test_records_harm_nobody_else(self, world: SocketWorld, seed: int) -> None:
        bystander = Bystander(world, await world.connect(Transport.TLS))
        forger = Forger(seed)
        for _ in range(30):
            _, sock = world.adopt(Transport.TLS)
            records = b"".join(forger.record(first_flight()) for _ in range(3))
            say(sock, forger.pieces(records))
            await bystander.is_served()
            leave(sock, forger.random)
        await is_alone(world, bystander)

    @BOTH
    async def test_tiny_messages_keep_nobody_waiting(
        self, world: SocketWorld, transport: Transport
    ) -> None:
        bystander = Allocation(world)
        streams = [await world.connect(transport) for _ in range(STREAMS)]
        flooded = [with_channel(world, stream)[0] for stream in streams]
        for stream in streams:
            stream.send(padded(b"") * TINY)
        handled = 0
        for _ in range(5):
            bystander.send(channel_data(b"media"))
            await bystander.peer.receive()
            before, handled = (
                handled,
                sum(world.relayed(relay).packets_from_client for relay in flooded),
            )
            assert handled - before < STREAMS * TINY / 4
        assert world.engine.faults == 0
