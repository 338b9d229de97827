"""Measures turnd and says whether every bar is met.

coturn, turnd with one worker and a relay without TURN logic (the floor) run in turn, the server on
CPU 0, the load on CPU 1, and are compared by the CPU time a packet costs: the ratio of two servers
within a round is steady, a machine is not. Needs the folder of turnload, floor and compare.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import figures, machine, report, workers
from bench.figures import Figure, Rounds, sized
from bench.runs import DISTURBED, Run, Tools
from bench.scenarios import ENGINES, FEW, MANY, Measure, Scenario, chosen
from bench.servers import NoAnswerError, Server, Servers
from bench.uclient import Uclient

DESCRIPTORS = 12_000
"""MANY allocations are twice as many sockets of the load generator."""
FAILURES = (
    machine.TooFewDescriptorsError,
    NoAnswerError,
    report.NoMarksError,
    subprocess.CalledProcessError,
)


def main() -> int:
    """Measure, print the tables; 0 when every bar is met."""
    options = arguments()
    try:
        machine.raise_descriptor_limit(DESCRIPTORS)
        heed_others(options)
        with tempfile.TemporaryDirectory(prefix="turnd-bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)  # started as root, turnd becomes somebody else
            return bench(options, folder)
    except FAILURES as error:
        sys.exit(f"bench: {error}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__)
    parser.add_argument("--turnload", type=Path, required=True, help="folder of compare.py")
    parser.add_argument("--engine", choices=[*ENGINES, "all"], help="(native, else portable)")
    parser.add_argument("--only", default="", metavar="PATTERN", help="scenarios, by label")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--duration", type=float, default=3, help="measured seconds a run (3)")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--write", type=Path, help="the page to put all engines' tables on")
    parser.add_argument("--busy", action="store_true", help="write though the machine is busy")
    options = parser.parse_args()
    if options.write and (options.only or options.quick or options.engine):
        parser.error("--write wants all of it: no --only, --quick, --engine")
    if not chosen(options.only):
        parser.error(f"no scenario matches {options.only}")
    if options.quick:
        options.rounds, options.duration = 1, 1
    if options.write:
        options.engine = "all"
    return options


def heed_others(options: argparse.Namespace) -> None:
    """Warn when somebody else is working; refuse to write such figures down."""
    if complaint := machine.complaint_now():
        if options.write and not options.busy:
            sys.exit(f"bench: {complaint}; nothing measured (--busy to do it all the same)")
        print(f"bench: do not trust these figures: {complaint}", file=sys.stderr)


def bench(options: argparse.Namespace, folder: Path) -> int:
    """All that was chosen; the exit status."""
    tools = Tools(options.turnload, folder, options.rounds, options.duration)
    tools.build()
    servers = Servers(folder)
    session = Session(tools, servers, engines(options.engine, servers))
    for scenario in chosen(options.only):
        session.measure(scenario)
    tables = session.tables()
    said = "\n".join(report.section(engine, lines) for engine, lines in tables.items())
    said += f"\n{conditions(options, session.runs)}"
    print(said)
    if options.write:
        report.write_between_marks(options.write, said)
    missed = [
        f"{engine}: {line.what}"
        for engine, lines in tables.items()
        for line in lines
        if line.is_missed
    ]
    for what in missed:
        print(f"bench: bar missed: {what}", file=sys.stderr)
    return 1 if missed else 0


def engines(wanted: str | None, servers: Servers) -> list[str]:
    """Those to measure: the one named, all that are installed, or the better one that is."""
    if wanted in ENGINES:
        return [wanted]
    installed = [engine for engine in ENGINES if servers.is_installed(engine)]
    return installed if wanted == "all" else installed[:1]


class Session:
    """Measures scenario by scenario and keeps each engine's figures."""

    def __init__(self, tools: Tools, servers: Servers, engines: list[str]) -> None:
        self.runs: list[Run] = []
        self._tools = tools
        self._servers = servers
        self._engines = engines
        self._figures: dict[str, list[Figure]] = {engine: [] for engine in engines}

    def measure(self, scenario: Scenario) -> None:
        """Add what the scenario shows of every engine."""
        match scenario.measure:
            case Measure.START:
                self._start(scenario)
            case Measure.WORKERS:
                self._workers(scenario)
            case Measure.DTLS:
                self._dtls(scenario)
            case _:
                self._load(scenario)

    def tables(self) -> dict[str, list[Figure]]:
        """By engine, with what all runs together show at the end."""
        if not self.runs:
            return self._figures
        return {
            engine: [*lines, figures.faults(engine, self.runs)]
            for engine, lines in self._figures.items()
        }

    def _load(self, scenario: Scenario) -> None:
        """What turnload measures."""
        servers = [self._servers.coturn(), *map(self._servers.turnd, self._engines)]
        if scenario.measure is Measure.SIZE:
            servers = [sized_server(server, n) for n in (FEW, MANY) for server in servers]
        floors = [self._servers.floor(v, scenario.allocations) for v in scenario.floors]
        runs = self._tools.measure(scenario, [*servers, *floors])
        self.runs += runs
        rounds = Rounds(runs)
        for engine, lines in self._figures.items():
            lines.extend(figures.of(scenario, engine, rounds))

    def _dtls(self, scenario: Scenario) -> None:
        """What coturn's client measures. That messages get lost between busy CPUs is no fault."""
        coturn = self._servers.coturn(dtls=True)
        servers = [coturn, *map(self._servers.turnd_with_dtls, self._engines)]
        tools = self._tools
        client = Uclient(tools.built, tools.rounds, tools.duration)
        rounds = Rounds(client.measure(scenario, servers))
        for engine, lines in self._figures.items():
            lines.extend(figures.of(scenario, engine, rounds))

    def _start(self, scenario: Scenario) -> None:
        """The first start, which may have to compile the modules, is not counted."""
        seconds = {}
        for server in (self._servers.coturn(), *map(self._servers.turnd, self._engines)):
            times = [self._servers.seconds_to_answer(server) for _ in range(self._tools.rounds + 1)]
            seconds[server.name] = statistics.median(times[1:])
        for engine, lines in self._figures.items():
            lines.append(figures.start(scenario.what, engine, seconds))

    def _workers(self, scenario: Scenario) -> None:
        """The portable engine has none."""
        if "native" in self._figures:
            ratio = workers.two_against_one(self._tools, scenario, self._servers, "native")
            self._figures["native"].append(figures.workers(scenario.what, "native", ratio))


def sized_server(server: Server, allocations: int) -> Server:
    """The same server, measured with another number of allocations than the scenario's."""
    return dataclasses.replace(
        server,
        name=sized(server.name, allocations),
        turnload=f"{server.turnload} --allocs {allocations}".lstrip(),
    )


def conditions(options: argparse.Namespace, runs: list[Run]) -> str:
    """What the figures were measured on, and what may have spoilt them."""
    said = f"Medians of {options.rounds} rounds of {options.duration:g} s; {machine.description()}."
    if disturbed := sum(run.others > DISTURBED for run in runs):
        said += (
            f" In {disturbed} of {len(runs)} runs others had {DISTURBED:.0%} of the server's CPU."
        )
    if bound := sum(run.is_tool_bound for run in runs):
        said += f" In {bound} the load generator was the limit."
    return said


if __name__ == "__main__":
    sys.exit(main())
