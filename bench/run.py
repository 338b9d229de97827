"""Measures the portable engine against coturn and says whether every bar is met.

`make bench TURNLOAD=FOLDER`, where FOLDER holds the load generator `turnload/` and `compare.py`,
which starts both servers afresh in turn, the server on CPU 0 and the load on CPU 1. Figures are CPU
time, not packets per second: the ratio of two servers within a round is steady, a machine is not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Run = dict[str, Any]
"""What turnload prints of one run, with `server_name`, `label` and `round`."""

PORTS = {"coturn": 8478, "turnd": 9478}
SCENARIOS = {
    "up": "--dir up --size 160 --allocs 10",
    "down": "--dir down --size 160 --allocs 10",
    "churn": "--mode alloc --allocs 32",
    "up-5000": "--dir up --size 160 --allocs 5000",
}
DESCRIPTORS = 12_000
"""5,000 allocations are 10,000 sockets of the load generator."""
BINDING_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    shown: tuple[str, ...]
    """coturn's figure and turnd's."""
    value: float
    """What the bar is held against."""
    bar: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """At the bar counts as met."""
        return self.value <= self.bar

    def row(self) -> str:
        """As Markdown."""
        met = "yes" if self.is_met else "**no**"
        value, bar = f"{self.value:.2f}{self.unit}", f"≤ {self.bar:g}{self.unit}"
        return f"| {self.what} | {' | '.join(self.shown)} | {value} | {bar} | {met} |"


def main() -> int:
    """Measure, print the table; 0 when every bar is met."""
    options = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        sys.exit(f"bench: {DESCRIPTORS} file descriptors needed, the limit is {hard} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 20)), hard))
    with tempfile.TemporaryDirectory(prefix="turnd-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started as root, turnd becomes somebody else
        make = ["make", "--quiet", "-C", str(options.turnload / "turnload"), f"OUT={folder}"]
        subprocess.run(make, check=True)
        commands = {"coturn": coturn_command(folder), "turnd": turnd_command(folder)}
        errors = folder / "errors"
        starts = {
            name: first_answers(command, PORTS[name], errors, options.reps + 1)
            for name, command in commands.items()
        }
        runs = measure(options, folder, commands)
    figures = [*relay_figures(runs), *memory_figures(runs), start_figure(starts)]
    table = markdown(figures, options)
    print(table)
    if options.write:
        write_between_marks(options.write, table)
    missed = [figure.what for figure in figures if not figure.is_met]
    if missed:
        print(f"bench: over the bar: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--turnload", type=Path, required=True, help="folder of compare.py")
    parser.add_argument("--reps", type=int, default=5, help="rounds (5)")
    parser.add_argument("--duration", type=float, default=3, help="measured seconds a run (3)")
    parser.add_argument("--write", type=Path, help="put the table between this file's marks")
    return parser.parse_args()


def coturn_command(folder: Path) -> list[str]:
    """Coturn with one relay thread and a user database of its own."""
    return [
        *("turnserver", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--lt-cred-mech"),
        *(f"--listening-port={PORTS['coturn']}", "--realm=bench.local", "--user=user:pass"),
        *("--allow-loopback-peers", "--no-cli", "--min-port=10000", "--max-port=32000"),
        *("--log-file=/dev/null", "--relay-threads=1", f"--userdb={folder / 'coturn.db'}"),
        *("--no-tls", "--no-dtls", f"--pidfile={folder / 'coturn.pid'}"),
    ]


def turnd_command(folder: Path) -> list[str]:
    """Turnd alike: one UDP endpoint, the same relay ports, no cap on unauthenticated answers."""
    state = folder / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    os.environ.update(STATE_DIRECTORY=str(state), RUNTIME_DIRECTORY=str(state))
    config = {
        "realm": "bench.local",
        "listen": [f"udp://127.0.0.1:{PORTS['turnd']}"],
        "relay": {"addresses": ["127.0.0.1"], "ports": "10000-32000"},
        "auth": {"users": {"user": "pass"}},
        "peers": {"allow": ["127.0.0.0/8"]},
        "limits": {"unauthenticated_per_second": 0},
        "admin": {"listen": None},
        "engine": "portable",
        "log": {"format": "json", "level": "warning"},
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    return [str(Path(sys.executable).with_name("turnd")), "serve", "--config", str(file)]


@contextmanager
def running(command: list[str], errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server on CPU 0, ended by its process id; `errors` gets what it complains of."""
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def first_answers(command: list[str], port: int, errors: Path, times: int) -> list[float]:
    """Seconds from the start of the process to its first Binding response, of several starts."""
    answers = []
    for _ in range(times):
        begin = time.monotonic()
        with running(command, errors) as process:
            while not is_answering(port):
                if process.poll() is not None or time.monotonic() - begin > 10:
                    said = errors.read_text(errors="replace")
                    sys.exit(f"bench: no answer of {shlex.join(command)}:\n{said}")
            answers.append(time.monotonic() - begin)
    return answers


