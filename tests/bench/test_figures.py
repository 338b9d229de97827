from __future__ import annotations

import pytest

from bench import figures
from bench.figures import Bar, Figure, Rounds, median_ratio
from bench.scenarios import Measure, Scenario
from tests.bench.records import run

CPU = Scenario("up", "up", bars={"native": 1.15}, floors=("mmsg", "uring"))


@pytest.mark.parametrize(
    ("bar", "value", "met"),
    [
        (Bar(1.15), 1.15, True),
        (Bar(1.15), 1.149, False),
        (Bar(1.4, is_least=False), 1.4, True),
        (Bar(1.4, is_least=False), 1.401, False),
        (Bar(1.4, is_least=False), None, False),
    ],
)
def test_a_bar_is_met_at_its_limit(bar: Bar, value: float | None, met: bool) -> None:
    assert bar.is_met_by(value) is met
    assert Figure("", "", "", value, bar).is_missed is not met


def test_bars_say_which_way_they_go() -> None:
    assert (str(Bar(1.15)), str(Bar(12.0, is_least=False))) == ("≥ 1.15", "≤ 12")


def test_a_figure_without_bar_is_not_missed() -> None:
    assert not Figure("", "", "", None).is_missed


def test_the_ratio_is_the_median_of_the_ratios_within_a_round() -> None:
    assert median_ratio({0: 10, 1: 30, 2: 8}, {0: 5, 1: 10, 2: 8}) == 2


def test_rounds_that_only_one_server_has_are_left_out() -> None:
    assert median_ratio({0: 10, 1: 90}, {0: 5, 2: 1}) == 2
    assert median_ratio({0: 10}, {1: 5}) is None
    assert median_ratio({0: 10}, {0: 0}) is None


def test_cpu_time_is_compared_with_coturn_and_with_the_cheapest_floor() -> None:
    rounds = Rounds(
        [
            *(run("coturn", 0, cpu_ns=5000), run("coturn", 1, cpu_ns=6000)),
            *(run("turnd-native", 0, cpu_ns=4000), run("turnd-native", 1, cpu_ns=4000)),
            *(run("floor-mmsg", 0, cpu_ns=4000), run("floor-uring", 0, cpu_ns=2500)),
        ]
    )
    (figure,) = figures.of(CPU, "native", rounds)
    assert figure == Figure("up", "5.50 µs", "4.00 µs", 1.375, Bar(1.15), "2.00 (uring)")


def test_a_floor_that_loses_packets_is_no_limit() -> None:
    rounds = Rounds(
        [
            run("coturn", cpu_ns=5000),
            run("floor-mmsg", cpu_ns=4000),
            run("floor-uring", cpu_ns=2500, faults=1),
        ]
    )
    (figure,) = figures.cpu(CPU, "native", rounds)
    assert figure.limit == "1.25 (mmsg)"


def test_a_server_without_runs_misses_its_bar() -> None:
    (figure,) = figures.cpu(CPU, "native", Rounds([run("coturn")]))
    assert (figure.turnd, figure.value, figure.is_missed, figure.limit) == ("-", None, True, "-")


def test_an_engine_is_held_only_against_its_own_bars() -> None:
    (figure,) = figures.cpu(CPU, "portable", Rounds([run("coturn"), run("turnd-portable")]))
    assert figure.bar is None


def test_latency_is_compared_at_two_percentiles() -> None:
    rounds = Rounds(
        [run("coturn", p50_us=30, p99_us=50), run("turnd-native", p50_us=20, p99_us=100)]
    )
    p50, p99 = figures.of(Scenario("lat", "latency", measure=Measure.LATENCY), "native", rounds)
    assert (p50.what, p50.value, p50.is_missed) == ("latency, p50", 1.5, False)
    assert (p99.what, p99.value, p99.is_missed) == ("latency, p99", 0.5, True)


def sizes() -> Rounds:
    return Rounds(
        [
            run("coturn-10", cpu_ns=5000),
            run("coturn-5000", cpu_ns=6000, memory_bytes=20480),
            *(run(f"turnd-{engine}-10", cpu_ns=4000) for engine in ("native", "portable")),
            *(
                run(f"turnd-{engine}-5000", cpu_ns=6000, memory_bytes=4096)
                for engine in ("native", "portable")
            ),
        ]
    )


def test_memory_is_held_against_coturn_and_growth_against_itself() -> None:
    memory, growth = figures.of(Scenario("size", "", measure=Measure.SIZE), "native", sizes())
    assert (memory.coturn, memory.turnd, memory.value) == ("20.00 KiB", "4.00 KiB", 5)
    assert (growth.coturn, growth.turnd, growth.value) == ("1.20", "1.50", 1.5)
    assert (memory.is_missed, growth.is_missed) == (False, True)


def test_the_portable_engine_has_a_bar_in_kib() -> None:
    ratio, kib, growth = figures.size("portable", sizes())
    assert ratio.bar is None
    assert (kib.value, kib.bar) == (4, Bar(12, is_least=False))
    assert not growth.is_missed


def test_faults_of_all_runs_are_summed_by_server() -> None:
    runs = [
        *(run("coturn", faults=3), run("coturn-5000", faults=1), run("floor-gso", faults=9)),
        *(run("turnd-native", faults=0), run("turnd-native-10", faults=2)),
        run("turnd-portable", faults=7),
    ]
    figure = figures.faults("native", runs)
    assert (figure.coturn, figure.turnd, figure.is_missed) == ("4", "2", True)


def test_the_start_is_held_against_its_seconds() -> None:
    figure = figures.start("start", "portable", {"coturn": 0.02, "turnd-portable": 1.5})
    assert (figure.coturn, figure.turnd, figure.is_missed) == ("0.02 s", "1.50 s", True)


def test_two_workers_are_held_against_one() -> None:
    assert not figures.workers("workers", "native", 1.6).is_missed
    assert figures.workers("workers", "native", None).is_missed
