from __future__ import annotations

import pytest

from bench.scenarios import ENGINES, SCENARIOS, Measure, chosen


def test_labels_are_unique() -> None:
    labels = [scenario.label for scenario in SCENARIOS]
    assert len(set(labels)) == len(labels)


def test_every_cpu_scenario_has_a_bar_for_the_native_engine() -> None:
    assert all("native" in s.bars for s in SCENARIOS if s.measure is Measure.CPU)


def test_bars_are_of_known_engines() -> None:
    assert {engine for s in SCENARIOS for engine in s.bars} <= set(ENGINES)


def test_turnload_is_told_the_number_of_allocations() -> None:
    (scenario,) = chosen("^down-160-1000$")
    assert scenario.turnload == "--dir down --size 160 --allocs 1000"
    assert scenario.what == "single packets, 160 B, 1,000 allocations, down"


@pytest.mark.parametrize(
    ("pattern", "labels"),
    [
        ("^tls", ["tls-up-160", "tls-down-160"]),
        ("lat-20k|start", ["lat-20k", "start"]),
        ("nothing like it", []),
    ],
)
def test_chosen_matches_labels(pattern: str, labels: list[str]) -> None:
    assert [scenario.label for scenario in chosen(pattern)] == labels


def test_all_are_chosen_by_the_empty_pattern() -> None:
    assert chosen("") == list(SCENARIOS)


def test_only_tls_legs_go_to_the_tls_port() -> None:
    assert [s.label for s in SCENARIOS if s.is_tls] == ["tls-up-160", "tls-down-160"]
