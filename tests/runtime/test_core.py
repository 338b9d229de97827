"""The core of a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.servers import BOB, REALM, running
from turnd.client.client import TurnClient
from turnd.client.errors import StunError
from turnd.runtime.core import build_turn

if TYPE_CHECKING:
    from pathlib import Path


async def test_realms_by_the_listener_that_a_client_came_to(tmp_path: Path) -> None:
    realms = {"b": {"listen": ["udp://127.0.0.2:0"], "auth": {"users": dict([BOB])}}}
    async with running(tmp_path, realms=realms) as run:
        turn = build_turn(run.server)
        names = {
            str(run.server.endpoints.by_listener[listener][0].host): realm.name
            for listener, realm in turn.realms.by_listener.items()
        }
        assert names == {"127.0.0.2": "b"}
        assert turn.realms.own.name == REALM
        assert turn.state.table is run.server.table
        assert len(turn.decoy_salt) == 32


async def test_a_realm_has_its_own_peers(tmp_path: Path) -> None:
    realm = {
        "listen": ["udp://127.0.0.2:0"],
        "auth": {"users": dict([BOB])},
        "peers": {"deny": ["198.51.100.0/24"], "allow": ["127.0.0.0/8"]},
    }
    peers = {"allow": ["198.51.100.0/24"]}
    async with running(tmp_path, realms={"b": realm}, peers=peers) as run:
        here = await run.client()
        place = next(at for each, at in run.server.endpoints.bound() if each.host == "127.0.0.2")
        there = await run.clients.enter_async_context(TurnClient(f"turn:{place}", *BOB))
        for client, allowed, denied in (
            (here, "198.51.100.1", "127.0.0.9"),
            (there, "127.0.0.9", "198.51.100.1"),
        ):
            await client.allocate()
            await client.create_permission(allowed)
            with pytest.raises(StunError, match="403"):
                await client.create_permission(denied)


async def test_numbers(tmp_path: Path) -> None:
    limits = {"unauthenticated_per_second": 7, "allocations": 9}
    async with running(tmp_path, limits=limits, auth={"nonce_lifetime": 60}) as run:
        turn = build_turn(run.server)
        assert [run.server.engine.draw("192.0.2.1") for _ in range(8)] == [True] * 7 + [False]
        assert turn.nonces.lifetime == 60
        assert turn.state.table.quotas.total == 9
