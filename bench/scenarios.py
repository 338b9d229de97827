"""What is measured, and the bars: one entry a scenario, in the order of the table.

A bar of `cpu` and of `latency` is the least ratio of coturn's figure to turnd's: 1.15 means that
turnd may take at most 1/1.15 of coturn's CPU time a packet. The other bars are the most that
turnd's own figure may be. An engine without a bar is measured all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

ENGINES = ("native", "portable")
FEW, MANY = 10, 5000
"""Allocations between which the growth of the cost is measured."""

SINGLES = ("mmsg", "gso", "uring")
"""Variants of the floor that may be the cheapest where packets come one by one."""
BURSTS = ("gso",)
"""The only variant that profits from packets that arrive together."""
STREAMS = ("tcp",)


class Measure(Enum):
    """What the figures of a scenario are."""

    CPU = "CPU time a packet, request or cycle"
    LATENCY = "time from sender to receiver"
    SIZE = "memory an allocation, and growth of the CPU time with their number"
    START = "time from the start of the process to its first answer"
    DTLS = "CPU time a message that goes up and comes back"
    WORKERS = "what two workers carry, against one"


@dataclass(frozen=True)
class Scenario:
    """A load, as turnload makes it."""

    label: str
    """What `--only` is matched against."""
    what: str
    """In words, for the table."""
    load: str = ""
    """turnload's arguments, without `--allocs`; by DTLS those of `turnutils_uclient`."""
    measure: Measure = Measure.CPU
    allocations: int = FEW
    bars: dict[str, float] = field(default_factory=dict)
    """Least ratio of coturn's CPU time to turnd's, by engine."""
    floors: tuple[str, ...] = ()
    """Variants of the floor that do the same work; the cheapest is the limit."""

    @property
    def is_tls(self) -> bool:
        """Whether turnload must be sent to the servers' TLS port."""
        return "--leg tls" in self.load

    @property
    def turnload(self) -> str:
        """All of turnload's arguments."""
        return f"{self.load} --allocs {self.allocations}"


GROWTH_BARS = {"native": 1.4, "portable": 1.5}
"""CPU time a packet at MANY allocations over that at FEW."""
MEMORY_RATIO_BARS = {"native": 4.0}
"""coturn's memory an allocation over turnd's."""
MEMORY_BARS = {"portable": 12.0}
"""KiB an allocation."""
LATENCY_BARS = {"native": 1.0}
START_BARS = {"portable": 1.0}
"""Seconds."""
WORKERS_BARS = {"native": 1.6}
FAULT_BARS = {"native": 0.0, "portable": 0.0}
"""Packets lost, corrupted, duplicated or reordered, of all runs."""


def _singles(
    way: str, native: float, portable: float | None = None, allocations: int = FEW
) -> Scenario:
    """160 B a packet, one by one."""
    count = f"{allocations:,} allocation{'s' if allocations > 1 else ''}"
    return Scenario(
        f"{way}-160-{allocations}",
        f"single packets, 160 B, {count}, {way}",
        f"--dir {way} --size 160",
        allocations=allocations,
        bars={"native": native} | ({"portable": portable} if portable else {}),
        floors=SINGLES,
    )


def _bursts(way: str, size: int, length: int, native: float) -> Scenario:
    """Packets of one allocation that are sent, and may arrive, as one."""
    return Scenario(
        f"{way}-{size}-b{length}",
        f"bursts of {length}, {size} B, {way}",
        f"--dir {way} --size {size} --burst {length} --gso --gro",
        bars={"native": native},
        floors=BURSTS,
    )


def _stream(leg: str, way: str, native: float) -> Scenario:
    """A client that came by TCP or TLS."""
    burst = " --burst 4" if leg == "tcp" else ""
    return Scenario(
        f"{leg}-{way}-160",
        f"{leg.upper()} leg, 160 B, {way}",
        f"--leg {leg} --dir {way} --size 160{burst}",
        bars={"native": native},
        floors=STREAMS if leg == "tcp" else (),
    )


def _dtls(size: int) -> Scenario:
    """By coturn's own client."""
    return Scenario(
        f"dtls-{size}",
        f"DTLS leg, {size} B, up and back by indications",
        f"-l {size}",
        Measure.DTLS,
        bars={"native": 0.67, "portable": 0.34},
    )


def _latency(rate: int) -> Scenario:
    """A load that both servers carry easily."""
    return Scenario(
        f"lat-{rate // 1000}k",
        f"latency at {rate:,} packets a second",
        f"--dir up --size 160 --rate {rate}",
        Measure.LATENCY,
    )


SCENARIOS = (
    _singles("up", 1.15, 0.4),
    _singles("down", 1.15, 0.4),
    _singles("up", 1.5, allocations=1),
    _singles("down", 1.7, allocations=1),
    _singles("down", 1.35, allocations=1000),
    _bursts("up", 160, 4, 3.0),
    _bursts("up", 160, 16, 8.0),
    _bursts("down", 160, 16, 10.0),
    _bursts("up", 1200, 16, 6.5),
    _bursts("down", 1200, 16, 4.0),
    Scenario(
        "up-160-b16-nogro",
        "bursts of 16, 160 B, up, to a receiver without GRO",
        "--dir up --size 160 --burst 16 --gso",
        bars={"native": 2.5},
        floors=BURSTS,
    ),
    _stream("tcp", "up", 2.2),
    _stream("tcp", "down", 1.1),
    _stream("tls", "up", 1.3),
    _stream("tls", "down", 1.1),
    _dtls(160),
    _dtls(1200),
    Scenario("binding-16", "Binding", "--mode binding", allocations=16, bars={"native": 1.3}),
    Scenario(
        "alloc-churn-32",
        "allocate-and-delete cycle",
        "--mode alloc",
        allocations=32,
        bars={"native": 1.0, "portable": 0.5},
    ),
    Scenario("size", "", "--dir up --size 160", Measure.SIZE),
    _latency(20_000),
    _latency(50_000),
    Scenario("start", "start to first answer", measure=Measure.START),
    Scenario(
        "workers",
        "packets a CPU second of the busiest worker, two workers against one",
        "--dir up --size 160",
        Measure.WORKERS,
        allocations=256,
    ),
)


def chosen(pattern: str) -> list[Scenario]:
    """Those whose label contains a match of the regular expression.

    Raises:
        re.error: no regular expression.
    """
    return [scenario for scenario in SCENARIOS if re.search(pattern, scenario.label)]
