"""A client that changes its way to the server, by servers that answer as a test scripts them."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import pytest

from tests.client.scripted import (
    PEER,
    RELAYED,
    Exchange,
    bare,
    data_indication,
    scripted,
)
from tests.waiting import eventually
from turnd.client.errors import ClientError, StunError, UnreachableError
from turnd.client.uri import Transport
from turnd.stun import attributes as a
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.message import MessageClass


class Ticketing:
    """A server that gives each request a ticket of its own."""

    def __init__(self) -> None:
        self.given = 0
        self.refuses = False
        self.seen: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        if exchange.frame[0] >= 0x40 or exchange.message.message_class != MessageClass.REQUEST:
            return
        if self.refuses:
            exchange.fail(437)
            return
        self.given += 1
        exchange.succeed((a.XOR_RELAYED_ADDRESS, RELAYED), (a.MOBILITY_TICKET, bytes([self.given])))

    @property
    def shown(self) -> list[bytes | None]:
        """The tickets of requests."""
        messages = [each.message for each in self.seen if each.frame[0] < 0x40]
        return [message.get(a.MOBILITY_TICKET) for message in messages]


async def test_each_time_with_the_ticket_that_came_last() -> None:
    ticketing = Ticketing()
    async with scripted(ticketing) as server, bare(server.server) as client:
        await client.allocate(mobility=True)
        for _ in range(2):
            await client.move()
        assert ticketing.shown == [b"", b"\x01", b"\x02"]
        assert len({each.client for each in ticketing.seen}) == 3


async def test_what_still_comes_by_the_former_connection_is_received() -> None:
    ticketing = Ticketing()
    async with scripted(ticketing) as server, bare(server.server) as client:
        await client.allocate(mobility=True)
        number = await client.channel_bind(PEER)
        await client.move()
        before, after = ticketing.seen[0], ticketing.seen[-1]
        before.send(encode_channel_data(number, b"old", padded=False))
        assert await client.receive() == (PEER, b"old")
        await client.send(PEER, b"up")
        await eventually(lambda: ticketing.seen[-1].frame[0] == 0x40)
        assert ticketing.seen[-1].client == after.client
        await client.leave()
        after.send(encode_channel_data(number, b"new", padded=False))
        assert await client.receive() == (PEER, b"new")


async def test_from_a_connection_that_has_ended_by_another_transport() -> None:
    ticketing = Ticketing()
    async with (
        scripted(ticketing, Transport.TCP) as tcp,
        scripted(ticketing) as udp,
        bare(tcp.server) as client,
    ):
        await client.allocate(mobility=True)
        await client.connection.close()
        with pytest.raises(UnreachableError):
            await client.receive()
        await client.move(udp.server)
        assert client.server == udp.server
        ticketing.seen[-1].send(data_indication((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x")))
        assert await client.receive() == (PEER, b"x")


async def test_a_refusal_leaves_all_as_it_was() -> None:
    ticketing = Ticketing()
    async with scripted(ticketing) as server, bare(server.server) as client:
        with pytest.raises(ClientError, match="no mobility ticket"):
            await client.move()
        await client.allocate(mobility=True)
        ticketing.refuses = True
        with pytest.raises(StunError, match="437"):
            await client.move()
        ticketing.refuses = False
        await client.refresh()
        assert ticketing.seen[-1].client == ticketing.seen[0].client
        await client.move()
        assert ticketing.shown[-1] == b"\x01"


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
async def test_who_is_cancelled_leaves_no_socket_open(transport: Transport) -> None:
    """At whatever turn of the loop it comes: connecting, asking, moving, closing."""
    async with scripted(Ticketing(), transport) as server:

        async def live() -> None:
            async with bare(server.server) as client:
                await client.allocate(mobility=True)
                for _ in range(2):
                    await client.move()

        async def is_cancelled_after(turns: int) -> bool:
            life = asyncio.create_task(live())
            for _ in range(turns):
                await asyncio.sleep(0)
            is_under_way = life.cancel()
            await asyncio.wait([life])
            if not is_under_way:
                await life
            return is_under_way

        before, turns = descriptors(), count(1)
        while await is_cancelled_after(next(turns)):
            await eventually(lambda: descriptors() <= before)
