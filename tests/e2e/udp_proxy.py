"""A UDP proxy as its users write them: it prepends a PROXY header to whatever clients send."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from turnd.engine.proxy_v2 import Protocol, write_header
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _Upstream(asyncio.DatagramProtocol):
    """One socket a client: what the server sends there is the client's."""

    def __init__(self, front: _Front, client: Any) -> None:
        self._front, self._client = front, client

    def datagram_received(self, data: bytes, _: Any) -> None:
        if not self._front.transport.is_closing():
            self._front.transport.sendto(data, self._client)


class _Front(asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport

    def __init__(self, server: TransportAddress, source: str) -> None:
        self._server, self._source = server, source
        self._upstream: dict[Any, asyncio.Task[asyncio.DatagramTransport]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, client: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_on(data, client))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _pass_on(self, data: bytes, client: Any) -> None:
        if client not in self._upstream:
            loop = asyncio.get_running_loop()
            self._upstream[client] = loop.create_task(self._open(client))
        transport = await self._upstream[client]
        here = TransportAddress(*self.transport.get_extra_info("sockname")[:2])
        header = write_header(TransportAddress(*client[:2]), here, Protocol.DATAGRAM)
        transport.sendto(header + data)

    async def _open(self, client: Any) -> asyncio.DatagramTransport:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Upstream(self, client),
            local_addr=(self._source, 0),
            remote_addr=(self._server.host, self._server.port),
        )
        return transport

    async def close(self) -> None:
        self.transport.close()
        await asyncio.gather(*self._sending)
        for task in self._upstream.values():
            (await task).close()
        await asyncio.sleep(0)  # the loop closes sockets in its next turn


@asynccontextmanager
async def udp_proxy(server: TransportAddress, source: str) -> AsyncIterator[int]:
    """The port of 127.0.0.1 where it listens; it sends from `source`."""
    transport, front = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Front(server, source), local_addr=("127.0.0.1", 0)
    )
    front.transport = transport
    try:
        yield front.transport.get_extra_info("sockname")[1]
    finally:
        await front.close()
