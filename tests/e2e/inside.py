"""Clients of ours that live in a network namespace, while their test does not."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import asyncio_dgram

from tests.e2e.server import PASSWORD, USER
from turnd.client.client import TurnClient
from turnd.client.stream_connection import StreamConnection
from turnd.client.udp_connection import UdpConnection
from turnd.client.uri import Server as Target
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.namespaces import Namespace
    from turnd.client.connection import Connection

ANSWER_LIMIT = 30.0


@asynccontextmanager
async def inside(
    host: Namespace, server: str, transport: Transport, port: int = 3478
) -> AsyncIterator[TurnClient]:
    """A client by UDP or TCP, connected."""
    with connected(host, server, transport, port) as sock:
        async with client_by(sock, transport) as client:
            yield client


def connected(host: Namespace, server: str, transport: Transport, port: int) -> socket.socket:
    """A socket inside, connected to a server."""
    kind = socket.SOCK_DGRAM if transport is Transport.UDP else socket.SOCK_STREAM
    sock = host.open_socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind)
    sock.connect((server, port))
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def client_by(sock: socket.socket, transport: Transport) -> AsyncIterator[TurnClient]:
    """A client that uses a connected socket, which it closes."""

    async def connect(*_: Any) -> Connection:
        if transport is Transport.UDP:
            return UdpConnection(await asyncio_dgram.from_socket(sock))  # type: ignore[arg-type]
        return StreamConnection(*await asyncio.open_connection(sock=sock))

    host, port = sock.getpeername()[:2]
    client = TurnClient(Target(host, port, transport), USER, PASSWORD)
    with patch("turnd.client.session.connect", connect):
        await client.__aenter__()
    try:
        yield client
    finally:
        await client.close()
