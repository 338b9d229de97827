"""Redis servers that end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.auth.redis_server import RedisSentinel, RedisServer
from tests.e2e.server import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

StartRedis = Callable[..., Awaitable[RedisServer]]


@pytest_asyncio.fixture
async def start_redis(tmp_path: Path) -> AsyncIterator[StartRedis]:
    """Starts further servers, each with its own options."""
    servers: list[RedisServer] = []

    async def start(*options: str) -> RedisServer:
        server = RedisServer(tmp_path / f"redis{len(servers)}", *options)
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest_asyncio.fixture
async def redis_server(start_redis: StartRedis) -> RedisServer:
    """One server with default settings."""
    return await start_redis()


@pytest_asyncio.fixture
async def sentinel(
    redis_server: RedisServer, start_redis: StartRedis, tmp_path: Path
) -> AsyncIterator[tuple[RedisSentinel, RedisServer, RedisServer]]:
    """A Sentinel, the master it watches, and its replica."""
    replica = await start_redis("--replicaof", f"127.0.0.1 {redis_server.port}")
    watcher = RedisSentinel(tmp_path / "sentinel")
    watcher.watch(redis_server)
    await watcher.start()
    yield watcher, redis_server, replica
    watcher.kill()


@pytest_asyncio.fixture
async def cluster(start_redis: StartRedis) -> list[RedisServer]:
    """Three masters that share all slots."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    buses = [free_port() for _ in range(3)]
    nodes = [await start_redis(*options, "--cluster-port", str(bus)) for bus in buses]
    bounds = (0, 5461, 10923, 16384)
    for number, node in enumerate(nodes):
        node.command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    for node in nodes:
        await eventually(partial(_knows_all, node))
    return nodes


def _knows_all(node: RedisServer) -> bool:
    info: bytes = node.command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info
