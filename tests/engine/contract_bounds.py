"""What bounds an engine: how much may wait, be answered, be relayed. Every engine runs it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.contract import (
    BINDING,
    REQUEST,
    Allocation,
    channel_data,
    flood,
    send_indication,
)
from tests.engine.contract_streams import padded, with_channel
from tests.engine.worlds import LOOPBACK, SETTINGS
from turnd.engine.base import BucketId, ClientMessage, Drop, LegOpened, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.worlds import World
    from turnd.engine.base import Event


class Waiting:
    """What waits for a decision while more comes than is decided."""

    async def test_a_network_of_strangers_has_its_bound(self, world: World) -> None:
        client = world.client()
        await flood(world, client.send, 1_000)
        waited = await drain(world)
        assert waited == [ClientMessage(world.leg(client), REQUEST)] * len(waited)
        assert 128 <= len(waited) <= 256
        assert world.drops()[Drop.HAND_UP_FULL] == 1_000 - len(waited)
        client.send(REQUEST, world.engine.endpoint(world.listener))
        assert len(await world.events(1)) == 1

    async def test_all_together_have_theirs(self, world: World) -> None:
        allocation = Allocation(world)
        await flood(world, allocation.client.send, 4_300)
        await flood(world, world.client().send, 300)
        waited = await drain(world)
        assert 512 <= len(waited) <= 4_096
        assert world.drops()[Drop.HAND_UP_FULL] == 4_600 - len(waited)

    async def test_who_has_a_relay_goes_before_strangers(self, world: World) -> None:
        allocation = Allocation(world)
        await flood(world, world.client().send, 300)
        await flood(world, allocation.client.send, 3)
        assert (await drain(world))[:3] == [ClientMessage(allocation.leg, REQUEST)] * 3

    async def test_a_new_stream_goes_before_strangers(self, world: World) -> None:
        await flood(world, world.client().send, 300)
        stream = world.adopt_by(world.engine.stream_listener(SETTINGS), padded(b"media"))
        await world.until(lambda: Drop.NO_ALLOCATION in world.drops())
        assert (await drain(world))[0] == LegOpened(stream)

    async def test_networks_take_turns(self, world: World) -> None:
        await flood(world, world.client().send, 300)
        for number in range(1, 9):
            await flood(world, world.client(f"127.0.{number}.1").send, 1)
        first = (await drain(world))[:24]
        others = {event.leg.client.host for event in first} - {LOOPBACK}
        assert len(others) >= 4  # all, unless their networks happen to share a queue


class Budget:
    async def test_a_network_draws_so_many_answers_a_second(self, world: World) -> None:
        world.engine.budget(10)
        assert drawn(world, "192.0.2.1") == 10
        assert drawn(world, "192.0.2.200") == 0
        world.clock.now += 0.5
        assert drawn(world, "192.0.2.1") == 5
        world.engine.budget(0)
        assert drawn(world, "192.0.2.1") == 30

    async def test_plain_bindings_are_answered_under_the_budget(self, world: World) -> None:
        world.engine.budget(10)
        client = world.client()
        for _ in range(30):
            client.send(BINDING, world.engine.endpoint(world.listener))
        handed_up = 0

        def are_seen() -> bool:
            nonlocal handed_up
            handed_up += len(world.engine.poll())
            counters = world.engine.counters()
            return handed_up + counters.bindings_answered + counters.over_budget == 30

        await world.until(are_seen)
        assert drawn(world, LOOPBACK) == 10 - world.engine.counters().bindings_answered
        assert handed_up in {0, 30}


class Bandwidth:
    """Rates of 800 kbit/s: 100,000 bytes a second, and 64 KiB at once."""

    async def test_what_finds_no_room_is_dropped(self, world: World) -> None:
        allocation = limited(world, FIRST)
        world.engine.limit(FIRST, 800_000)
        assert await passed_up(allocation) == 65
        assert world.drops() == {Drop.BANDWIDTH: 35}
        world.clock.now += 0.25
        assert await passed_up(allocation) == 25
        world.clock.now += 60
        assert await passed_up(allocation) == 65

    async def test_each_direction_has_its_own_account(self, world: World) -> None:
        allocation = limited(world, FIRST)
        world.engine.limit(FIRST, 800_000)
        assert await passed_up(allocation) == 65
        assert await passed_down(allocation) == 65
        assert world.drops() == {Drop.BANDWIDTH: 70}

    async def test_send_indications_are_limited_too(self, world: World) -> None:
        allocation = limited(world, FIRST)
        world.engine.limit(FIRST, 800_000)
        message = send_indication(allocation.peer.address, bytes(1_000))
        assert await passed(allocation, lambda: allocation.send(message)) == 65

    async def test_streams_are_limited_too(self, world: World) -> None:
        stream = await world.connect(Transport.TCP)
        relay, _, _ = with_channel(world, stream)
        world.engine.move(relay, stream.leg, 9e9, [FIRST])
        world.engine.limit(FIRST, 800_000)
        stream.send(padded(bytes(1_000)) * 100)
        await world.until(lambda: world.drops() == {Drop.BANDWIDTH: 35})
        assert world.relayed(relay).packets_from_client == 65

    async def test_every_bucket_needs_room(self, world: World) -> None:
        one, other = limited(world, FIRST, SECOND), limited(world, SECOND)
        world.engine.limit(FIRST, 80_000_000)
        world.engine.limit(SECOND, 800_000)
        assert await passed_up(one) == 65
        assert await passed_up(other) == 0

    async def test_a_limit_may_come_change_and_go(self, world: World) -> None:
        allocation = limited(world, FIRST, SECOND)
        assert await passed_up(allocation) == 100
        world.engine.limit(FIRST, 800_000)
        assert await passed_up(allocation) == 65
        world.engine.limit(FIRST, 8_000_000)
        assert await passed_up(allocation) == 100
        world.engine.limit(FIRST, 0)
        for _ in range(3):
            assert await passed_up(allocation) == 100
        world.engine.limit(FIRST, 800_000)
        world.engine.limit(FIRST, None)
        assert await passed_up(allocation) == 100

    async def test_a_claimed_relay_has_the_buckets_of_its_leg(self, world: World) -> None:
        allocation = limited(world, FIRST)
        world.engine.limit(FIRST, 80)
        world.engine.limit(SECOND, 800_000)
        world.engine.move(allocation.relay, allocation.leg, 9e9, [SECOND])
        assert await passed_up(allocation) == 65
        world.engine.move(allocation.relay, allocation.leg, 9e9)
        assert await passed_up(allocation) == 100


async def drain(world: World) -> list[Event]:
    """All that waits, by bounded batches."""
    waited: list[Event] = []
    while events := world.engine.poll():
        assert len(events) <= 256
        waited.extend(events)
    return waited


def drawn(world: World, host: str) -> int:
    return sum(world.engine.draw(host) for _ in range(30))


FIRST, SECOND = BucketId(7), BucketId(8)


def limited(world: World, *buckets: BucketId) -> Allocation:
    allocation = Allocation(world)
    world.engine.move(allocation.relay, allocation.leg, 9e9, buckets)
    return allocation


async def passed_up(allocation: Allocation) -> int:
    frame = channel_data(bytes(1_000))
    return await passed(allocation, lambda: allocation.send(frame))


async def passed_down(allocation: Allocation) -> int:
    return await passed(allocation, lambda: allocation.answer(bytes(1_000)))


async def passed(allocation: Allocation, send: Callable[[], None]) -> int:
    """How many of 100 packets of 1,000 bytes pass at one moment."""
    world = allocation.world
    before = _passed(allocation)
    dropped = world.drops().get(Drop.BANDWIDTH, 0)

    def are_seen() -> bool:
        now = _passed(allocation) + world.drops().get(Drop.BANDWIDTH, 0)
        return now == before + dropped + 100

    for _ in range(100):
        send()
    await world.until(are_seen)
    return _passed(allocation) - before


def _passed(allocation: Allocation) -> int:
    counters = allocation.world.relayed(allocation.relay)
    return counters.packets_from_client + counters.packets_to_client
