"""Runs of the load generator: several servers in turn, through its own `compare.py`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.scenarios import Scenario
    from bench.servers import Server

from bench.servers import HOST

DISTURBED = 0.1
"""Share of the server's CPU that somebody else had, from which on a run counts as disturbed."""


@dataclass(frozen=True)
class Run:
    """What turnload says of one run."""

    server: str
    round: int
    cpu_ns: float
    """CPU time of the server a packet, request or cycle, the kernel's work for it included."""
    p50_us: float
    p99_us: float
    memory_bytes: float
    """Resident, an allocation."""
    faults: int
    """Packets lost, corrupted, duplicated or reordered."""
    packets: int
    """Sent."""
    failed_setups: int
    is_alive: bool
    is_tool_bound: bool
    """turnload, not the server, was the limit."""
    others: float
    """Share of the server's CPU that was somebody else's."""

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Of turnload's JSON object, with what compare.py adds to it.

        Raises:
            KeyError: something is missing, as of a server that died before the run.
        """
        server = said["server"]
        histograms = [said[name] for name in _LATENCIES if said.get(name, {}).get("n")]
        faults = ("lost", "corrupted", "duplicates", "reordered")
        return cls(
            server=said["server_name"],
            round=said["round"],
            cpu_ns=server["cpu_ns_per_op"],
            p50_us=max((histogram["p50"] for histogram in histograms), default=0.0),
            p99_us=max((histogram["p99"] for histogram in histograms), default=0.0),
            memory_bytes=server["rss_per_alloc"],
            faults=sum(abs(said[fault]) for fault in faults),
            packets=said["sent"],
            failed_setups=said["setup"]["failed"],
            is_alive=server["alive"],
            is_tool_bound=said["tool"]["bound"],
            others=said["cpus"]["busy"] - server["cpu_load"],
        )

    @property
    def is_sound(self) -> bool:
        """Whether there was a server that served everybody for the whole of it."""
        return self.is_alive and not self.failed_setups and self.cpu_ns > 0


_LATENCIES = ("latency_up_us", "latency_down_us", "latency_us")


@dataclass(frozen=True)
class Tools:
    """The load generator, and how long it is used."""

    folder: Path
    """Where `compare.py` and the sources are."""
    built: Path
    """Where the programs are, and what a run leaves behind."""
    rounds: int
    duration: float
    """Measured seconds of a run."""

    def build(self) -> None:
        """Into the other folder, not beside the sources.

        Raises:
            CalledProcessError: a compiler or a library is missing.
        """
        for program in ("turnload", "floor"):
            build(self.folder / program, self.built)

    @property
    def turnload(self) -> Path:
        """The program."""
        return self.built / "turnload"

    def measure(self, scenario: Scenario, servers: Sequence[Server]) -> list[Run]:
        """Each round every server once, started afresh on CPU 0, with the load on CPU 1.

        Runs that failed are left out; compare.py says on standard error why.

        Raises:
            CalledProcessError: compare.py itself failed.
        """
        results = self.built / "runs.jsonl"
        results.unlink(missing_ok=True)
        command = [sys.executable, str(self.folder / "compare.py")]
        command += ["--turnload", str(self.turnload), "--json", str(results)]
        command += ["--reps", str(self.rounds), "--common", f"--duration {self.duration:g}"]
        command += ["--settle", "10", "--scenario", f"{scenario.label}: {scenario.turnload}"]
        for server in servers:
            command += ["--server", server.name, f"{HOST}:{server.port}"]
            command += [shlex.join(server.command)]
            command += [f"--extra={server.name}={_extra(scenario, server)}"]
        # compare.py keeps the servers' complaints in the folder for temporary files
        environment = os.environ | {"TMPDIR": str(self.built)}
        subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
        return runs_of(results.read_text().splitlines() if results.exists() else [])


def build(source: Path, into: Path) -> None:
    """Make the programs of one folder, into another.

    Raises:
        CalledProcessError: a compiler or a library is missing.
    """
    make = ["make", "--quiet", "-C", str(source), f"OUT={into}"]
    subprocess.run(make, check=True, stdout=sys.stderr)


def runs_of(lines: Iterable[str]) -> list[Run]:
    """The sound ones among compare.py's records, one JSON object a line."""
    runs = []
    for line in lines:
        try:
            run = Run.of(json.loads(line))
        except KeyError as missing:
            print(f"bench: a run without {missing}: {line}", file=sys.stderr)
            continue
        if run.is_sound:
            runs.append(run)
        else:
            print(f"bench: not counted, for the server failed: {line}", file=sys.stderr)
    return runs


def _extra(scenario: Scenario, server: Server) -> str:
    """What this server alone needs of turnload's arguments; of two `--server` the last counts."""
    if not scenario.is_tls:
        return server.turnload
    return f"--server {HOST}:{server.tls_port} {server.turnload}".rstrip()
