"""What a server holds at a moment, and whether it holds more and more.

Rules
    1.  At rest there are no allocations, relayed transport addresses, relay sockets or streams.
    2.  Descriptors and threads at the end are no more than they were at rest before.
    3.  Memory is compared by medians, of the last third of the samples and of the second: caches
        with a bound fill up at first, and an allocator gives back when it likes, but what leaks
        goes on growing.
"""

from __future__ import annotations

import statistics
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from bench import process

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMORY_SHARE = 0.05
MEMORY_BYTES = 2 << 20
"""Memory may grow by the larger of the two."""
MIB = 1 << 20
COLUMNS = ("MiB", "descriptors", "threads", "allocations", "ports", "relays", "streams")


@dataclass(frozen=True)
class Sample:
    """A server at a moment."""

    memory: int
    """Resident bytes."""
    descriptors: int
    threads: int
    allocations: int
    ports: int
    """That are relayed transport addresses."""
    relays: int
    """Sockets."""
    streams: int
    """TCP and TLS connections."""

    @property
    def is_used(self) -> bool:
        """Whether clients have anything here."""
        return bool(self.allocations or self.ports or self.relays or self.streams)

    def line(self, second: float, when: str) -> str:
        """Of the table."""
        cells = (
            *(f"{self.memory / MIB:.1f}", self.descriptors, self.threads),
            *(self.allocations, self.ports, self.relays, self.streams),
        )
        return f"{second:>7.0f}  {when:<16}" + "".join(f"{cell:>13}" for cell in cells)


def heading() -> str:
    """Of the table."""
    return f"{'seconds':>7}  {'':<16}" + "".join(f"{column:>13}" for column in COLUMNS)


def sample(pid: int, admin_port: int) -> Sample:
    """Of a running turnd.

    Raises:
        OSError: it is gone, or its metrics are.
    """
    descriptors = process.descriptors(pid)  # first: asking for metrics takes one
    held = held_of(_scrape(admin_port))
    return Sample(
        memory=process.memory(pid),
        descriptors=descriptors,
        threads=len(process.thread_times(pid)),
        allocations=held["turnd_allocations"],
        ports=held["turnd_relay_ports_in_use"],
        relays=held["turnd_relays"],
        streams=held["turnd_streams"],
    )


def held_of(metrics: str) -> dict[str, int]:
    """The sum over all labels of every gauge, by name."""
    return {
        family.name: int(sum(one.value for one in family.samples))
        for family in text_string_to_metric_families(metrics)
        if family.type == "gauge"
    }


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: bytes = answer.read()
    return text.decode()


def complaints(at_rest: Sequence[Sample]) -> list[str]:
    """What stayed, of at least three samples; empty when all is well."""
    third = len(at_rest) // 3
    first, second, last = at_rest[:third], at_rest[third : 2 * third], at_rest[-third:]
    said = [
        f"at rest, sample {number}, clients still had something: {found}"
        for number, found in enumerate(at_rest, start=1)
        if found.is_used
    ]
    for what in ("descriptors", "threads"):
        before = max(getattr(found, what) for found in first)
        after = getattr(at_rest[-1], what)
        if after > before:
            said.append(f"{what} grew from {before} to {after}")
    before = statistics.median(found.memory for found in second)
    after = statistics.median(found.memory for found in last)
    if after - before > max(MEMORY_BYTES, MEMORY_SHARE * before):
        said.append(f"memory grew from {before / MIB:.1f} to {after / MIB:.1f} MiB")
    return said
