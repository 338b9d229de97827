"""What every engine does that has real sockets."""

from __future__ import annotations

import asyncio
import os
import resource
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from tests.engine.contract import REQUEST, Allocation
from tests.engine.worlds import LOOPBACK
from turnd.engine.base import ClientMessage, RelayError, Transport
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from tests.engine.socket_worlds import SocketWorld


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _was_woken(world: SocketWorld, before: int) -> bool:
    return world.woken > before


class Sockets:
    async def test_without_descriptors_new_relays_fail_and_live_ones_go_on(
        self, world: SocketWorld
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
        world.open_relay(world.leg(client))

    async def test_stopping_closes_everything(self, world: SocketWorld) -> None:
        before = open_descriptors()
        another = world.another()
        Allocation(another)
        stream = await another.connect(Transport.TCP)
        another.open_relay(stream.leg)
        another.open_relay(None)
        await another.close()
        del another  # an engine may keep what it is woken by for as long as it is there
        assert open_descriptors() == before

    async def test_relays_leave_no_descriptors_behind(self, world: SocketWorld) -> None:
        client = world.client()
        before = open_descriptors()
        for _ in range(20):
            relay, _ = world.open_relay(world.leg(client))
            world.engine.close_relay(relay)
        await world.until(lambda: open_descriptors() == before)

    async def test_what_a_batch_left_is_told_again(self, world: SocketWorld) -> None:
        allocation = Allocation(world)
        for _ in range(600):
            allocation.send(REQUEST)
        seen = woken = 0
        while seen < 600:
            await world.until(partial(_was_woken, world, woken))
            woken = world.woken
            seen += len(world.engine.poll())
        assert seen == 600

    def test_it_runs_on_uvloop(self, world: SocketWorld) -> None:
        async def scenario() -> None:
            another = world.another()
            await Allocation(another).passes()
            for transport in (Transport.TCP, Transport.TLS):
                stream = await another.connect(transport)
                stream.send(REQUEST)
                assert await another.events(1) == [ClientMessage(stream.leg, REQUEST)]
            await another.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scenario())
