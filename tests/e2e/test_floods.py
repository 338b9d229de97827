"""Who floods an endpoint keeps nobody else from getting an allocation there.

What proves it is that the whole handshake of a real client comes to its end while the flood goes
on, and how much it has sent by then; not how long it takes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.calls import allocated
from tests.e2e.flooding import KINDS, flooding
from tests.e2e.server import serve

if TYPE_CHECKING:
    from pathlib import Path

ENOUGH = 90.0
"""Seconds for a handshake, what is lost of it sent again."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_client_gets_its_allocation(kind: str, folder: Path) -> None:
    with serve(folder) as server, flooding(kind, server.port, folder) as flood:
        await flood.goes_on()
        for _ in range(3):
            before = flood.sent
            async with asyncio.timeout(ENOUGH), allocated(server):
                await flood.goes_on()
            assert flood.sent > before
        assert server.metric("turnd_engine_faults_total") == 0
