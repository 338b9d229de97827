from __future__ import annotations

import asyncio
import socket

import pytest

from tests.client.scripted import REQUEST, echo, scripted
from tests.ports import closed_port
from tests.waiting import eventually
from turnd.client.connection import connect
from turnd.client.errors import UnreachableError
from turnd.client.udp_connection import UdpConnection
from turnd.client.uri import Server, Transport
from turnd.stun.addresses import ChannelNumber
from turnd.stun.channel_data import encode_channel_data


async def test_datagrams_go_both_ways() -> None:
    async with scripted(echo) as server:
        connection = await connect(server.server)
        await connection.send(REQUEST)

        assert await connection.receive() == REQUEST
        assert not connection.reliable
        assert connection.tls is None
        assert connection.remote == ("127.0.0.1", server.server.port)
        assert connection.local == server.seen[0].client
        await connection.close()


async def test_a_refused_packet_is_counted_and_the_next_one_leaves() -> None:
    with closed_port(socket.SOCK_DGRAM) as port:
        connection = await connect(Server("127.0.0.1", port, Transport.UDP))
        assert isinstance(connection, UdpConnection)
        for number in (1, 2):
            await connection.send(REQUEST)
            await eventually(lambda: connection.refusals >= number)  # noqa: B023 - awaited at once

        assert connection.lost == 2
        await connection.close()


async def test_an_error_does_not_end_receiving() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", 0))
        late.connect(late.getsockname())  # deaf to others until it knows whom to talk to
        connection = await connect(Server("127.0.0.1", late.getsockname()[1], Transport.UDP))
        await connection.send(REQUEST)
        late.connect(connection.local)
        late.send(b"late")

        assert await connection.receive() == b"late"
    await connection.close()


async def test_a_closed_socket_neither_sends_nor_receives() -> None:
    async with scripted(echo) as server:
        connection = await connect(server.server)
        waiting = asyncio.create_task(connection.receive())
        await asyncio.sleep(0)
        await connection.close()

        for attempt in (waiting, connection.send(b""), connection.receive()):
            with pytest.raises(UnreachableError, match="closed"):
                await attempt


def test_channel_data_is_not_padded() -> None:
    data = UdpConnection.channel_data(None, 0x4001, b"abc")  # type: ignore[arg-type] # no socket needed

    assert data == encode_channel_data(ChannelNumber(0x4001), b"abc", padded=False)
