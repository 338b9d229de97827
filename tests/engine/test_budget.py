from __future__ import annotations

import sys

import pytest

from turnd.engine.budget import AnswerBudget


def drawn(budget: AnswerBudget, host: str, now: float, times: int = 1000) -> int:
    return sum(budget.draw(host, now) for _ in range(times))


@pytest.mark.parametrize("start", [0.0, 0.001, 12_345.6])
def test_so_many_a_second_from_the_first_on(start: float) -> None:
    budget = AnswerBudget(100)
    assert drawn(budget, "203.0.113.5", start) == 100
    assert drawn(budget, "203.0.113.5", start) == 0
    assert drawn(budget, "203.0.113.5", start + 0.5) == 50
    assert drawn(budget, "203.0.113.5", start + 60) == 100


def test_zero_is_no_limit() -> None:
    assert drawn(AnswerBudget(0), "203.0.113.5", 1.0, 5000) == 5000


@pytest.mark.parametrize(
    ("host", "same", "other"),
    [
        ("203.0.113.5", "203.0.113.250", "203.0.114.5"),
        ("2001:db8:1:200::1", "2001:db8:1:2ff:9::9", "2001:db8:1:300::1"),
    ],
)
def test_a_network_shares_its_budget(host: str, same: str, other: str) -> None:
    # So many buckets that the other network hardly ever hashes into the same one.
    budget = AnswerBudget(10, buckets=1 << 20)
    assert drawn(budget, host, 5.0) == 10
    assert drawn(budget, same, 5.0) == 0
    assert drawn(budget, other, 5.0) == 10


def test_a_change_of_the_rate_holds_at_once() -> None:
    budget = AnswerBudget(10)
    assert drawn(budget, "203.0.113.5", 5.0) == 10
    budget.per_second = 20
    assert drawn(budget, "203.0.113.5", 5.0) == 10
    budget.per_second = 5
    assert drawn(budget, "203.0.113.5", 5.0) == 0


def test_a_flood_of_sources_costs_no_memory() -> None:
    budget = AnswerBudget(1)
    arrays = (budget._spent, budget._filled_at)
    before = [sys.getsizeof(each) for each in arrays]
    for number in range(20_000):
        budget.draw(f"{number % 200 + 1}.{number // 200}.7.1", 5.0)
    assert [sys.getsizeof(each) for each in arrays] == before
    assert sum(before) < 1 << 19
