from __future__ import annotations

import pytest

from turnd.turn.throughput import WINDOW, Throughput


def test_bits_per_second_over_a_window() -> None:
    rate = Throughput()
    assert rate.observe(1_000_000, 10.0) == 0
    assert rate.observe(1_000_125, 11.0) == 1000
    steady = 0.0
    for second in range(12, 30):
        now = float(second)
        steady = rate.observe(1_000_125 + 250 * (second - 11), now)
    assert steady == pytest.approx(2000)
    assert rate.observe(1_000_125 + 250 * 18, 29.0 + WINDOW) == pytest.approx(0)


def test_the_same_moment_twice_and_a_sum_that_shrinks() -> None:
    rate = Throughput()
    rate.observe(100, 1.0)
    assert rate.observe(200, 1.0) == 0
    assert rate.observe(50, 2.0) == 0
