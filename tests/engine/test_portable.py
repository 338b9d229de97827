"""The contract on the portable engine, and what is particular to it."""

from __future__ import annotations

import asyncio
import os
import resource
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.engine import contract, contract_bounds, contract_protection, contract_streams
from tests.engine.contract import REQUEST, Allocation
from tests.engine.socket_worlds import PortableWorld
from tests.engine.worlds import LOOPBACK
from turnd.engine.base import ClientMessage, RelayError, Transport
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[PortableWorld]:
    surroundings = PortableWorld()
    yield surroundings
    await surroundings.close()


class TestHandingUp(contract.HandingUp):
    pass


class TestRelays(contract.Relays):
    pass


class TestChannels(contract.Channels):
    pass


class TestIndications(contract.Indications):
    pass


class TestFailures(contract.Failures):
    pass


class TestWaiting(contract_bounds.Waiting):
    """See the contract."""


class TestBudget(contract_bounds.Budget):
    """See the contract."""


class TestBandwidth(contract_bounds.Bandwidth):
    """See the contract."""


class TestProtection(contract_protection.Protection):
    pass


class TestOwnAddresses(contract_protection.OwnAddresses):
    pass


class TestStreams(contract_streams.Streams):
    pass


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_without_descriptors_new_relays_fail_and_live_ones_go_on(
    world: PortableWorld,
) -> None:
    allocation = Allocation(world)
    client = world.client()
    bound = TransportAddress(LOOPBACK, world.free_port(LOOPBACK))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        refused = world.engine.open_relay(world.leg(client), bound, 9e9)
        assert refused is RelayError.NO_DESCRIPTORS
        await allocation.passes()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not isinstance(world.engine.open_relay(world.leg(client), bound, 9e9), RelayError)


async def test_stopping_closes_everything() -> None:
    before = open_descriptors()
    world = PortableWorld()
    Allocation(world)
    stream = await world.connect(Transport.TCP)
    world.open_relay(stream.leg)
    world.open_relay(None)
    await world.close()
    assert open_descriptors() == before


async def test_relays_leave_no_descriptors_behind(world: PortableWorld) -> None:
    client = world.client()
    before = open_descriptors()
    for _ in range(20):
        relay, _ = world.open_relay(world.leg(client))
        world.engine.close_relay(relay)
    assert open_descriptors() == before


def _was_woken(world: PortableWorld, before: int) -> bool:
    return world.woken > before


async def test_what_a_batch_left_is_told_again(world: PortableWorld) -> None:
    allocation = Allocation(world)
    for _ in range(600):
        allocation.send(REQUEST)
    seen = woken = 0
    while seen < 600:
        await world.until(partial(_was_woken, world, woken))
        woken = world.woken
        seen += len(world.engine.poll())
    assert seen == 600


def test_it_runs_on_uvloop() -> None:
    async def scenario() -> None:
        world = PortableWorld()
        await Allocation(world).passes()
        for transport in (Transport.TCP, Transport.TLS):
            stream = await world.connect(transport)
            stream.send(REQUEST)
            assert await world.events(1) == [ClientMessage(stream.leg, REQUEST)]
        await world.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
