"""The end: nobody new, then nobody at all."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.runtime.servers import running
from tests.waiting import eventually
from turnd.client.errors import StunError
from turnd.runtime.ending import Signals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What a service manager hears."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield manager


def heard_by(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_the_last_allocation_is_waited_for(tmp_path: Path, notified: socket.socket) -> None:
    async with running(tmp_path) as run:
        old, new = await run.client(), await run.client()
        await old.allocate()
        assert await run.get("/readyz") == (200, "ready\n")
        with Signals(run.server):
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(lambda: run.server.ending.begun)
        assert await run.get("/readyz") == (503, "draining\n")
        assert (await run.get("/healthz"))[0] == 200
        assert any(text.startswith("STOPPING=1") for text in heard_by(notified))
        with pytest.raises(StunError, match="508"):
            await new.allocate()
        assert await old.refresh(600) == 600
        await old.create_permission("127.0.0.1")
        assert not run.server.ending.ended.is_set()
        await old.refresh(0)
        await eventually(run.server.ending.ended.is_set)
        line = (await eventually(lambda: run.logged("draining")))[0]
        assert (line["signal"], line["allocations"], line["seconds"]) == ("SIGTERM", 1, 60)


async def test_without_allocations_the_end_is_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        run.server.ending.ask("SIGTERM")
        assert run.server.ending.ended.is_set()


async def test_the_timeout(tmp_path: Path) -> None:
    async with running(tmp_path, shutdown={"timeout": 0.05}) as run:
        client = await run.client()
        await client.allocate()
        run.server.ending.ask("SIGTERM")
        assert not run.server.ending.ended.is_set()
        await eventually(run.server.ending.ended.is_set)
        assert len(run.server.table) == 1
        await run.server.stop()
        assert run.server.pump.events.counts.allocations_ended == {"shutdown": 1}
        await client.close(delete=False)


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await (await run.client()).allocate()
        with Signals(run.server):
            for number in (signal.SIGTERM, signal.SIGINT):
                assert not run.server.ending.ended.is_set()
                os.kill(os.getpid(), number)
                await eventually(lambda: run.server.ending.begun)
            await eventually(run.server.ending.ended.is_set)
        assert (await eventually(lambda: run.logged("stopping")))[0]["signal"] == "SIGINT"


async def test_other_signals(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        before = signal.getsignal(signal.SIGUSR2)
        with Signals(run.server):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGHUP)
            await eventually(lambda: run.logged("reloaded"))
        assert signal.getsignal(signal.SIGUSR2) == before
        assert not run.server.ending.begun


async def test_a_reload_is_told_to_the_service_manager(
    tmp_path: Path, notified: socket.socket
) -> None:
    async with running(tmp_path) as run:
        heard_by(notified)
        await run.reload()
        reloading, ready = heard_by(notified)
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert ready.startswith("READY=1\n")