def is_answering(port: int) -> bool:
    """Whether a Binding request is answered within 5 ms."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.005)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(BINDING_REQUEST)
            return probe.recv(2048)[:2] == b"\x01\x01"
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            time.sleep(0.002)
            return False


def measure(options: argparse.Namespace, folder: Path, commands: dict[str, list[str]]) -> list[Run]:
    """Every scenario against both servers, A B A B."""
    results = folder / "runs.jsonl"
    command = [sys.executable, str(options.turnload / "compare.py")]
    command += ["--turnload", str(folder / "turnload"), "--json", str(results)]
    command += ["--reps", str(options.reps), "--common", f"--duration {options.duration}"]
    for name, server in commands.items():
        command += ["--server", name, f"127.0.0.1:{PORTS[name]}", shlex.join(server)]
    for label, scenario in SCENARIOS.items():
        command += ["--scenario", f"{label}: {scenario}"]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(folder)})
    runs = [json.loads(line) for line in results.read_text().splitlines()]
    for run in runs:
        refused = run["setup"]["failed"] if run["server_name"] == "turnd" else 0
        if refused or run["corrupted"] or not run["server"]["alive"]:
            sys.exit(f"bench: {run['server_name']} failed in {run['label']}: {json.dumps(run)}")
    return runs


def by_round(runs: list[Run], server: str, label: str) -> dict[int, Run]:
    """One server's runs of one scenario."""
    found = {r["round"]: r for r in runs if (r["server_name"], r["label"]) == (server, label)}
    if not found:
        sys.exit(f"bench: no run of {server} in {label} succeeded")
    return found


def microseconds(run: Run) -> float:
    """CPU time a packet, or a cycle."""
    return float(run["server"]["cpu_ns_per_op"]) / 1000


def median_ratio(over: dict[int, Run], under: dict[int, Run]) -> float:
    """The median of the ratios within a round: slow and fast spells of the machine cancel out."""
    rounds = over.keys() & under.keys()
    return statistics.median(microseconds(over[r]) / microseconds(under[r]) for r in rounds)


def median(runs: dict[int, Run], value: Callable[[Run], float]) -> float:
    """Over the rounds."""
    return statistics.median(map(value, runs.values()))


def relay_figures(runs: list[Run]) -> list[Figure]:
    """CPU time, as ratios to coturn; and how it grows with the number of allocations."""
    bars = {
        "up": ("CPU a packet, client to peer, 160 B, 10 allocations", 2.5),
        "down": ("CPU a packet, peer to client, 160 B, 10 allocations", 2.5),
        "churn": ("CPU an allocate-and-delete cycle", 2.0),
    }
    figures = []
    for label, (what, bar) in bars.items():
        coturn, turnd = by_round(runs, "coturn", label), by_round(runs, "turnd", label)
        shown = tuple(f"{median(side, microseconds):.1f} µs" for side in (coturn, turnd))
        figures.append(Figure(what, shown, median_ratio(turnd, coturn), bar, " x coturn"))
    growth = {
        name: median_ratio(by_round(runs, name, "up-5000"), by_round(runs, name, "up"))
        for name in PORTS
    }
    shown = tuple(f"{growth[name]:.2f} x" for name in ("coturn", "turnd"))
    what = "CPU a packet at 5,000 allocations against 10"
    return [*figures, Figure(what, shown, growth["turnd"], 1.5, " x")]


def memory_figures(runs: list[Run]) -> list[Figure]:
    """Resident memory that an allocation adds."""
    kib = {
        name: median(by_round(runs, name, "up-5000"), lambda r: r["server"]["rss_per_alloc"] / 1024)
        for name in PORTS
    }
    shown = tuple(f"{kib[name]:.1f} KiB" for name in ("coturn", "turnd"))
    return [Figure("memory an allocation, at 5,000", shown, kib["turnd"], 12, " KiB")]


def start_figure(starts: dict[str, list[float]]) -> Figure:
    """The median; the first start, which may have to compile the modules, is not among them."""
    medians = {name: statistics.median(starts[name][1:]) for name in PORTS}
    shown = tuple(f"{medians[name]:.2f} s" for name in ("coturn", "turnd"))
    return Figure("start to first answer", shown, medians["turnd"], 1, " s")


def markdown(figures: list[Figure], options: argparse.Namespace) -> str:
    """The table, and what it was measured on."""
    coturn = subprocess.run(
        ["turnserver", "--version"], capture_output=True, text=True, check=False
    )
    versions = f"coturn {coturn.stdout.split()[-1] if coturn.stdout.split() else 'unknown'}"
    system = f"{cpu_model()}, Linux {platform.release()}, Python {platform.python_version()}"
    head = "| | coturn | turnd | turnd against the bar | bar | met |\n|---|---|---|---|---|---|"
    rows = "\n".join(figure.row() for figure in figures)
    under = f"Medians of {options.reps} rounds of {options.duration:g} s; {system}, {versions}."
    return f"{head}\n{rows}\n\n{under}"


def cpu_model() -> str:
    """As the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_between_marks(file: Path, table: str) -> None:
    """Replace what stands between the two marks; the rest of the file is prose."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"bench: {file} has no {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
