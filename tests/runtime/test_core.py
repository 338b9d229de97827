"""The core of a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.runtime.servers import BOB, REALM, running
from turnd.runtime.core import build_turn

if TYPE_CHECKING:
    from pathlib import Path


async def test_realms_by_the_listener_that_a_client_came_to(tmp_path: Path) -> None:
    realms = {"b": {"listen": ["udp://127.0.0.2:0"], "auth": {"users": dict([BOB])}}}
    async with running(tmp_path, realms=realms) as run:
        turn = build_turn(run.server)
        names = {
            str(run.server.endpoints.by_listener[listener].host): realm.name
            for listener, realm in turn.realms.items()
        }
        assert names == {"127.0.0.1": REALM, "127.0.0.2": "b"}
        assert turn.default_realm.name == REALM
        assert turn.state.table is run.server.table
        assert len(turn.decoy_salt) == 32


async def test_numbers(tmp_path: Path) -> None:
    limits = {"unauthenticated_per_second": 7, "allocations": 9}
    async with running(tmp_path, limits=limits, auth={"nonce_lifetime": 60}) as run:
        turn = build_turn(run.server)
        assert turn.budget.per_second == 7
        assert turn.nonces.lifetime == 60
        assert turn.state.table.quotas.total == 9
