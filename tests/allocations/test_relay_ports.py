from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from turnd.allocations.relay_ports import RelayPorts

REST = 60.0


def ports(low: int = 50000, high: int = 50009, rest: float = REST, seed: int = 1) -> RelayPorts:
    return RelayPorts(low, high, rest, Random(seed).randrange)


def take_all(pool: RelayPorts, now: float = 0.0) -> list[int]:
    taken = []
    while (port := pool.take(now)) is not None:
        taken.append(port)
    return taken


# --- plain cases ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (2, 2), (50000, 50009), (50001, 50009), (65534, 65535)]
)
def test_every_port_of_the_range_is_given_out_once(low: int, high: int) -> None:
    pool = ports(low, high)
    assert sorted(take_all(pool)) == list(range(low, high + 1))
    assert pool.in_use == pool.capacity == high - low + 1
    assert pool.take(1e9) is None


@pytest.mark.parametrize(("low", "high"), [(0, 10), (10, 9), (1, 65536), (-5, 5)])
def test_a_range_that_is_none_is_an_error(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="no range of ports"):
        ports(low, high)


def test_every_rested_port_can_come_next() -> None:
    picked = set()
    for number in range(10):
        bounds: list[int] = []

        def choose(bound: int, chosen: int = number, seen: list[int] = bounds) -> int:
            seen.append(bound)
            return chosen

        picked.add(RelayPorts(50000, 50009, REST, choose).take(0.0))
        assert bounds == [10]
    assert picked == set(range(50000, 50010))


def test_a_freed_port_rests_to_the_second() -> None:
    pool = ports(50000, 50001)
    first, second = take_all(pool)
    pool.release(first, 100.0)
    pool.release(second, 110.0)
    assert {pool.take(169.0), pool.take(169.0)} == {first, second}
    pool.release(first, 200.0)
    pool.release(second, 210.0)
    # At 260 the first has rested and the second has not: it is not even in the draw.
    pool._random = lambda bound: bound - 1
    assert pool.take(260.0) == first


def test_a_rested_port_goes_before_one_that_rests() -> None:
    for seed in range(20):
        pool = ports(50000, 50003, seed=seed)
        taken = take_all(pool)
        pool.release(taken[0], 0.0)
        pool.release(taken[1], 59.0)
        assert pool.take(60.0) == taken[0]
        assert pool.take(60.0) == taken[1]


def test_rest_never_refuses_and_the_longest_rested_comes_first() -> None:
    pool = ports()
    taken = take_all(pool)
    for second, port in enumerate(taken):
        pool.release(port, 100.0 + second)
    assert [pool.take(110.0) for _ in taken] == taken
    assert pool.take(110.0) is None


def test_even_ports_are_even_and_end_when_all_are_in_use() -> None:
    pool = ports()
    evens = [pool.take_even(0.0) for _ in range(5)]
    assert sorted(filter(None, evens)) == list(range(50000, 50010, 2))
    assert pool.take_even(0.0) is None
    assert pool.in_use == 5
    pool.release(50004, 1.0)
    pool.release(50002, 2.0)
    assert pool.take_even(3.0) == 50004
    assert pool.take_even(3.0) == 50002


def test_pairs_are_an_even_port_and_the_next() -> None:
    pool = ports(50001, 50006)
    pairs = [pool.take_pair(0.0), pool.take_pair(0.0)]
    assert sorted(filter(None, pairs)) == [(50002, 50003), (50004, 50005)]
    assert pool.take_pair(0.0) is None
    assert pool.in_use == 4
    assert {pool.take(0.0), pool.take(0.0)} == {50001, 50006}


def test_half_a_pair_is_no_pair() -> None:
    pool = ports(50000, 50003)
    take_all(pool)
    for port in (50000, 50002, 50003):
        pool.release(port, 0.0)
    assert pool.take_pair(0.0) == (50002, 50003)
    assert pool.take_pair(0.0) is None
    pool.release(50001, 10.0)
    assert pool.take_pair(10.0) == (50000, 50001)


