"""Users, secrets and quotas in Redis, as a server's clients meet them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from tests.runtime.servers import ALICE, BOB, REALM, Running, rest, running
from tests.waiting import eventually
from turnd.client.errors import ClientError, StunError
from turnd.stun.addresses import TransportAddress
from turnd.stun.attributes import ERROR_CODE
from turnd.stun.keys import PasswordAlgorithm, long_term_key
from turnd.stun.message import decode_untrusted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.auth.conftest import StartRedis
    from tests.auth.redis_server import RedisServer
    from tests.runtime.conftest import WaitForRedis
    from turnd.engine.base import Leg


def add_user(redis: RedisServer, user: tuple[str, str], realm: str = REALM) -> None:
    """In coturn's schema."""
    key = long_term_key(user[0], realm, user[1], PasswordAlgorithm.MD5).hex()
    redis.command("SET", f"turn/realm/{realm}/user/{user[0]}/key", key)


def coturn(redis: RedisServer, **more: Any) -> dict[str, Any]:
    return {"redis": redis.url, "redis_schema": "coturn", **more}


async def refusal(run: Running, user: tuple[str, str]) -> int:
    """The code of the error that an Allocate gets; 0: it succeeded.

    500 while Redis is away comes without integrity, which a client may not believe.
    """
    client = await run.client(user)
    unsigned: list[int] = []
    send = run.server.engine.send_to_client

    def listen(leg: Leg, data: bytes) -> None:
        error = decode_untrusted(data).get(ERROR_CODE)
        if error is not None and error.code == 500:
            unsigned.append(500)
        send(leg, data)

    with patch.object(run.server.engine, "send_to_client", listen):
        asked = asyncio.ensure_future(client.allocate())
        await eventually(lambda: asked.done() or unsigned)
    if not asked.done():
        asked.cancel()
        await asyncio.wait([asked])
        return unsigned[0]
    error = asked.exception()
    if isinstance(error, StunError):
        return int(error.code)
    await asked
    await client.close()
    return 0


async def quotas_are(run: Running, total: int, per_user: int) -> None:
    quotas = run.server.turn.state.realms[REALM].quotas
    await eventually(lambda: (quotas.total, quotas.per_user) == (total, per_user))


@pytest.mark.usefixtures("patient")
async def test_quotas_of_coturn_s_schema(tmp_path: Path, redis_server: RedisServer) -> None:
    add_user(redis_server, BOB)
    redis_server.command("SET", f"turn/realm/{REALM}/user-quota", "1")
    redis_server.command("SET", f"turn/realm/{REALM}/total-quota", "2")
    limits = {"allocations_per_user": 7, "allocations_per_client": 9}
    async with running(tmp_path, auth=coturn(redis_server), limits=limits) as run:
        await quotas_are(run, 2, 1)
        first = await run.client(BOB)
        await first.allocate()
        assert await refusal(run, BOB) == 486
        redis_server.command("SET", f"turn/realm/{REALM}/user-quota", "5")
        await quotas_are(run, 2, 5)
        await (await run.client(BOB)).allocate()
        assert await refusal(run, BOB) == 486
        await run.reload(limits={"allocations_per_user": 3})
        await quotas_are(run, 2, 5)
        redis_server.command("DEL", f"turn/realm/{REALM}/user-quota")
        await quotas_are(run, 2, 3)
        await run.reload(auth={"users": dict([ALICE])})
        await quotas_are(run, 0, 3)


@pytest.mark.usefixtures("patient")
async def test_another_redis_and_another_schema(
    tmp_path: Path, start_redis: StartRedis, redis_server: RedisServer
) -> None:
    other = await start_redis()
    add_user(redis_server, ALICE)
    add_user(other, BOB)
    async with running(tmp_path, auth=coturn(redis_server)) as run:
        alice = await run.client(ALICE)
        await alice.allocate()
        assert await refusal(run, BOB) == 401
        old = run.server.sources.stores[REALM]
        result = await run.reload(auth=coturn(other))
        assert result["live"] == ["auth.redis"]
        assert run.server.sources.stores[REALM] is not old
        assert [await refusal(run, user) for user in (ALICE, BOB)] == [401, 0]
        assert await alice.refresh(600) == 600
        assert (await run.reload(auth={"redis": other.url}))["live"] == ["auth.redis_schema"]
        assert await refusal(run, BOB) == 401
        await run.reload(auth={"secrets": ["s"]})
        assert run.server.sources.stores == {}
        assert await refusal(run, rest("s")) == 0


async def test_redis_away(
    wait_for_redis: WaitForRedis, tmp_path: Path, redis_server: RedisServer
) -> None:
    wait_for_redis(2.0)
    add_user(redis_server, ALICE)
    redis_server.command("SADD", f"turn/realm/{REALM}/secret", "in redis")
    async with running(tmp_path, auth=coturn(redis_server, redis_cache=0)) as run:
        # What is asked for while the watch begins may have changed meanwhile, and is not kept.
        await eventually(lambda: len(run.server.sources.stores[REALM]._servers))
        live = await run.client(ALICE)
        await live.allocate()
        redis_server.freeze()
        before = time.monotonic()
        assert await refusal(run, BOB) == 500
        assert time.monotonic() - before < 15.0  # and a client asks again after 20
        away = await eventually(lambda: run.logged("redis_away"))
        assert (away[0]["level"], away[0]["realm"]) == ("warn", REALM)
        assert await refusal(run, ALICE) == 0
        assert await refusal(run, rest("in redis")) == 0
        assert await live.refresh(600) == 600
        await live.create_permission(TransportAddress("127.0.0.1", 9))
        assert "turnd_redis_available 0.0" in (await run.get("/metrics"))[1]
        # A reload that leaves Redis as it is keeps what was learnt from it.
        await run.reload(auth=coturn(redis_server, redis_cache=0, secrets=["new"]))
        assert [await refusal(run, u) for u in (ALICE, rest("new"), rest("in redis"))] == [0, 0, 0]
        assert await refusal(run, BOB) == 500
        redis_server.thaw()
        await eventually(lambda: run.logged("redis_back"))
        assert "reason" not in run.logged("redis_back")[0]
        assert len(run.logged("redis_away")) == 1
        assert await refusal(run, BOB) == 401


@pytest.mark.usefixtures("patient")
async def test_a_request_that_waits_is_answered_by_the_sources_of_a_reload(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.freeze()
    async with running(tmp_path, auth=coturn(redis_server)) as run:
        waiting = asyncio.ensure_future(refusal(run, BOB))
        await eventually(lambda: len(run.server.turn.waiting))
        assert (await run.reload(auth={"users": dict([BOB])}))["ok"]
        assert await waiting == 0
        redis_server.thaw()


async def test_a_server_starts_without_its_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    redis_server.kill()
    async with running(tmp_path, auth=coturn(redis_server, users=dict([ALICE]))) as run:
        await eventually(lambda: run.logged("redis_away"))
        assert [await refusal(run, user) for user in (ALICE, BOB)] == [0, 500]


@pytest.mark.usefixtures("patient")
async def test_redis_is_protected(tmp_path: Path, redis_server: RedisServer) -> None:
    by_name = redis_server.url.replace("127.0.0.1", "localhost")
    async with running(tmp_path, auth={"redis": by_name, "users": dict([ALICE])}) as run:
        client = await run.client()
        await client.allocate()
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(StunError, match="403"):
                await client.channel_bind(TransportAddress(host, redis_server.port))
        assert run.server.admin_endpoint is not None
        with pytest.raises(ClientError, match="403"):
            await client.channel_bind(run.server.admin_endpoint)
