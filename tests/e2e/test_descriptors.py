"""File descriptors run out: a clear error for new clients, nothing for live ones, no spin."""

from __future__ import annotations

import asyncio
import select
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.calls import allocated, client_of, still_serves, two_allocated
from tests.e2e.server import Server, Surroundings, serve
from tests.e2e.test_tcp_relaying import listening_peer
from tests.waiting import eventually
from turnd.client.allocating import TCP
from turnd.client.errors import StunError
from turnd.client.uri import Transport

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 96
LIMITED = Surroundings(prefix=("prlimit", f"--nofile={LIMIT}:{LIMIT}"))
WINDOW = 1.0
"""Seconds over which CPU time is taken."""


def cpu_share(server: Server) -> float:
    """CPU time over wall time, while nothing is asked of the server."""
    begin, used = time.monotonic(), server.cpu_seconds()
    select.select([], [], [], WINDOW)
    return (server.cpu_seconds() - used) / (time.monotonic() - begin)


async def allocate_until_refused(server: Server, clients: AsyncExitStack) -> StunError:
    """Allocations that stay until `clients` ends; the refusal that came at last."""
    for _ in range(LIMIT):
        client = await clients.enter_async_context(client_of(server))
        try:
            await client.allocate()
        except StunError as refusal:
            return refusal
    raise AssertionError(f"{LIMIT} allocations with {LIMIT} descriptors")


def refusal_logged(server: Server) -> dict[str, Any] | None:
    refusals = server.logged("request_refused")
    return next((record for record in refusals if record["code"] == 508), None)


async def test_relays_run_out_of_descriptors(folder: Path) -> None:
    with serve(folder, surroundings=LIMITED) as server:
        async with two_allocated(server) as (one, other):
            async with AsyncExitStack() as clients:
                refusal = await allocate_until_refused(server, clients)
                assert refusal.code == 508
                line = await eventually(lambda: refusal_logged(server))
                assert "descriptors" in str(line["reason"])
                assert cpu_share(server) < 0.2
                await one.sends_to(other, b"while there are none left")
                assert await one.client.refresh(600) == 600
            await eventually(lambda: server.logged("allocation_ended"))
            await still_serves(server)


async def test_accept_runs_out_of_descriptors(folder: Path) -> None:
    with serve(folder, surroundings=LIMITED) as server:
        async with allocated(server, Transport.TCP) as one, allocated(server) as other:
            async with AsyncExitStack() as streams:
                for _ in range(LIMIT + 20):
                    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    streams.callback(writer.close)
                paused = await eventually(lambda: server.logged("accept_paused"))
                assert paused[0]["error"] == "Too many open files"
                assert cpu_share(server) < 0.2
                assert len(server.logged("accept_paused")) == 1
                await one.sends_to(other, b"while there are none left")
            await eventually(lambda: server.logged("accept_resumed"))
            async with allocated(server, Transport.TCP) as late:
                await late.sends_to(one)


async def test_a_tcp_relays_accept_runs_out_of_descriptors(folder: Path) -> None:
    relay = {"addresses": ["127.0.0.1"], "tcp": True, "max_connections": 2 * LIMIT}
    with serve(folder, surroundings=LIMITED, relay=relay) as server:
        async with listening_peer() as (came, address), client_of(server, Transport.TCP) as client:
            relayed = (await client.allocate(transport=TCP)).relayed[0]
            await client.create_permission(relayed)
            data = await client.bind_connection(await client.connect(address))
            reader, writer = await came.get()
            async with AsyncExitStack() as peers:
                for _ in range(LIMIT + 20):
                    _, comer = await asyncio.open_connection(*relayed)
                    peers.callback(comer.close)
                paused = await eventually(lambda: server.logged("accept_paused"))
                assert paused[0]["error"] == "Too many open files"
                assert cpu_share(server) < 0.2
                assert len(server.logged("accept_paused")) == 1
                with pytest.raises(StunError, match="447"):
                    await client.connect(address._replace(port=1))
                (refused,) = await eventually(lambda: server.logged("request_refused"))
                assert "Too many open files" in refused["reason"]
                await data.send(b"while there are none left")
                assert await reader.readexactly(25) == b"while there are none left"
                assert await client.refresh(600) == 600
            await client.refresh(0)
            await data.close()
            writer.close()
        async with client_of(server, Transport.TCP) as late:
            assert (await late.allocate(transport=TCP)).relayed
        await still_serves(server)


async def test_the_health_page_is_back_after_a_shortage(folder: Path) -> None:
    """It may be deaf while no descriptor is left, not for longer."""
    with serve(folder, surroundings=LIMITED) as server:
        async with AsyncExitStack() as clients:
            await allocate_until_refused(server, clients)
        await eventually(lambda: server.get("/readyz", limit=1)[0] == 200)


@pytest.mark.parametrize("soft", [64])
async def test_the_soft_limit_is_raised_to_the_hard_one(folder: Path, soft: int) -> None:
    around = Surroundings(prefix=("prlimit", f"--nofile={soft}:4096"))
    with serve(folder, surroundings=around) as server:
        async with AsyncExitStack() as clients:
            for _ in range(soft):
                await clients.enter_async_context(allocated(server))
