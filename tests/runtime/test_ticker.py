"""What happens once a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.listeners.pems import make_pair
from tests.runtime.servers import REALM, running
from tests.waiting import eventually
from turnd import system
from turnd.client.errors import StunError
from turnd.config import Endpoint
from turnd.engine.base import NonceKeys
from turnd.engine.portable import PortableEngine
from turnd.runtime import ticker
from turnd.runtime.ticker import ADDRESSES_EVERY, CERTIFICATES_EVERY, Ticker

TLS = (Endpoint("tls", "127.0.0.1", 0),)

if TYPE_CHECKING:
    from pathlib import Path

    from turnd.engine.base import Challenge, ListenerId, ListenerSettings


async def test_allocations_end_on_time(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.client()
        lifetime = (await client.allocate()).lifetime
        begun = time.monotonic()
        Ticker(run.server).tick(begun + lifetime - 5)
        assert len(run.server.table) == 1
        Ticker(run.server).tick(begun + lifetime)
        assert len(run.server.table) == 0
        assert run.server.engine.counters().relays == 0
        with pytest.raises(StunError, match="437"):
            await client.refresh(600)
        await client.allocate()


async def test_faults_of_the_engine_are_told_when_they_rise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as run:
        own = Ticker(run.server)
        for faults in (0, 2, 2, 3):
            monkeypatch.setattr(run.server.engine, "faults", faults)
            own.tick(time.monotonic())
        await eventually(lambda: len(run.logged("engine_fault")) == 2)
        assert [line["faults"] for line in run.logged("engine_fault")] == [2, 3]


async def test_changed_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = make_pair(tmp_path)
    tls = {"certificate": certificate, "key": key}
    async with running(tmp_path, listen=["tls://127.0.0.1:0"], tls=tls) as run:
        before = run.server.listener_settings()(TLS)
        make_pair(tmp_path, days=(-1, 30))
        told: list[ListenerSettings] = []
        monkeypatch.setattr(
            run.server.engine, "configure", lambda _, settings: told.append(settings)
        )
        own = Ticker(run.server)
        for _ in range(CERTIFICATES_EVERY):
            own.tick(time.monotonic())
        await eventually(lambda: run.logged("certificates_loaded"))
        for _ in range(2 * CERTIFICATES_EVERY):
            own.tick(time.monotonic())
        assert len(run.logged("certificates_loaded")) == 1
        after = run.server.listener_settings()(TLS)
        assert told == [after]
        assert after != before


async def test_addresses_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as run:
        policy = run.server.turn.state.realms["test.example"].policy
        monkeypatch.setattr("turnd.runtime.assembly.host_addresses", lambda: ["198.18.0.9"])
        own = Ticker(run.server)
        for _ in range(ADDRESSES_EVERY):
            own.tick(time.monotonic())
        realm = run.server.turn.state.realms["test.example"]
        await eventually(lambda: realm.policy is not policy)


async def test_the_engine_is_told_the_keys_of_the_nonces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[NonceKeys] = []
    monkeypatch.setattr(PortableEngine, "know_nonces", lambda _, keys: told.append(keys))
    async with running(tmp_path) as run:
        nonces, now = run.server.turn.nonces, time.monotonic()
        assert told == [NonceKeys(nonces.tick, nonces.mac_length, nonces.keys(now))]
        run.server.ticker.tick(now)
        assert len(told) == 1
        run.server.ticker.tick(now + 2 * nonces.lifetime)
        assert len(told) == 2
        assert len(told[1].keys) == 2
        await run.reload(auth=run.values["auth"] | {"nonce_lifetime": 60})
        run.server.ticker.tick(now)
        assert told[2].tick == 60 / 16


async def test_the_engine_is_told_how_strangers_are_challenged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[ListenerId, Challenge | None]] = []
    monkeypatch.setattr(PortableEngine, "challenge", lambda _, *each: told.append(each))
    async with running(tmp_path) as run:
        turn, listeners = run.server.turn, list(run.server.endpoints.by_listener)
        plain = turn.challenge_by(listeners[0])
        assert told == [(listener, plain) for listener in listeners]
        assert plain.realm == REALM.encode()
        told.clear()
        run.server.ticker.tick(time.monotonic())
        assert told == []
        # Who has a secret cannot be found by the hash of a name.
        await run.reload(auth=run.values["auth"] | {"secrets": ["north"]})
        secret = turn.challenge_by(listeners[0])
        assert secret.cookie != plain.cookie
        assert told == [(listener, secret) for listener in listeners]


async def test_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setattr(system, "sd_notify", said.append)
    async with running(tmp_path) as run:
        said.clear()
        own = Ticker(run.server)
        for second in range(60):
            own.tick(1000.0 + second)
        assert 4 <= len(said) <= 6
        assert set(said) == {"WATCHDOG=1"}


async def test_a_fault_is_a_line_and_ticks_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker, "TICK", 0.01)
    async with running(tmp_path) as run:

        def fail() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(run.server.engine, "tick", fail)
        await eventually(lambda: len(run.logged("internal_error")) >= 2)
