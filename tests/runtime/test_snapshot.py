"""What /metrics tells after real calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.servers import ALICE, REALM, heard, rest, running
from tests.waiting import eventually
from turnd.admin.snapshot import AllocationLabels, RefusalLabels
from turnd.client.errors import ClientError, StunError
from turnd.client.uri import Transport
from turnd.engine.base import Drop, EngineCounters, RelayCounters
from turnd.runtime.snapshot import VERSION, take_snapshot
from turnd.stun.addresses import AddressFamily

if TYPE_CHECKING:
    from pathlib import Path


async def test_before_anything_happened(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        found = take_snapshot(run.server)
        assert found.version == VERSION
        assert found.engine_details == {"io": "epoll", "workers": "1"}
        assert (found.engine_name, found.engine_reason) == ("portable", run.server.engine_reason)
        assert found.allocations == {}
        assert found.allocation_results == {"created": 0}
        assert found.relay_ports["127.0.0.1"].in_use == 0
        assert found.relay_ports["127.0.0.1"].capacity == 40_000
        assert found.redis_available is None
        assert found.user_allocations is None
        assert found.reload is not None
        assert found.reload.successful


async def test_allocations_by_transport_family_and_realm(tmp_path: Path) -> None:
    relay = {"addresses": ["127.0.0.1", "::1"]}
    async with running(tmp_path, relay=relay) as run:
        udp, tcp = await run.client(), await run.client(transport=Transport.TCP)
        await udp.allocate(additional_family=AddressFamily.IPV6)
        await tcp.allocate(family=AddressFamily.IPV6)
        found = take_snapshot(run.server)
        assert found.allocations == {
            AllocationLabels("udp", "dual", REALM): 1,
            AllocationLabels("tcp", "ipv6", REALM): 1,
        }
        assert found.streams_opened == {"tcp": 1}
        assert found.engine.streams == 1
        assert found.engine.relays == 3
        assert {host: use.in_use for host, use in found.relay_ports.items()} == {
            "127.0.0.1": 1,
            "::1": 2,
        }
        await udp.close()
        await tcp.close(delete=False)
        await eventually(lambda: take_snapshot(run.server).streams_closed.get("client") == 1)
        found = take_snapshot(run.server)
        assert found.allocations == {}
        assert found.allocations_ended == {"deleted": 1, "disconnected": 1}
        assert found.engine.relays == 0


async def test_what_came_of_requests(tmp_path: Path) -> None:
    async with running(tmp_path, limits={"allocations_per_user": 1}) as run:
        first, second = await run.client(), await run.client()
        await first.allocate()
        with pytest.raises(StunError, match="486"):
            await second.allocate()
        await second.binding()
        for user in (("alice", "wrong"), ("nobody", "wrong")):
            with pytest.raises(ClientError, match="401"):
                await (await run.client(user)).allocate()
        found = take_snapshot(run.server)
        assert found.allocation_results == {"created": 1, "allocation_quota_reached": 1}
        assert found.requests_refused == {RefusalLabels("allocate", "486"): 1}
        assert found.auth_failures["bad_integrity"] == 1
        assert found.auth_failures["unknown_user"] == 1
        assert found.challenges == 4
        assert found.binding_requests == 1
        assert found.unauthenticated_dropped == 0


async def test_what_was_relayed(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        one, other = await run.client(), await run.client()
        here, there = (await one.allocate()).relayed[0], (await other.allocate()).relayed[0]
        await one.channel_bind(there)
        await other.create_permission(here)
        await one.send(there, b"x" * 100)
        assert await heard(other) == (here, b"x" * 100)
        found = take_snapshot(run.server)
        totals = found.engine.totals
        assert found.listeners == {
            f"udp://127.0.0.1:{run.port('udp')}": totals,
            f"tcp://127.0.0.1:{run.port('tcp')}": RelayCounters(),
        }
        assert (totals.packets_from_client, totals.bytes_from_client) == (1, 100)
        assert (totals.packets_to_client, totals.bytes_to_client) == (1, 100)


async def test_what_is_over_the_bandwidth_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path, limits={"bandwidth_per_user": "64k"}) as run:
        one, other = await run.client(), await run.client()
        here, there = (await one.allocate()).relayed[0], (await other.allocate()).relayed[0]
        await one.channel_bind(there)
        await other.create_permission(here)
        for _ in range(100):
            await one.send(there, bytes(1_000))

        def counters() -> tuple[int, int]:
            engine = take_snapshot(run.server).engine
            return engine.totals.packets_from_client, engine.drops[Drop.BANDWIDTH]

        await eventually(lambda: sum(counters()) >= 100)
        sent, dropped = counters()
        assert 65 <= sent < 100  # 64 KiB at once, and what is earned meanwhile
        assert sent + dropped == 100


async def test_what_the_engine_answered_itself_counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as run:
        await (await run.client()).binding()
        counters = EngineCounters(bindings_answered=5, challenges=7, over_budget=3)
        monkeypatch.setattr(run.server.engine, "counters", lambda: counters)
        found = take_snapshot(run.server)
        assert found.binding_requests == 6
        assert found.challenges == 7
        assert found.unauthenticated_dropped == found.messages_dropped["over_budget"] == 3


async def test_a_rest_name_counts_for_its_user(tmp_path: Path) -> None:
    auth = {"users": dict([ALICE]), "secrets": ["s"]}
    async with running(tmp_path, auth=auth, metrics={"users": True}) as run:
        await (await run.client()).allocate()
        await (await run.client(rest("s", expiry=4_000_000_001))).allocate()
        await (await run.client(rest("s", expiry=4_000_000_002))).allocate()
        assert take_snapshot(run.server).user_allocations == {"alice": 1, "carol": 2}


async def test_the_page_has_all_of_it(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await (await run.client()).allocate()
        status, text = await run.get("/metrics")
        assert status == 200
        labels = f'family="ipv4",realm="{REALM}",transport="udp"'
        assert f"turnd_allocations{{{labels}}} 1.0\n" in text
        assert 'turnd_allocations_total{result="created"} 1.0\n' in text
