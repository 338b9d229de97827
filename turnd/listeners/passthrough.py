"""Connections for somebody else, carried to a backend untouched: usually a web server.

Rules of the house
    1.  Every byte goes on as it came, those included that were read to see whose it is. Only a
        PROXY header goes ahead, where the backend wants one.
    2.  What one side does not take is not read from the other: some 200 KiB a direction wait here
        at most.
    3.  An end goes on as well, and the other direction stays open: how long is the backend's
        business, until it has ended itself. An error ends both.
    4.  A backend that does not answer costs the client a reset, and the log one line until it does.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.engine.proxy_v2 import write_header
from turnd.listeners.caps import StreamRefusal
from turnd.listeners.gate import NO_LINGER, reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.listeners.caps import StreamCaps
    from turnd.listeners.gate import Arrival
    from turnd.listeners.report import Report
    from turnd.stun.addresses import TransportAddress

CONNECT_TIMEOUT = 5.0
"""Seconds; a backend is near."""
LINGER = 30.0
"""Seconds that a client may still be there when the backend has said all."""
CHUNK = 65_536
"""Bytes that are read at once; twice as many wait in a reader, once as many in a writer."""

# A client that takes or acknowledges nothing for a minute is gone, idle ones are asked.
_WATCHED = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)

_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Backend:
    """Who serves what is not ours."""

    address: TransportAddress
    proxy_protocol: bool = False
    """Whether each connection begins with a PROXY header of version 2."""


@dataclass(slots=True)
class Passed:
    """What went through since the start."""

    open: int = 0
    """Connections at this moment."""
    connections: int = 0
    to_backend: int = 0
    """Bytes."""
    to_client: int = 0


class Passthrough:
    """All connections that are carried, of every endpoint."""

    def __init__(self, caps: StreamCaps, report: Report) -> None:
        self.passed = Passed()
        self._caps = caps
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._away = False

    def carry(self, arrival: Arrival, backend: Backend) -> None:
        """Take over a connection until it ends; then its place is free."""
        task = asyncio.get_running_loop().create_task(self._carry(arrival, backend))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End all at once."""
        for task in self._tasks:
            task.cancel()

    async def _carry(self, arrival: Arrival, backend: Backend) -> None:
        server: _Stream | None = None
        try:
            server = await self._connect(backend)
            if server is None:
                self._caps.refuse(StreamRefusal.BACKEND)
                return
            self.passed.connections += 1
            self.passed.open += 1
            try:
                await self._join(arrival, backend, server)
            finally:
                self.passed.open -= 1
        finally:
            if server is None:
                reset(arrival.connection)
            self._caps.release(arrival.counted)

    async def _connect(self, backend: Backend) -> _Stream | None:
        host, port = backend.address
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                stream = await asyncio.open_connection(host, port, limit=CHUNK)
        except OSError as error:  # TimeoutError is one
            if not self._away:
                self._away = True
                reason = os.strerror(error.errno) if error.errno else "no answer"
                self._report("backend_away", backend=str(backend.address), error=reason)
            return None
        if self._away:
            self._away = False
            self._report("backend_back", level="info", backend=str(backend.address))
        return stream

    async def _join(self, arrival: Arrival, backend: Backend, server: _Stream) -> None:
        """Carry both directions to their ends."""
        streams = [server]
        try:
            client = await asyncio.open_connection(sock=arrival.connection, limit=CHUNK)
            streams.append(client)
            for option in _WATCHED:
                arrival.connection.setsockopt(*option)
            if backend.proxy_protocol:
                server[1].write(write_header(arrival.client, arrival.local))
            self._count_up(len(arrival.received))
            server[1].write(arrival.received)
            await self._carry_both(client, server)
            client[1].close()
            await client[1].wait_closed()
        except* OSError:  # one of the two is gone: let the other know that something is missing
            for _, writer in streams:
                if not writer.is_closing():
                    writer.get_extra_info("socket").setsockopt(*NO_LINGER)
        finally:
            for _, writer in streams:
                writer.transport.abort()

    async def _carry_both(self, client: _Stream, server: _Stream) -> None:
        async with asyncio.TaskGroup() as group:
            down = group.create_task(_pump(server[0], client[1], self._count_down))
            up = group.create_task(_pump(client[0], server[1], self._count_up))
            await down
            await asyncio.wait([up], timeout=LINGER)
            up.cancel()

    def _count_up(self, size: int) -> None:
        self.passed.to_backend += size

    def _count_down(self, size: int) -> None:
        self.passed.to_client += size


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    while data := await source.read(CHUNK):
        count(len(data))
        target.write(data)
        await target.drain()
    # Once nothing waits any more: asyncio would pass the end on behind the last byte by itself, and
    # log a fault when the target is gone by then.
    target.transport.set_write_buffer_limits(0)
    await target.drain()
    target.write_eof()
