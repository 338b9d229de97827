"""Messages between engine and core; what goes wrong with one costs nobody else anything."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.servers import BOB, REALM, running
from tests.waiting import eventually
from turnd.client.errors import ClientError
from turnd.client.uri import Transport
from turnd.stun.message import Method
from turnd.turn import server as core

if TYPE_CHECKING:
    from pathlib import Path

    from tests.auth.redis_server import RedisServer


async def test_a_fault_in_one_request_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refresh(*_: object) -> Any:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(core, "_HANDLERS", {**core._HANDLERS, Method.REFRESH: refresh})
    async with running(tmp_path) as run:
        one = await run.client(transport=Transport.TCP)
        other = await run.client(transport=Transport.TCP)
        await one.allocate()
        await other.allocate()
        unanswered = asyncio.ensure_future(one.refresh(600))
        fault = (await eventually(lambda: run.logged("internal_error")))[0]
        assert fault["client"] == str(one.connection.local)
        assert "a fault of ours" in fault["exception"]
        await other.create_permission("127.0.0.1")
        await one.create_permission("127.0.0.1")
        unanswered.cancel()
        assert len(run.logged("internal_error")) == 1
        await one.close(delete=False)
        await other.close(delete=False)


async def test_a_server_whose_engine_has_failed_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poll() -> Any:
        raise OSError("worker 0 has ended: out of luck")

    async with running(tmp_path) as run:
        monkeypatch.setattr(run.server.engine, "poll", poll)
        run.server.pump.wake()
        run.server.pump.wake()
        assert run.server.ending.ended.is_set()
        assert run.server.ending.failed
        assert run.server.not_ready == "failed"
        (line,) = await eventually(lambda: run.logged("engine_failed"))
        assert line["problem"] == "worker 0 has ended: out of luck"
        assert line["level"] == "error"
    assert run.server.not_ready == "stopped"


async def test_a_fault_after_a_look_up_is_one_line(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, auth={"redis": redis_server.url}) as run:

        def fetch(*_: object) -> Any:
            raise ZeroDivisionError("a fault of ours")

        monkeypatch.setattr(run.server.sources.stores[REALM], "fetch", fetch)
        client = await run.client(BOB)
        unanswered = asyncio.ensure_future(client.allocate())
        await eventually(lambda: run.logged("internal_error"))
        unanswered.cancel()
        assert await client.binding()
        assert not len(run.server.turn.waiting)


async def test_a_closed_stream_frees_its_place_even_when_the_core_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leg_closed(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(core.TurnServer, "leg_closed", leg_closed)
    async with running(tmp_path) as run:
        client = await run.client(transport=Transport.TCP)
        await client.binding()
        assert run.server.endpoints.caps.open == 1
        await client.close()
        await eventually(lambda: run.server.endpoints.caps.open == 0)
        await eventually(lambda: run.logged("internal_error"))


@pytest.mark.usefixtures("patient")
async def test_look_ups_end_with_the_server(tmp_path: Path, redis_server: RedisServer) -> None:
    async with running(tmp_path, auth={"redis": redis_server.url}) as run:
        redis_server.freeze()
        client = await run.client(BOB)
        unanswered = asyncio.ensure_future(client.allocate())
        await eventually(lambda: len(run.server.turn.waiting))
        before = time.monotonic()
        await run.server.stop()
        assert time.monotonic() - before < 15.0  # less than Redis is waited for
        assert not len(run.server.pump._lookups)
        unanswered.cancel()
        await asyncio.wait([unanswered])
    redis_server.thaw()
    assert run.logged("internal_error") == []


@pytest.mark.usefixtures("patient")
async def test_an_unknown_user_of_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    async with running(tmp_path, auth={"redis": redis_server.url}) as run:
        with pytest.raises(ClientError, match="401"):
            await (await run.client(BOB)).allocate()
        assert run.server.pump.events.counts.auth_failures["unknown_user"] >= 1


async def test_media_from_elsewhere_moves_an_allocation(tmp_path: Path) -> None:
    async with running(tmp_path, mobility=True, peers={"allow": ["127.0.0.0/8"]}) as run:
        client, peer = await run.client(), await run.client(transport=Transport.TCP)
        there = (await peer.allocate()).relayed[0]
        await peer.create_permission("127.0.0.1")
        await client.allocate(mobility=True)
        await client.create_permission(there)
        await client.move()
        assert run.server.pump.events.counts.allocations_moved == 0
        await client.send(there, b"here")
        assert (await peer.receive())[1] == b"here"
        assert run.server.pump.events.counts.allocations_moved == 1


async def test_authenticated_streams_may_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        idle, busy = [await run.client(transport=Transport.TCP) for _ in range(2)]
        await idle.binding()
        await busy.allocate()
        assert len(run.server.endpoints.deadlines) == 1
        run.server.endpoints.close_overdue(time.monotonic() + 61)
        await eventually(lambda: run.server.endpoints.closed == {"unauthenticated": 1})
        assert await busy.refresh(600) == 600
        assert len(run.server.endpoints.deadlines) == 0


@pytest.mark.usefixtures("patient")
async def test_a_store_that_was_taken_away(tmp_path: Path, redis_server: RedisServer) -> None:
    async with running(tmp_path, auth={"redis": redis_server.url}) as run:
        redis_server.freeze()
        client = await run.client(BOB)
        unanswered = asyncio.ensure_future(client.allocate())
        await eventually(lambda: len(run.server.turn.waiting))
        store = run.server.sources.stores.pop(REALM)
        await store.close()
        failures = run.server.pump.events.counts.auth_failures
        await eventually(lambda: failures["store_unavailable"] == 1)
        unanswered.cancel()
        redis_server.thaw()
