"""Against a server of this project, with a peer on loopback."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import Exchange, scripted
from tests.runtime.servers import running
from tests.waiting import LIMIT, eventually
from turnd.client.allocating import TCP
from turnd.client.client import TurnClient
from turnd.client.errors import ClientError, StunError
from turnd.client.uri import Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from turnd.client.data_connection import DataConnection

RELAY = {"addresses": ["127.0.0.1"], "ports": "20000-59999", "tcp": True}


class Peer:
    """Listens, and hands over who connects."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self.connections = asyncio.Queue()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.connections.put((reader, writer))


@asynccontextmanager
async def peer() -> AsyncIterator[tuple[Peer, TransportAddress]]:
    listening = Peer()
    server = await asyncio.start_server(listening.take, "127.0.0.1", 0)
    async with server:
        yield listening, TransportAddress(*server.sockets[0].getsockname())


async def refused(relayed: TransportAddress) -> None:
    """Connecting is reset, while it goes on or at once afterwards."""

    async def come(stranger: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stranger, relayed)
        await loop.sock_recv(stranger, 1)

    with socket.socket() as stranger:
        stranger.setblocking(False)
        with pytest.raises(ConnectionResetError):
            await come(stranger)


async def exactly(data: DataConnection, size: int) -> bytes:
    received = b""
    async with asyncio.timeout(LIMIT):
        while len(received) < size:
            received += await data.receive()
    return received


async def test_bytes_pass_both_ways_and_ends_do_too(tmp_path: Path) -> None:
    async with running(tmp_path, relay=RELAY) as run, peer() as (listening, address):
        client = await run.client(transport=Transport.TCP)
        relayed = (await client.allocate(transport=TCP)).relayed[0]
        number = await client.connect(address)
        reader, writer = await listening.connections.get()
        assert writer.get_extra_info("peername") == relayed
        writer.write(b"early")
        data = await client.bind_connection(number)
        assert await exactly(data, 5) == b"early"
        await data.send(b"up")
        assert await reader.readexactly(2) == b"up"
        data.end()
        assert await reader.read() == b""
        writer.write(b"late")
        writer.close()
        assert await exactly(data, 4) == b"late"
        assert await data.receive() == b""
        await data.close()
        counts = run.server.pump.events.counts
        await eventually(lambda: counts.connections_ended == {"client": 1})
        with pytest.raises(StunError, match="400"):
            await client.bind_connection(number)


async def test_a_peer_that_comes_is_told_and_can_be_bound(tmp_path: Path) -> None:
    async with running(tmp_path, relay=RELAY) as run:
        client = await run.client(transport=Transport.TCP)
        relayed = (await client.allocate(transport=TCP)).relayed[0]
        await refused(relayed)
        await client.create_permission("127.0.0.1")
        reader, writer = await asyncio.open_connection(*relayed)
        number, source = await client.next_attempt()
        assert source == writer.get_extra_info("sockname")
        data = await client.bind_connection(number)
        await data.send(b"welcome")
        assert await reader.readexactly(7) == b"welcome"
        writer.close()
        assert await data.receive() == b""
        await data.close()


async def test_a_refusal_and_a_failure_are_told(tmp_path: Path) -> None:
    async with running(tmp_path, relay=RELAY) as run:
        client = await run.client(transport=Transport.TCP)
        await client.allocate(transport=TCP)
        server = run.server.endpoints.address(next(iter(run.server.endpoints.by_listener)))
        with pytest.raises(StunError, match="403"):
            await client.connect(server)
        async with peer() as (_, address):
            pass
        with pytest.raises(StunError, match="447"):
            await client.connect(address)


async def test_a_server_that_forgets_the_number_is_told() -> None:
    def forgetful(exchange: Exchange) -> None:
        exchange.succeed()

    async with scripted(forgetful, Transport.TCP) as server, TurnClient(server.server) as client:
        with pytest.raises(ClientError, match="CONNECTION-ID"):
            await client.connect(TransportAddress("192.0.2.1", 1))


async def test_by_udp_there_is_no_data_connection() -> None:
    def obliging(exchange: Exchange) -> None:
        exchange.succeed((a.CONNECTION_ID, 1))

    async with scripted(obliging, Transport.UDP) as server, TurnClient(server.server) as client:
        with pytest.raises(ClientError, match="TCP or TLS"):
            await client.bind_connection(1)
