"""SIGTERM drains; a second one, or the end of the patience, ends at once."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bare import request
from tests.e2e.calls import allocated, client_of, two_allocated
from tests.e2e.server import serve
from tests.waiting import LIMIT, eventually
from turnd.client.errors import StunError
from turnd.stun.message import Method

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.server import Server


def sigterm(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)


async def ended(server: Server, limit: float = LIMIT) -> int:
    await eventually(lambda: server.process.poll() is not None, limit)
    return server.process.wait()


async def draining(server: Server) -> None:
    await eventually(lambda: server.get("/readyz")[0] == 503)
    assert "draining" in server.get("/readyz")[1]
    assert server.get("/healthz")[0] == 200


async def test_sigterm_lets_the_living_finish_and_nobody_in(folder: Path) -> None:
    with serve(folder, shutdown={"timeout": 50}) as server:
        async with two_allocated(server) as (one, other):
            sigterm(server)
            await draining(server)
            async with client_of(server) as late:
                with pytest.raises(StunError, match="508"):
                    await late.allocate()
            assert await one.client.refresh(600) == 600
            await one.sends_to(other, b"while it drains")
            assert server.process.poll() is None
        assert await ended(server) == 0
        assert server.logged("draining")
        assert server.logged("stopped")


async def test_sigterm_without_allocations_ends_at_once(folder: Path) -> None:
    with serve(folder, shutdown={"timeout": 50}) as server:
        sigterm(server)
        assert await ended(server) == 0


async def test_a_second_sigterm_ends_at_once(folder: Path) -> None:
    with serve(folder, shutdown={"timeout": 50}) as server:
        async with client_of(server) as client:
            await client.allocate()
            sigterm(server)
            await draining(server)
            sigterm(server)
            assert await ended(server) == 0
            await client.close(delete=False)


async def test_patience_has_an_end(folder: Path) -> None:
    with serve(folder, shutdown={"timeout": 1}) as server:
        async with client_of(server) as client:
            await client.allocate()
            begin = time.monotonic()
            sigterm(server)
            assert await ended(server) == 0
            assert 0.9 < time.monotonic() - begin < LIMIT
            await client.close(delete=False)


async def test_the_end_closes_streams(folder: Path) -> None:
    with serve(folder) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(LIMIT):
            writer.write(request(Method.BINDING))
            assert await reader.read(2048)  # it is accepted, not merely queued by the kernel
            sigterm(server)
            assert await reader.read() == b""
        writer.close()
        assert await ended(server) == 0


async def test_sigint_drains_too(folder: Path) -> None:
    with serve(folder, shutdown={"timeout": 50}) as server:
        async with allocated(server):
            server.process.send_signal(signal.SIGINT)
            await draining(server)
        assert await ended(server) == 0
