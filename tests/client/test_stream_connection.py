from __future__ import annotations

import asyncio
import socket

import pytest

from tests.client.scripted import REQUEST, Exchange, scripted
from tests.waiting import eventually
from turnd.client.connection import connect
from turnd.client.errors import UnreachableError
from turnd.client.stream_connection import StreamConnection
from turnd.client.uri import Server, Transport

RESET = socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"


async def test_frames_survive_any_split() -> None:
    def split(exchange: Exchange) -> None:
        for byte in exchange.frame * 2:
            exchange.send(bytes([byte]))

    async with scripted(split, Transport.TCP) as server:
        connection = await connect(server.server)
        await connection.send(REQUEST)

        assert [await connection.receive() for _ in range(2)] == [REQUEST, REQUEST]
        assert connection.reliable
        assert connection.refusals == 0
        assert connection.tls is None
        assert connection.remote == ("127.0.0.1", server.server.port)
        await connection.close()


async def test_channel_data_is_padded() -> None:
    async with scripted(lambda e: e.send(e.frame + b"\0"), Transport.TCP) as server:
        connection = await connect(server.server)
        await connection.send(connection.channel_data(0x4001, b"abc"))

        assert await connection.receive() == b"\x40\x01\0\x03abc"
        await connection.close()


async def test_a_server_that_closes_is_told() -> None:
    async with scripted(lambda _: server.close_streams(), Transport.TCP) as server:
        connection = await connect(server.server)
        await connection.send(REQUEST)

        with pytest.raises(UnreachableError, match="closed the connection"):
            await connection.receive()
        await connection.close()
        with pytest.raises(UnreachableError, match="is closed"):
            await connection.send(REQUEST)


async def test_a_reset_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        connection = await connect(Server("127.0.0.1", port, Transport.TCP))
        accepted, _ = listening.accept()
        accepted.setsockopt(*RESET)
        accepted.close()

        with pytest.raises(UnreachableError, match="the connection broke"):
            await connection.receive()
        with pytest.raises(UnreachableError):
            await connection.send(REQUEST)
        await connection.close()


async def test_a_reset_at_once_leaves_no_address() -> None:
    """It may come between connecting and asking whom one is connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        accepted.setsockopt(*RESET)
        accepted.close()

        def is_reset() -> bool:
            try:
                ours.getpeername()
            except OSError:
                return True
            return False

        await eventually(is_reset)
        connection = StreamConnection(*await asyncio.open_connection(sock=ours))
        with pytest.raises(UnreachableError, match="broke at once"):
            _ = connection.remote
        await connection.close()


async def test_who_gives_up_closing_may_close_again() -> None:
    async with scripted(lambda _: None, Transport.TCP) as server:
        connection = await connect(server.server)
        closing = asyncio.create_task(connection.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        await connection.close()


async def test_what_is_no_stun_is_told() -> None:
    async with scripted(lambda e: e.send(b"SSH-2.0-server"), Transport.TCP) as server:
        connection = await connect(server.server)
        await connection.send(REQUEST)

        with pytest.raises(UnreachableError, match="does not speak STUN"):
            await connection.receive()
        await connection.close()
