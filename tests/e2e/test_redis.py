"""Real clients, credentials from a real Redis: turnd's schema, and coturn's as coturn writes it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.auth.redis_server import RedisServer
from tests.e2e.bare import ask, request, signed_allocate
from tests.e2e.calls import allocated, two_allocated
from tests.e2e.server import LIMIT, REALM, TURND, rest_credentials, serve
from tests.e2e.test_turnutils import run, side_by_side, uclient
from tests.waiting import eventually
from turnd.stun import attributes as a
from turnd.stun.message import Method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.server import Server

BY_REDIS = ("dora", "from Redis")
FROZEN_LIMIT = 20.0
"""Seconds; less than a client waits before it gives up."""


@pytest_asyncio.fixture
async def redis(folder: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(folder / "redis")
    await server.start()
    yield server
    server.kill()


def by_redis(redis: RedisServer, schema: str) -> dict[str, object]:
    return {"redis": redis.url, "redis_schema": schema}


async def add_user(server: Server) -> None:
    """As an admin does it: the password by standard input."""
    process = await asyncio.create_subprocess_exec(
        *(str(TURND), "user", "add", "--stdin", "--config", str(server.config_file), BY_REDIS[0]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(LIMIT):
        output, _ = await process.communicate(f"{BY_REDIS[1]}\n".encode())
    assert process.returncode == 0, output.decode()


async def test_a_user_that_turnd_wrote(folder: Path, redis: RedisServer) -> None:
    with serve(folder, auth=by_redis(redis, "turnd")) as server:
        await add_user(server)
        async with two_allocated(server, user=BY_REDIS):
            pass
        name, password = BY_REDIS
        await uclient(server, "udp", "127.0.0.1", "-y", "-s", "-u", name, "-w", password)


async def test_a_user_and_a_secret_that_coturn_wrote(folder: Path, redis: RedisServer) -> None:
    database = f"ip=127.0.0.1 port={redis.port} dbname=0"
    with serve(folder, auth=by_redis(redis, "coturn")) as server:
        name, password = BY_REDIS
        for what in (("-a", "-u", name, "-p", password), ("-s", "their-secret")):
            status, output = await run("turnadmin", *what, "-r", REALM, "-N", database)
            assert status == 0, output
        # Ours ask again where Redis is slow, and what they were let in by stays known.
        for user in ((name, password), rest_credentials("eve", "their-secret")):
            async with two_allocated(server, user=user):
                pass
        await side_by_side(
            uclient(server, "udp", "127.0.0.1", "-y", "-s", "-u", name, "-w", password),
            uclient(server, "udp", "127.0.0.1", "-y", "-s", "-u", "eve", "-W", "their-secret"),
        )


async def test_redis_hangs_and_calls_go_on(folder: Path, redis: RedisServer) -> None:
    """Relaying, refreshing and known users are served; an unknown one gets 500, and in time."""
    with serve(folder, auth=by_redis(redis, "turnd")) as server:
        await add_user(server)
        async with two_allocated(server, user=BY_REDIS) as (one, other):
            redis.freeze()
            async with asyncio.timeout(FROZEN_LIMIT):
                await one.sends_to(other, b"while Redis hangs")
                assert await one.client.refresh(600) == 600
                async with allocated(server, user=BY_REDIS):
                    pass
                assert refusal_of_a_stranger(server) == 500
            await eventually(lambda: server.logged("redis_away"))
            redis.thaw()


def refusal_of_a_stranger(server: Server) -> int | None:
    """Nobody knows a key to sign this refusal with: clients ignore it, so a bare socket asks."""
    address = ("127.0.0.1", server.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        challenge = ask(client, request(Method.ALLOCATE), address)
        answer = ask(client, signed_allocate(challenge, "stranger", "unknown"), address)
    error = answer.get(a.ERROR_CODE)
    return error and error.code
