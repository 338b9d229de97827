from __future__ import annotations

import pytest

from turnd.engine.base import BucketId
from turnd.engine.buckets import SHALLOWEST, Buckets, Direction, admit

UP, DOWN = Direction
MBIT = 1_000_000
SERVER, USER, ALLOCATION = BucketId(1), BucketId(2), BucketId(3)


def passed(buckets: Buckets, ids: list[BucketId], now: float, direction: Direction = UP) -> int:
    """Bytes of a flood of packets that pass at a moment."""
    named = buckets.named(ids)
    count = 0
    while count < 100_000 and admit(named, direction, 1_000, now):
        count += 1
    return 1_000 * count


@pytest.mark.parametrize("start", [0.0, 1_000.25])
def test_a_rate_holds_from_the_first_packet_on(start: float) -> None:
    buckets = Buckets()
    buckets.limit(USER, 8 * MBIT)
    assert passed(buckets, [USER], start) == 250_000
    assert passed(buckets, [USER], start) == 0
    assert passed(buckets, [USER], start + 0.125) == 125_000
    assert passed(buckets, [USER], start + 60) == 250_000


def test_a_small_rate_lets_a_video_frame_pass() -> None:
    buckets = Buckets()
    buckets.limit(USER, 64_000)
    assert passed(buckets, [USER], 5.0) == SHALLOWEST // 1_000 * 1_000
    assert passed(buckets, [USER], 6.0) == 8_000


def test_each_direction_has_its_own_account() -> None:
    buckets = Buckets()
    buckets.limit(USER, 8 * MBIT)
    assert passed(buckets, [USER], 5.0, UP) == passed(buckets, [USER], 5.0, DOWN) == 250_000


def test_a_packet_needs_room_in_every_bucket_and_else_is_drawn_from_none() -> None:
    buckets = Buckets()
    buckets.limit(SERVER, 16 * MBIT)
    buckets.limit(USER, 8 * MBIT)
    assert passed(buckets, [SERVER, USER, ALLOCATION], 5.0) == 250_000
    assert not admit(buckets.named([SERVER, USER]), UP, 1_000, 5.0)
    assert passed(buckets, [SERVER], 5.0) == 250_000


def test_a_bucket_without_limit_lets_everything_pass() -> None:
    buckets = Buckets()
    assert passed(buckets, [USER], 5.0) == 100_000_000
    buckets.limit(USER, 0)
    assert passed(buckets, [USER], 5.0) == 100_000_000
    assert admit((), UP, 1 << 30, 5.0)


def test_a_new_rate_holds_for_those_who_named_the_bucket_before() -> None:
    buckets = Buckets()
    named = buckets.named([USER])
    buckets.limit(USER, 8 * MBIT)
    assert sum(admit(named, UP, 1_000, 5.0) for _ in range(300)) == 250
    buckets.limit(USER, 80 * MBIT)
    assert sum(admit(named, UP, 1_000, 5.0) for _ in range(3_000)) == 2_250
    buckets.limit(USER, 8 * MBIT)
    assert not admit(named, UP, 1_000, 5.5)
    buckets.limit(USER, 0)
    assert admit(named, UP, 1_000, 5.5)


def test_a_forgotten_bucket_limits_nobody() -> None:
    buckets = Buckets()
    named = buckets.named([USER])
    buckets.limit(USER, 64_000)
    buckets.limit(USER, None)
    assert len(buckets) == 0
    assert sum(admit(named, UP, 1_000, 5.0) for _ in range(500)) == 500
    buckets.limit(USER, None)
    assert len(buckets) == 0


def test_how_many_limit() -> None:
    buckets = Buckets()
    seen = []
    for bucket, rate in ((USER, 0), (USER, 5), (USER, 6), (SERVER, 7), (USER, None), (SERVER, 0)):
        buckets.limit(bucket, rate)
        seen.append(buckets.limiting)
    assert seen == [0, 1, 1, 2, 1, 0]
