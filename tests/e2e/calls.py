"""Allocations on a running server, and packets between them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.e2e.server import PASSWORD, USER, Server
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.client.uri import Server as Target
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.certificates import Authority
    from turnd.stun.addresses import RelayedAddress

ANSWER_LIMIT = 30.0


def client_of(
    server: Server,
    transport: Transport = Transport.UDP,
    user: tuple[str, str] = (USER, PASSWORD),
    authority: Authority | None = None,
) -> TurnClient:
    """A client that is not connected yet; TLS and DTLS need the authority."""
    trust = Trust(str(authority.file)) if authority else Trust()
    port = server.tls_port if transport.is_secured else server.port
    options = ClientOptions(connect=ConnectOptions(trust=trust))
    return TurnClient(Target("127.0.0.1", port, transport), *user, options)


class Call:
    """An allocation and its relayed transport address."""

    def __init__(self, client: TurnClient, relayed: RelayedAddress) -> None:
        self.client = client
        self.relayed = relayed

    async def sends_to(self, other: Call, data: bytes = b"over the relay") -> None:
        """By a Send indication (or a channel that is bound), to the other's relayed address."""
        await self.client.create_permission(other.relayed)
        await other.client.create_permission(self.relayed)
        await self.client.send(other.relayed, data)
        async with asyncio.timeout(ANSWER_LIMIT):
            peer, got = await other.client.receive()
        assert tuple(peer) == tuple(self.relayed)
        assert got == data


@asynccontextmanager
async def allocated(
    server: Server,
    transport: Transport = Transport.UDP,
    user: tuple[str, str] = (USER, PASSWORD),
    authority: Authority | None = None,
) -> AsyncIterator[Call]:
    """A fresh allocation; deleted at the end."""
    async with client_of(server, transport, user, authority) as client:
        answer = await client.allocate()
        yield Call(client, answer.relayed[0])


@asynccontextmanager
async def two_allocated(
    server: Server, user: tuple[str, str] = (USER, PASSWORD)
) -> AsyncIterator[tuple[Call, Call]]:
    """Two allocations by UDP that have sent each other a packet."""
    async with allocated(server, user=user) as one, allocated(server, user=user) as other:
        await one.sends_to(other)
        await other.sends_to(one)
        yield one, other


async def still_serves(server: Server) -> None:
    """New clients get allocations, and packets pass between them."""
    async with two_allocated(server):
        pass