def test_pairs_rest_from_when_their_later_port_was_freed() -> None:
    pool = ports(50000, 50003)
    take_all(pool)
    for port, now in ((50000, 1.0), (50002, 2.0), (50003, 3.0), (50001, 4.0)):
        pool.release(port, now)
    assert pool.take_pair(5.0) == (50002, 50003)
    assert pool.take_pair(5.0) == (50000, 50001)


@pytest.mark.parametrize("port", [50003, 49999, 50010, 0])
def test_what_is_not_in_use_cannot_be_released(port: int) -> None:
    pool = ports()
    with pytest.raises(ValueError, match=f"port {port} is not in use"):
        pool.release(port, 0.0)
    assert pool.in_use == 0


def test_a_rejected_port_comes_last() -> None:
    pool = ports(50000, 50003)
    taken = take_all(pool)
    pool.release(taken[0], 0.0)
    pool.release(taken[1], 1.0)
    assert pool.take(2.0) == taken[0]
    pool.reject(taken[0], 2.0)
    assert pool.take(2.0) == taken[1]
    assert pool.take(2.0) == taken[0]


def test_rest_may_be_changed_or_none() -> None:
    pool = ports(50000, 50001)
    first, second = take_all(pool)
    pool.release(second, 10.0)
    pool.release(first, 11.0)
    pool.rest = 0.0
    pool._random = lambda bound: bound - 1
    assert {pool.take(11.0), pool.take(11.0)} == {first, second}


def test_a_wide_range_is_small_in_memory() -> None:
    tracemalloc.start()
    try:
        pool = ports(49152, 65535)
        made, _ = tracemalloc.get_traced_memory()
        assert made < 256 << 10
        for port in take_all(pool):
            pool.release(port, 1.0)
        resting, _ = tracemalloc.get_traced_memory()
        assert resting < 6 << 20
    finally:
        tracemalloc.stop()


# --- against a model that looks at every port -----------------------------------------------


class PortsMachine(RuleBasedStateMachine):
    """Whatever happens, each choice is one that the rules allow."""

    taken = Bundle("taken")

    @initialize(low=st.integers(100, 103), size=st.integers(1, 9), seed=st.integers(0, 99))
    def begin(self, low: int, size: int, seed: int) -> None:
        self.pool = RelayPorts(low, low + size - 1, 4.0, Random(seed).randrange)
        self.freed_at = dict.fromkeys(range(low, low + size), -1000.0)
        self.now = 0.0

    def rested(self, freed_at: float) -> bool:
        return freed_at + 4.0 <= self.now

    def check(self, chosen: int | None, free: dict[int, float]) -> None:
        assert (chosen is None) == (not free)
        if chosen is not None:
            assert self.rested(free[chosen]) or free[chosen] == min(free.values())

    @rule(target=taken)
    def take(self) -> object:
        port = self.pool.take(self.now)
        self.check(port, self.freed_at)
        return self.use(port)

    @rule(target=taken)
    def take_even(self) -> object:
        port = self.pool.take_even(self.now)
        self.check(port, {p: at for p, at in self.freed_at.items() if p % 2 == 0})
        return self.use(port)

    @rule(target=taken)
    def take_pair(self) -> object:
        pairs = {
            port: max(at, self.freed_at[port + 1])
            for port, at in self.freed_at.items()
            if port % 2 == 0 and port + 1 in self.freed_at
        }
        pair = self.pool.take_pair(self.now)
        self.check(None if pair is None else pair[0], pairs)
        if pair is None:
            return multiple()
        assert pair[1] == pair[0] + 1
        return self.use(*pair)

    @rule(port=consumes(taken))
    def release(self, port: int) -> None:
        self.pool.release(port, self.now)
        self.freed_at[port] = self.now

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "pool"):
            assert self.pool.in_use == self.pool.capacity - len(self.freed_at)

    def use(self, *ports: int | None) -> object:
        used = [port for port in ports if port is not None]
        for port in used:
            del self.freed_at[port]
        return multiple(*used)


PortsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPorts = PortsMachine.TestCase
