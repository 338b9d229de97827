"""Work beside the packets ends with the server, and its faults are seen."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tests.waiting import eventually
from turnd.runtime.beside import Beside

if TYPE_CHECKING:
    import pytest


async def test_what_is_done_is_forgotten() -> None:
    beside, done = Beside(), asyncio.Event()

    async def work() -> None:
        done.set()

    beside.run(work())
    await done.wait()
    await eventually(lambda: not len(beside))


async def test_stop_cancels_and_waits() -> None:
    beside, begun, ended = Beside(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    beside.run(work())
    await begun.wait()
    await beside.stop()
    assert ended.is_set()
    assert not len(beside)


async def test_a_fault_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    beside = Beside()

    async def work() -> None:
        raise KeyError("lost")

    with caplog.at_level(logging.ERROR, "turnd"):
        beside.run(work())
        await eventually(lambda: not len(beside))
    assert len(caplog.records) == 1
    assert "internal_error" in caplog.text
