from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.waiting import LIMIT, eventually
from turnd.auth import redis_watch
from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_connection import ERRORS, RedisLink
from turnd.auth.redis_watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.auth.conftest import StartRedis
    from tests.auth.redis_server import RedisServer


@dataclass
class Listener:
    """A running watch and what it told."""

    changed: list[bytes | None] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    watch: Watch | None = None
    run: asyncio.Task[None] | None = None

    async def started(self) -> None:
        self.listening.set()

    async def failure(self) -> BaseException | None:
        assert self.run is not None
        async with asyncio.timeout(LIMIT):
            await asyncio.wait({self.run})
        return self.run.exception()


async def forever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[Listener]:
    link = RedisLink(parse_redis_address(address), LIMIT)
    listener = Listener()
    listener.watch = Watch(link, [b"turnd:"], listener.changed.append, listener.refused.append)
    listener.run = asyncio.ensure_future(listener.watch.run(listener.started, forever))
    async with asyncio.timeout(LIMIT):
        await listener.listening.wait()
    try:
        yield listener
    finally:
        listener.run.cancel()
        await asyncio.gather(listener.run, return_exceptions=True)
        await link.close()


async def test_changes_by_anyone_are_heard(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as listener:
        assert listener.watch is not None
        assert listener.watch.servers == (("127.0.0.1", redis_server.port),)
        redis_server.command("SET", "other:x", 1)
        redis_server.command("SET", "turnd:a", 1)
        redis_server.command("HSET", "turnd:b", "c", 1)
        redis_server.command("DEL", "turnd:a")
        await eventually(lambda: listener.changed == [b"turnd:a", b"turnd:b", b"turnd:a"])
        assert not listener.refused


async def test_expiry_and_a_flush_are_heard(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as listener:
        redis_server.command("SET", "turnd:a", 1, "PX", 1)
        await eventually(lambda: listener.changed == [b"turnd:a", b"turnd:a"])
        redis_server.command("FLUSHDB")
        await eventually(lambda: listener.changed[2:] == [None])


async def test_a_quiet_server_is_pinged(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_watch, "_QUIET", 2.0)
    async with listening(redis_server.url) as listener:
        await eventually(lambda: "cmdstat_ping" in redis_server.command("INFO", "commandstats"))
        redis_server.command("SET", "turnd:a", 1)
        await eventually(lambda: listener.changed == [b"turnd:a"])


async def test_a_frozen_server_fails_the_watch(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_watch, "_QUIET", 0.05)
    async with listening(redis_server.url) as listener:
        redis_server.freeze()
        assert isinstance(await listener.failure(), ERRORS)


async def test_a_killed_server_fails_the_watch(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as listener:
        redis_server.kill()
        assert isinstance(await listener.failure(), ERRORS)


async def test_where_tracking_is_refused_only_the_pulse_remains(start_redis: StartRedis) -> None:
    server = await start_redis("--rename-command", "CLIENT", "")
    async with listening(server.url) as listener:
        assert len(listener.refused) == 1
        assert "unknown command" in listener.refused[0]
        server.kill()
        assert isinstance(await listener.failure(), ERRORS)


async def test_every_server_of_a_cluster_is_listened_to(cluster: list[RedisServer]) -> None:
    async with listening(f"redis+cluster://127.0.0.1:{cluster[0].port}") as listener:
        keys = {b"turnd:%d" % number for number in range(30)}
        link = RedisLink(parse_redis_address(f"redis+cluster://127.0.0.1:{cluster[1].port}"))
        for key in keys:
            await link.execute("SET", key, 1)
        await link.close()
        await eventually(lambda: set(listener.changed) == keys)
        cluster[2].kill()
        assert isinstance(await listener.failure(), ERRORS)


async def test_what_runs_beside_it_ends_it(redis_server: RedisServer) -> None:
    link = RedisLink(parse_redis_address(redis_server.url))
    watch = Watch(link, [b"turnd:"], lambda _: None, lambda _: None)

    async def listening() -> None:
        assert watch.servers

    async def failing() -> None:
        raise TimeoutError("the realm cannot be read")

    with pytest.raises(TimeoutError, match="the realm"):
        await watch.run(listening, failing)
    await link.close()
