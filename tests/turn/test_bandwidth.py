from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.turn.harness import PEER, World, code_of
from turnd.stun import attributes as a
from turnd.turn.bandwidth import NO_LIMITS, SERVER, BandwidthLimits, Buckets

if TYPE_CHECKING:
    from turnd.engine.base import BucketId

FRAME = bytes(1_000)


def set_limits(world: World, total: int = 0, per_allocation: int = 0, per_user: int = 0) -> None:
    world.realm.bandwidth = BandwidthLimits(per_allocation, per_user)
    world.state.bandwidth.set_limits(total, [world.realm], world.state.table)


def rates(world: World) -> dict[BucketId, int]:
    """What the engine was told, without buckets that are forgotten."""
    told: dict[BucketId, int] = {}
    for call in world.engine.calls:
        if call.verb == "limit":
            bucket, rate = call.arguments
            told[bucket] = rate
            if rate is None:
                del told[bucket]
    return told


def opened_with(world: World) -> list[tuple[BucketId, ...]]:
    return [call.arguments[3] for call in world.engine.calls if call.verb == "open_relay"]


def buckets_of(world: World) -> list[Buckets | None]:
    return [allocation.buckets for allocation in world.state.table]


def passed(world: World, *ports: int) -> int:
    """How many of 100 packets a client at each of the ports gets through at one moment."""
    before = world.engine.counters().totals.packets_from_client
    for port in ports:
        client = world.client(port=port)
        for _ in range(100):
            client.channel_data(0x4000, FRAME)
    return world.engine.counters().totals.packets_from_client - before


def bind(world: World, port: int, user: str = "alice") -> None:
    client = world.client(port=port, user=user)
    client.allocated()
    assert code_of(client.bind(0x4000, PEER)) is None


def test_without_limits_there_are_no_buckets() -> None:
    world = World()
    set_limits(world)
    bind(world, 1)
    assert opened_with(world) == [()]
    assert passed(world, 1) == 100
    assert code_of(world.client(port=1).refresh(0)) is None
    assert rates(world) == {SERVER: 0}
    assert world.realm.bandwidth == NO_LIMITS


@pytest.mark.parametrize(
    ("limits", "passing"),
    [
        ({"per_allocation": 800_000}, [65, 65, 65]),
        ({"per_user": 800_000}, [65, 0, 65]),
        ({"total": 800_000}, [65, 0, 0]),
    ],
)
def test_who_shares_a_limit(limits: dict[str, int], passing: list[int]) -> None:
    world = World()
    set_limits(world, **limits)
    for port, user in ((1, "alice"), (2, "alice"), (3, "bob")):
        bind(world, port, user)
    assert [passed(world, port) for port in (1, 2, 3)] == passing


def test_a_bucket_goes_with_its_last_allocation() -> None:
    world = World()
    set_limits(world, 3_000_000, 1_000_000, 2_000_000)
    bind(world, 1)
    bind(world, 2)
    first, second = opened_with(world)
    assert first[:2] == second[:2]
    expected = {
        SERVER: 3_000_000, first[1]: 2_000_000, first[2]: 1_000_000, second[2]: 1_000_000,
    }  # fmt: skip
    assert rates(world) == expected
    world.client(port=1).refresh(0)
    del expected[first[2]]
    assert rates(world) == expected
    world.pass_time(600)
    assert rates(world) == {SERVER: 3_000_000}
    bind(world, 1)
    assert not set(opened_with(world)[-1][1:]) & {*first, *second}


def test_an_allocation_that_does_not_come_about_leaves_nothing() -> None:
    world = World()
    set_limits(world, per_user=2_000_000)
    world.engine.descriptors = 0
    assert code_of(world.client().allocate()) == 508
    assert rates(world) == {SERVER: 0}


def test_both_families_of_an_allocation_share_its_buckets() -> None:
    world = World()
    set_limits(world, per_allocation=1_000_000)
    world.client().allocated((a.ADDITIONAL_ADDRESS_FAMILY, 2))
    one, other = opened_with(world)
    assert one == other == buckets_of(world)[0]


def test_a_reserved_relay_has_the_buckets_of_who_claims_it() -> None:
    world = World()
    set_limits(world, per_allocation=1_000_000)
    answer = world.client(port=1).allocate((a.EVEN_PORT, True))
    token = answer.get(a.RESERVATION_TOKEN)
    assert token is not None
    assert code_of(world.client(port=2).allocate((a.RESERVATION_TOKEN, token))) is None
    assert opened_with(world)[1] == ()
    (moved,) = [call.arguments[3] for call in world.engine.calls if call.verb == "move"]
    assert moved == buckets_of(world)[1] != buckets_of(world)[0]


def test_new_limits_hold_for_allocations_that_are_alive() -> None:
    world = World()
    set_limits(world)
    bind(world, 1)
    bind(world, 2)
    assert passed(world, 1, 2) == 200
    set_limits(world, per_user=800_000)
    assert passed(world, 1, 2) == 65
    set_limits(world, per_user=800_000_000)
    assert passed(world, 1, 2) == 200
    set_limits(world, total=800_000)
    assert passed(world, 1, 2) == 65
    set_limits(world)
    assert passed(world, 1, 2) == 200
    set_limits(world, per_allocation=800_000)
    assert passed(world, 1, 2) == 130
    for port in (1, 2):
        assert code_of(world.client(port=port).refresh(0)) is None
    assert rates(world) == {SERVER: 0}


def test_who_could_not_be_given_buckets_later_has_them_without_a_limit() -> None:
    world = World()
    buckets = world.state.bandwidth.open(world.realm, "carol", without_limit=True)
    assert buckets is not None
    assert rates(world)[buckets.own] == 0
    world.state.bandwidth.close(world.realm, "carol", buckets)
    assert buckets.own not in rates(world)
