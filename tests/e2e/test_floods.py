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
from tests.e2e.server import Server, serve
from turnd.client.errors import TransactionTimeoutError

if TYPE_CHECKING:
    from pathlib import Path

ENOUGH = 90.0
"""Seconds for a handshake, what is lost of it sent again."""


async def gets_in(server: Server) -> None:
    """As an application would: who hears nothing after all retransmissions begins again."""
    while True:
        try:
            async with allocated(server):
                return
        except TransactionTimeoutError:
            continue


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_client_gets_its_allocation(kind: str, folder: Path) -> None:
    with serve(folder) as server, flooding(kind, server.port, folder) as flood:
        await flood.goes_on()
        for _ in range(3):
            before = flood.sent
            async with asyncio.timeout(ENOUGH):
                await gets_in(server)
                await flood.goes_on()
            assert flood.sent > before
        assert server.metric("turnd_engine_faults_total") == 0
