"""The server's addresses change while calls go on."""

from __future__ import annotations

import errno
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.scripted import PATIENT, Exchange, scripted
from tests.runtime.servers import Running, heard, running
from tests.waiting import eventually
from turnd.client.errors import StunError
from turnd.client.transactions import Timing
from turnd.runtime import finding
from turnd.runtime.names import Names, UnknownNameError
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from turnd.client.client import TurnClient

FIRST, LATER = "203.0.113.7", "203.0.113.8"


@dataclass
class World:
    """What a STUN server says of us; None: nothing."""

    run: Running
    seen_as: str | None = FIRST

    def answer(self, exchange: Exchange) -> None:
        if self.seen_as is not None:
            exchange.succeed((a.XOR_MAPPED_ADDRESS, TransportAddress(self.seen_as, 1)))

    async def seen(self, host: str | None) -> None:
        """The world changes, and the server looks."""
        self.seen_as = host
        await self.run.server.relay_watch.look()

    async def allocated(self) -> tuple[TurnClient, TransportAddress]:
        client = await self.run.client()
        return client, TransportAddress(*(await client.allocate()).relayed[0])


@asynccontextmanager
async def home(tmp_path: Path, seen_as: str | None = FIRST, **relay: Any) -> AsyncIterator[World]:
    """A server that a STUN server says the address of."""
    world = World(None, seen_as)  # type: ignore[arg-type] # set below
    async with scripted(world.answer) as stun:
        entry = f"127.0.0.1=stun:127.0.0.1:{stun.server.port}"
        values = {"addresses": [entry], "ports": "20000-59999", **relay}
        async with running(tmp_path, relay=values, peers={}) as world.run:
            yield world


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "STUN_TIMING", PATIENT)


async def exchange(one: TurnClient, here: TransportAddress, other: TurnClient,
                   there: TransportAddress) -> None:  # fmt: skip
    """Both by their relayed addresses, in both directions, by channel and by indication."""
    await one.channel_bind(there)
    await other.create_permission(here)
    await one.send(there, b"by channel")
    assert await heard(other) == (here, b"by channel")
    await other.send(here, b"by indication")
    assert await heard(one) == (there, b"by indication")


async def test_a_change_is_for_new_allocations_and_the_old_go_on(tmp_path: Path) -> None:
    async with home(tmp_path) as world:
        old, old_address = await world.allocated()
        twin, twin_address = await world.allocated()
        assert old_address.host == FIRST
        await exchange(old, old_address, twin, twin_address)
        await world.seen(LATER)
        new, new_address = await world.allocated()
        assert new_address.host == LATER
        await old.refresh()
        await exchange(old, old_address, new, new_address)
        await old.send(twin_address, b"still there")
        assert await heard(twin) == (old_address, b"still there")
        own = world.run.server.relays.known
        assert list(own.items()) == [(FIRST, "127.0.0.1"), (LATER, "127.0.0.1")]
        with pytest.raises(StunError, match="403"):  # a listener of ours by the old address
            await new.channel_bind(TransportAddress(FIRST, world.run.port()))
        for client in (old, twin):
            await client.close()
        await world.seen(LATER)
        assert list(world.run.server.relays.known) == [LATER]
        policy = world.run.server.turn.state.realms["test.example"].policy
        assert policy.verdict(LATER, 50000) is None
        assert policy.verdict(FIRST, 50000) is not None


async def test_a_change_is_logged_and_counted(tmp_path: Path) -> None:
    async with home(tmp_path) as world:
        run = world.run
        await world.seen(FIRST)
        assert run.logged("relay_addresses_changed") == []
        assert "turnd_relay_address_changes_total 0.0" in (await run.get("/metrics"))[1]
        await world.seen(LATER)
        (line,) = await eventually(lambda: run.logged("relay_addresses_changed"))
        assert line["before"] == [f"127.0.0.1={FIRST}"]
        assert line["relay"] == [f"127.0.0.1={LATER}"]
        _, text = await run.get("/metrics")
        assert "turnd_relay_address_changes_total 1.0" in text
        assert f'turnd_relay_address_info{{announced="{LATER}",bound="127.0.0.1"}} 1.0' in text
        assert FIRST not in text
        assert (await run.get("/readyz"))[0] == 200


async def test_a_silent_server_and_one_that_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home(tmp_path) as world:
        run = world.run
        await world.seen("192.168.1.5")
        (line,) = await eventually(lambda: run.logged("relay_address_kept"))
        assert line["reason"] == "192.168.1.5 is a private address"
        assert "turnd_relay_addresses_missing 1.0" in (await run.get("/metrics"))[1]
        monkeypatch.setattr(finding, "STUN_TIMING", Timing(0.01, 1, 1))
        await world.seen(None)
        assert (await world.allocated())[1].host == FIRST
        monkeypatch.setattr(finding, "STUN_TIMING", PATIENT)
        await world.seen(FIRST)
        await eventually(lambda: run.logged("relay_address_found"))
        assert len(run.logged("relay_address_kept")) == 1
        assert run.logged("relay_addresses_changed") == []
        assert "turnd_relay_addresses_missing 0.0" in (await run.get("/metrics"))[1]


