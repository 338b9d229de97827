from __future__ import annotations

from dataclasses import replace

import pytest

from bench.leftovers import MIB, Sample, complaints, heading, held_of

REST = Sample(50 * MIB, 12, 3, allocations=0, ports=0, relays=0, streams=0)

METRICS = """\
# HELP turnd_allocations Live allocations.
# TYPE turnd_allocations gauge
turnd_allocations{transport="udp"} 3.0
turnd_allocations{transport="tls"} 2.0
# HELP turnd_allocations_total Allocate requests.
# TYPE turnd_allocations_total counter
turnd_allocations_total{result="success"} 900.0
# HELP turnd_relays Open relay sockets.
# TYPE turnd_relays gauge
turnd_relays 5.0
"""


def test_gauges_are_summed_over_their_labels() -> None:
    assert held_of(METRICS) == {"turnd_allocations": 5, "turnd_relays": 5}


def test_nothing_stayed() -> None:
    assert complaints([REST] * 3) == []


@pytest.mark.parametrize("what", ["allocations", "ports", "relays", "streams"])
def test_what_clients_left_behind_is_told(what: str) -> None:
    found = replace(REST, **{what: 1})
    assert found.is_used
    (said,) = complaints([REST, found, REST])
    assert said.startswith("at rest, sample 2, clients still had something")


@pytest.mark.parametrize("what", ["descriptors", "threads"])
def test_descriptors_and_threads_may_not_grow(what: str) -> None:
    more = replace(REST, **{what: 13})
    assert complaints([REST, REST, more]) == [f"{what} grew from {getattr(REST, what)} to 13"]
    assert complaints([more, REST, more]) == []


def test_memory_may_grow_a_little() -> None:
    assert complaints([REST, REST, replace(REST, memory=52 * MIB)]) == []
    (said,) = complaints([REST, REST, replace(REST, memory=53 * MIB)])
    assert said == "memory grew from 50.0 to 53.0 MiB"


def test_memory_may_find_its_size_at_first() -> None:
    assert complaints([replace(REST, memory=40 * MIB), REST, REST]) == []


def test_a_single_peak_of_memory_is_no_growth() -> None:
    peak = replace(REST, memory=90 * MIB)
    assert complaints([REST, REST, REST, REST, REST, REST, peak, REST, REST]) == []


def test_columns_are_aligned_with_their_heading() -> None:
    assert len(REST.line(61.2, "after wave 3")) == len(heading())
