from __future__ import annotations

from collections import Counter

import pytest

from turnd.runtime.random_numbers import RandomNumbers


@pytest.mark.parametrize(
    ("number", "limit", "scaled"),
    [(0, 10, 0), (2**64 - 1, 10, 9), (2**63, 10, 5), (2**63 - 1, 10, 4), (2**64 - 1, 1, 0)],
)
def test_a_number_is_scaled(number: int, limit: int, scaled: int) -> None:
    page = number.to_bytes(8, "little")
    numbers = RandomNumbers(lambda size: page * (size // 8))
    assert numbers.below(limit) == scaled


def test_every_number_of_a_page_is_used_once() -> None:
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        first = 512 * (len(asked) - 1)
        return b"".join((n << 48).to_bytes(8, "little") for n in range(first, first + 512))

    numbers = RandomNumbers(random_bytes)
    assert [numbers.below(2**16) for _ in range(1025)] == list(range(1025))
    assert asked == [4096] * 3


def test_all_numbers_come_about_equally_often() -> None:
    numbers = RandomNumbers()
    drawn = Counter(numbers.below(10) for _ in range(20_000))
    assert set(drawn) == set(range(10))
    # Six standard deviations (42 each): never in practice.
    assert all(abs(times - 2_000) < 260 for times in drawn.values())
