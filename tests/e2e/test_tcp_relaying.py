"""TCP allocations (RFC 6062): coturn's client, and ours with slow, early and unwanted peers."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.calls import client_of
from tests.e2e.server import Server, serve
from tests.e2e.test_turnutils import BY_USER, HOSTS, LEGS, counts_of, run
from tests.waiting import LIMIT, eventually
from turnd.client.allocating import TCP
from turnd.client.errors import StunError
from turnd.client.uri import Transport
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.certificates import Authority
    from turnd.client.client import TurnClient
    from turnd.client.data_connection import DataConnection

RELAY = {"addresses": ["127.0.0.1", "::1"], "tcp": True}
MUCH = 20 << 20
MORE = 40 << 20
"""Bytes that no kernel's buffers hold on the way, from one end by the server to the other."""
STREAMS = pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def server(authority: Authority, folders: Path, engine: str) -> Iterator[Server]:
    pair = authority.issue("localhost")
    folder = Path(tempfile.mkdtemp(dir=folders))
    with serve(folder, tls=pair.section(), relay=RELAY) as running:
        yield running


@asynccontextmanager
async def listening_peer() -> AsyncIterator[tuple[asyncio.Queue[Stream], TransportAddress]]:
    came: asyncio.Queue[Stream] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await came.put((reader, writer))

    async with await asyncio.start_server(take, "127.0.0.1", 0, limit=65_536) as listening:
        yield came, TransportAddress(*listening.sockets[0].getsockname())


@asynccontextmanager
async def pipe(
    server: Server, transport: Transport, authority: Authority | None
) -> AsyncIterator[tuple[TurnClient, DataConnection, Stream]]:
    """A client with a TCP allocation, its data connection, and the peer's end."""
    async with (
        listening_peer() as (came, address),
        client_of(server, transport, authority=authority) as client,
    ):
        await client.allocate(transport=TCP)
        number = await client.connect(address)
        data = await client.bind_connection(number)
        peer = await asyncio.wait_for(came.get(), LIMIT)
        yield client, data, peer
        peer[1].close()
        await data.close()


def pieces(size: int = MUCH) -> Iterator[bytes]:
    for start in range(0, size, 65_536):
        yield hashlib.sha256(str(start).encode()).digest() * 2_048


async def digest_of(read: AsyncIterator[bytes], size: int = MUCH) -> tuple[int, str]:
    received, digest = 0, hashlib.sha256()
    async for chunk in read:
        received += len(chunk)
        digest.update(chunk)
        if received == size:
            break
    return received, digest.hexdigest()


async def from_client(data: DataConnection) -> AsyncIterator[bytes]:
    while chunk := await data.receive():
        yield chunk


