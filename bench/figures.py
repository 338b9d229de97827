"""From runs to the lines of the table.

Rules
    1.  Servers are compared within a round, and the median is taken of the rounds' ratios: slow and
        fast spells of a machine meet all servers of a round alike.
    2.  A figure that could not be had misses its bar.
    3.  The limit is the cheapest variant of the floor, if it lost nothing.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import scenarios
from bench.scenarios import FEW, MANY, Measure, Scenario
from bench.servers import floor_name, turnd_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.runs import Run

NOTHING = "-"
COTURN = "coturn"


@dataclass(frozen=True)
class Bar:
    """What a value must reach, or must not exceed."""

    limit: float
    is_least: bool = True

    def is_met_by(self, value: float | None) -> bool:
        """At the bar counts as met."""
        if value is None:
            return False
        return value >= self.limit if self.is_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    coturn: str
    turnd: str
    value: float | None
    """What the bar is held against; None: it could not be had."""
    bar: Bar | None = None
    limit: str = NOTHING

    @property
    def is_missed(self) -> bool:
        """Whether there is a bar and the value does not meet it."""
        return self.bar is not None and not self.bar.is_met_by(self.value)


class Rounds:
    """All runs of one scenario."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def of(self, server: str) -> dict[int, Run]:
        """One server's, by round."""
        return {run.round: run for run in self._runs if run.server == server}

    def median(self, server: str, value: Callable[[Run], float]) -> float | None:
        """Over the rounds; None when it had no run."""
        values = [value(run) for run in self.of(server).values()]
        return statistics.median(values) if values else None

    def ratio(self, over: str, under: str, value: Callable[[Run], float]) -> float | None:
        """The median of the ratios within a round; None when no round has both."""
        above, below = self.of(over), self.of(under)
        return median_ratio(
            {number: value(run) for number, run in above.items()},
            {number: value(run) for number, run in below.items()},
        )


def median_ratio(over: Mapping[int, float], under: Mapping[int, float]) -> float | None:
    """Of the rounds that both have; None where there is none."""
    shared = over.keys() & under.keys()
    ratios = [over[number] / under[number] for number in shared if under[number]]
    return statistics.median(ratios) if ratios else None


def sized(server: str, allocations: int) -> str:
    """A server's name where it is measured with several numbers of allocations."""
    return f"{server}-{allocations}"


def of(scenario: Scenario, engine: str, rounds: Rounds) -> list[Figure]:
    """What turnload's runs of a scenario show."""
    match scenario.measure:
        case Measure.SIZE:
            return size(engine, rounds)
        case Measure.LATENCY:
            return latency(scenario, engine, rounds)
        case _:
            return cpu(scenario, engine, rounds)


def cpu(scenario: Scenario, engine: str, rounds: Rounds) -> list[Figure]:
    """CPU time a packet, request or cycle, against coturn's and the floor's."""
    turnd = turnd_name(engine)
    return [
        Figure(
            scenario.what,
            _shown(rounds.median(COTURN, _microseconds), " µs"),
            _shown(rounds.median(turnd, _microseconds), " µs"),
            rounds.ratio(COTURN, turnd, _microseconds),
            bar(scenario.bars, engine),
            _limit(scenario, rounds),
        )
    ]


def latency(scenario: Scenario, engine: str, rounds: Rounds) -> list[Figure]:
    """Two percentiles."""
    turnd = turnd_name(engine)
    percentiles: dict[str, Callable[[Run], float]] = {
        "p50": lambda run: run.p50_us,
        "p99": lambda run: run.p99_us,
    }
    return [
        Figure(
            f"{scenario.what}, {name}",
            _shown(rounds.median(COTURN, value), " µs"),
            _shown(rounds.median(turnd, value), " µs"),
            rounds.ratio(COTURN, turnd, value),
            bar(scenarios.LATENCY_BARS, engine),
        )
        for name, value in percentiles.items()
    ]


def size(engine: str, rounds: Rounds) -> list[Figure]:
    """Memory an allocation, and how the CPU time a packet grows with their number."""
    turnd = turnd_name(engine)
    kib = {
        name: rounds.median(sized(name, MANY), lambda run: run.memory_bytes / 1024)
        for name in (COTURN, turnd)
    }
    memory = f"memory an allocation, at {MANY:,}"
    least = Figure(
        memory,
        _shown(kib[COTURN], " KiB"),
        _shown(kib[turnd], " KiB"),
        rounds.ratio(sized(COTURN, MANY), sized(turnd, MANY), lambda run: run.memory_bytes),
        bar(scenarios.MEMORY_RATIO_BARS, engine),
    )
    most = Figure(
        f"{memory}, KiB",
        least.coturn,
        least.turnd,
        kib[turnd],
        bar(scenarios.MEMORY_BARS, engine, is_least=False),
    )
    growth = {
        name: rounds.ratio(sized(name, MANY), sized(name, FEW), _microseconds)
        for name in (COTURN, turnd)
    }
    grown = Figure(
        f"CPU time a packet at {MANY:,} allocations, times that at {FEW}",
        _shown(growth[COTURN]),
        _shown(growth[turnd]),
        growth[turnd],
        bar(scenarios.GROWTH_BARS, engine, is_least=False),
    )
    return [least, *([most] if most.bar else []), grown]


def start(what: str, engine: str, seconds: Mapping[str, float]) -> Figure:
    """Seconds to the first answer, by server."""
    turnd = seconds.get(turnd_name(engine))
    return Figure(
        what,
        _shown(seconds.get(COTURN), " s"),
        _shown(turnd, " s"),
        turnd,
        bar(scenarios.START_BARS, engine, is_least=False),
    )


def faults(engine: str, runs: Sequence[Run]) -> Figure:
    """Of all runs of all scenarios."""
    sums = {
        name: sum(run.faults for run in runs if belongs_to(run, name))
        for name in (COTURN, turnd_name(engine))
    }
    packets = sum(run.packets for run in runs if belongs_to(run, turnd_name(engine)))
    return Figure(
        f"packets lost, corrupted, duplicated or reordered, of {packets / 1e6:.1f} million",
        str(sums[COTURN]),
        str(sums[turnd_name(engine)]),
        float(sums[turnd_name(engine)]),
        bar(scenarios.FAULT_BARS, engine, is_least=False),
    )


def belongs_to(run: Run, server: str) -> bool:
    """Whatever the number of allocations."""
    return run.server in {server, sized(server, FEW), sized(server, MANY)}


def workers(what: str, engine: str, ratio: float | None) -> Figure:
    """Two workers against one; coturn has no part in it."""
    return Figure(what, NOTHING, _shown(ratio), ratio, bar(scenarios.WORKERS_BARS, engine))


def bar(bars: Mapping[str, float], engine: str, *, is_least: bool = True) -> Bar | None:
    """The engine's, if it has one."""
    return Bar(bars[engine], is_least) if engine in bars else None


def _microseconds(run: Run) -> float:
    return run.cpu_ns / 1000


def _limit(scenario: Scenario, rounds: Rounds) -> str:
    """The CPU time of coturn over that of the cheapest floor, and which one that is."""
    ratios = {
        variant: ratio
        for variant in scenario.floors
        if not any(run.faults for run in rounds.of(floor_name(variant)).values())
        and (ratio := rounds.ratio(COTURN, floor_name(variant), _microseconds))
    }
    if not ratios:
        return NOTHING
    cheapest = max(ratios, key=lambda variant: ratios[variant])
    return f"{ratios[cheapest]:.2f} ({cheapest})"


def _shown(value: float | None, unit: str = "") -> str:
    return NOTHING if value is None else f"{value:.2f}{unit}"