async def test_a_server_that_does_not_know_its_address_says_so_and_goes_on_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "STUN_TIMING", Timing(0.01, 1, 1))
    async with home(tmp_path, seen_as=None) as world:
        run = world.run
        (line,) = await eventually(lambda: run.logged("relay_address_unknown"))
        assert line["level"] == "error"
        assert line["address"].startswith("127.0.0.1=stun:")
        assert "no answer" in line["reason"]
        assert (await run.get("/readyz"))[0] == 200
        client = await run.client()
        with pytest.raises(StunError, match="508"):
            await client.allocate()
        now = time.monotonic()
        assert not run.server.relay_watch.due(now)
        assert run.server.relay_watch.due(now + 5)
        monkeypatch.setattr(finding, "STUN_TIMING", PATIENT)
        await world.seen(FIRST)
        assert (await world.allocated())[1].host == FIRST
        await eventually(lambda: run.logged("relay_address_found"))


async def test_the_ticker_looks_again(tmp_path: Path) -> None:
    async with home(tmp_path, refresh_addresses=1) as world:
        world.seen_as = LATER
        await eventually(lambda: world.run.logged("relay_addresses_changed"))


async def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, tuple[str, ...]] = {}

    async def look_up(_: Names, name: str) -> tuple[str, ...]:
        if name not in answers:
            raise UnknownNameError(f"{name}: not known")
        return answers[name]

    monkeypatch.setattr(Names, "look_up", look_up)
    relay = {"addresses": ["127.0.0.1=dns:home.example"], "ports": "20000-59999"}
    async with running(tmp_path, relay=relay) as run:
        world = World(run)
        await eventually(lambda: run.logged("relay_address_unknown"))
        answers["home.example"] = (FIRST, "2001:db8::7")
        await run.server.relay_watch.look()
        assert (await world.allocated())[1].host == FIRST
        answers["home.example"] = (LATER,)
        await run.server.relay_watch.look()
        assert (await world.allocated())[1].host == LATER


async def test_an_address_that_this_host_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = {"addresses": ["127.0.0.1", "127.0.0.2"], "ports": "20000-59999"}
    async with running(tmp_path, relay=relay) as run:
        monkeypatch.setattr("turnd.system.is_address_here", lambda host: host == "127.0.0.2")
        await run.server.relay_watch.look()
        await eventually(lambda: run.logged("relay_address_not_here"))
        world = World(run)
        assert {(await world.allocated())[1].host for _ in range(4)} == {"127.0.0.2"}
        assert (await run.get("/readyz"))[0] == 200


async def test_who_cannot_look_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors: what nobody can see has not gone."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    relay = {"addresses": ["127.0.0.1", "127.0.0.2"], "ports": "20000-59999"}
    async with running(tmp_path, relay=relay) as run:
        watch = run.server.relay_watch
        before = run.server.relays.pairs
        with monkeypatch.context() as patch:
            patch.setattr("turnd.system.socket.socket", refuse)
            await watch.look()
        await eventually(lambda: len(run.logged("relay_address_kept")) == 2)
        one, _ = run.logged("relay_address_kept")
        assert (one["address"], one["reason"]) == ("127.0.0.1", "Too many open files")
        assert run.server.relays.pairs == before
        assert not watch.due(time.monotonic())
        assert watch.due(time.monotonic() + 5)
        await watch.look()
        await eventually(lambda: len(run.logged("relay_address_found")) == 2)
        assert (watch.changes, watch.troubles) == (0, ())


async def test_a_reload_brings_other_addresses_into_force(tmp_path: Path) -> None:
    relay = {"addresses": ["127.0.0.1"], "ports": "20000-59999"}
    async with running(tmp_path, relay=relay) as run:
        world = World(run)
        old, old_address = await world.allocated()
        result = await run.reload(relay={**relay, "addresses": ["127.0.0.1=203.0.113.9"]})
        assert (result["live"], result["restart"]) == (["relay.addresses"], [])
        new, new_address = await world.allocated()
        assert (old_address.host, new_address.host) == ("127.0.0.1", "203.0.113.9")
        await new.create_permission("127.0.0.1")
        await old.create_permission(new_address)
        await old.send(new_address, b"hello")
        assert await heard(new) == (old_address, b"hello")