async def from_peer(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await reader.read(65_536):
        yield chunk


@pytest.mark.parametrize("leg", ["tcp", "tls"])
@pytest.mark.parametrize("host", HOSTS)
async def test_coturns_client_loses_nothing(server: Server, leg: str, host: str) -> None:
    port = server.tls_port if leg == "tls" else server.port
    load = ("-T", "-m", "2", "-n", "25", "-z", "20", "-l", "170", "-p", str(port))
    options = (*load, *LEGS[leg], *HOSTS[host], *BY_USER)
    status, output = await run("turnutils_uclient", *options, host)
    assert status == 0, output
    counts = counts_of(output)
    assert counts.sent == counts.received >= 50, output
    assert "Total lost packets 0 " in output, output


@STREAMS
async def test_much_both_ways_at_once_arrives_as_it_was(
    server: Server, authority: Authority, transport: Transport
) -> None:
    expected = hashlib.sha256(b"".join(pieces())).hexdigest()
    async with pipe(server, transport, authority) as (_, data, (reader, writer)):

        async def upward() -> None:
            for piece in pieces():
                await data.send(piece)

        async def downward() -> None:
            for piece in pieces():
                writer.write(piece)
                await writer.drain()

        async with asyncio.timeout(2 * LIMIT):
            _, _, down, up = await asyncio.gather(
                upward(), downward(), digest_of(from_client(data)), digest_of(from_peer(reader))
            )
    assert up == down == (MUCH, expected)


@STREAMS
async def test_a_slow_reader_costs_the_server_no_memory(
    server: Server, authority: Authority, transport: Transport
) -> None:
    async with pipe(server, transport, authority) as (_, data, (_, writer)):
        before = server.memory_kib()
        sending = asyncio.create_task(send_all(writer))
        done, _ = await asyncio.wait({sending}, timeout=1)
        assert not done
        assert server.memory_kib() - before < 8 << 10
        async with asyncio.timeout(2 * LIMIT):
            size, _ = await digest_of(from_client(data), MORE)
            await sending
    assert size == MORE


async def send_all(writer: asyncio.StreamWriter) -> None:
    for piece in pieces(MORE):
        writer.write(piece)
        await writer.drain()


async def test_peers_come_by_permission_alone(server: Server) -> None:
    async with client_of(server, Transport.TCP) as client:
        relayed = (await client.allocate(transport=TCP)).relayed[0]
        refused = 'turnd_peer_connections_refused_total{reason="no_permission"}'
        before = server.metric(refused)
        with pytest.raises(ConnectionResetError):
            await come_and_read(relayed)
        await eventually(lambda: server.metric(refused) == before + 1)
        await client.create_permission("127.0.0.1")
        reader, writer = await asyncio.open_connection(*relayed)
        writer.write(b"early")
        async with asyncio.timeout(LIMIT):
            number, source = await client.next_attempt()
        assert source == writer.get_extra_info("sockname")
        data = await client.bind_connection(number)
        assert await data.receive() == b"early"
        await data.close()
        assert await reader.read() == b""
        writer.close()


async def come_and_read(address: TransportAddress) -> None:
    reader, writer = await asyncio.open_connection(*address)
    try:
        await reader.readexactly(1)
    finally:
        writer.close()


async def test_own_endpoints_are_no_peers_by_tcp_either(server: Server) -> None:
    async with client_of(server, Transport.TCP) as client:
        await client.allocate(transport=TCP)
        for port in (server.port, server.tls_port, server.admin_port):
            with pytest.raises(StunError, match="403"):
                await client.connect(TransportAddress("127.0.0.1", port))


async def test_the_end_of_the_allocation_ends_its_connections(server: Server) -> None:
    async with pipe(server, Transport.TCP, None) as (client, data, (reader, _)):
        await client.refresh(0)
        assert await asyncio.wait_for(data.receive(), LIMIT) == b""
        assert await asyncio.wait_for(reader.read(), LIMIT) == b""
        await eventually(lambda: server.metric('turnd_peer_connections{state="bound"}') == 0)


async def test_a_new_policy_ends_what_it_refuses(folder: Path) -> None:
    with serve(folder, relay=RELAY) as server:
        async with pipe(server, Transport.TCP, None) as (client, data, (reader, _)):
            server.rewrite(peers={"allow": ["::1/128"]})
            server.reload()
            assert await asyncio.wait_for(data.receive(), LIMIT) == b""
            assert await asyncio.wait_for(reader.read(), LIMIT) == b""
            with pytest.raises(StunError, match="403"):
                await client.connect(TransportAddress("127.0.0.1", 9))
        (ended,) = await eventually(lambda: server.logged("peer_disconnected"))
        assert ended["reason"] == "forbidden"


async def test_it_is_off_unless_asked_for_and_a_reload_turns_it_on(folder: Path) -> None:
    with serve(folder) as server:
        async with client_of(server, Transport.TCP) as client:
            with pytest.raises(StunError, match="442"):
                await client.allocate(transport=TCP)
            server.rewrite(relay={**server.config["relay"], "tcp": True})
            server.reload()
            await eventually(lambda: server.logged("reloaded"))
            assert (await client.allocate(transport=TCP)).relayed
