"""The running native engine and a flood of mutated packets: nothing of it is left behind.

What decodes is fuzzed where it is written (`make fuzz`). Here the same goes through the kernel, the
workers and back, in numbers.
"""

from __future__ import annotations

import random
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.nonsense import Nonsense
from tests.engine.contract import Allocation, channel_data
from tests.engine.native_world import IOS, SystemWorld
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUNDS = 200
DATAGRAMS = 500
"""A round: with two ways to the kernel, 200,000 in all."""
MOST_KIB = 24 * 1_024


@pytest.fixture(params=IOS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[SystemWorld]:
    surroundings = SystemWorld(request.param)
    yield surroundings
    await surroundings.close()


def memory_kib() -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_mutated_datagrams_leave_nothing_behind(world: SystemWorld) -> None:
    allocation = Allocation(world)
    chance, rubbish = random.Random(20), Nonsense(20)
    messages = [rubbish.message()[:65_000] for _ in range(4_000)]
    messages += [channel_data(chance.randbytes(n % 40))[: n % 44] for n in range(1_000)]
    server = tuple(allocation.leg.local)[:2]

    async def fuzz(rounds: int, stranger: socket.socket) -> None:
        for _ in range(rounds):
            for message in chance.choices(messages, k=DATAGRAMS):
                at = chance.randrange(len(message) + 1)
                mutated = message[:at] + chance.randbytes(chance.randrange(2)) + message[at + 1 :]
                if chance.randrange(3):
                    stranger.sendto(mutated, server)
                else:
                    allocation.send(mutated)
            allocation.send(channel_data(b"still there"))
            world.engine.poll()
            world.engine.tick()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        await fuzz(20, stranger)
        memory, open_before = memory_kib(), descriptors()
        await fuzz(ROUNDS - 20, stranger)
        assert memory_kib() - memory < MOST_KIB
        assert descriptors() == open_before
    assert world.engine.counters().faults == 0
    before = world.engine.counters().totals.packets_from_client

    def relays() -> bool:
        allocation.send(channel_data(b"still serving"))
        return world.engine.counters().totals.packets_from_client > before

    await eventually(relays)
