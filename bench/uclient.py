"""DTLS, which turnload does not speak: coturn's own client by DTLS, against coturn's own echo.

A message goes up by a Send indication and comes back by a Data indication. Its CPU time is what two
runs differ by that differ in the number of messages alone: handshakes and allocations are in both.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from bench.process import running, thread_times
from bench.runs import Run
from bench.servers import HOST, PASSWORD, USER, on_cpus, wait_for_answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.scenarios import Scenario
    from bench.servers import Server

CLIENTS = 10
FEWER = 300
"""Messages of each client in the shorter run; one a millisecond."""
ECHO_PORT = 9999
PATIENCE = 300.0


class Spent(NamedTuple):
    """What one run took."""

    nanoseconds: int
    sent: int
    received: int


class Uclient:
    """Runs it: the server on CPU 0, the client and the echo on CPU 1."""

    def __init__(self, folder: Path, rounds: int, duration: float) -> None:
        """`folder`: for what servers complain of; `duration`: seconds that a run is longer by."""
        self._folder = folder
        self._rounds = rounds
        self._more = FEWER + round(1000 * duration)

    def measure(self, scenario: Scenario, servers: Sequence[Server]) -> list[Run]:
        """Each round every server once; runs that failed are left out, and said on stderr."""
        runs = []
        for number in range(self._rounds):
            for server in servers:
                fewer, more = (
                    self._spend(scenario, server, messages) for messages in (FEWER, self._more)
                )
                run = run_of(server.name, number, fewer, more)
                if run.is_sound:
                    runs.append(run)
                else:
                    print(f"bench: not counted: {server.name}: {fewer} {more}", file=sys.stderr)
        return runs

    def _spend(self, scenario: Scenario, server: Server, messages: int) -> Spent:
        """One run; nothing of all where the client gives up."""
        errors = self._folder / "errors"
        echo = on_cpus("1", ["turnutils_peer", "-L", HOST, "-p", str(ECHO_PORT)])
        with (
            errors.open("wb") as stderr,
            running(on_cpus("0", server.command), stderr) as process,
            running(echo, stderr),
        ):
            wait_for_answer(process, server, errors)
            before = sum(thread_times(process.pid).values())
            client = subprocess.run(
                on_cpus("1", command(scenario, server, messages)),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            after = sum(thread_times(process.pid).values())
        return Spent(after - before, *counts_of(client.stdout))


def command(scenario: Scenario, server: Server, messages: int) -> list[str]:
    """The client's: DTLS, indications, no RTCP beside, one message a millisecond and client."""
    load = ["-m", str(CLIENTS), "-n", str(messages), "-z", "1", *scenario.load.split()]
    peer = ["-e", HOST, "-r", str(ECHO_PORT)]
    who = ["-u", USER, "-w", PASSWORD]
    return ["turnutils_uclient", "-S", "-s", "-c", *load, *peer, *who,
            "-p", str(server.tls_port), HOST]  # fmt: skip


def counts_of(output: str) -> tuple[int, int]:
    """The last totals that the client printed; none where it got no allocation."""
    found = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)$", output, re.MULTILINE)
    sent, received = found[-1] if found else (0, 0)
    return int(sent), int(received)


def run_of(server: str, number: int, fewer: Spent, more: Spent) -> Run:
    """The difference of two runs, by each message that came back."""
    messages = more.received - fewer.received
    return Run(
        server=server,
        round=number,
        cpu_ns=(more.nanoseconds - fewer.nanoseconds) / max(messages, 1),
        p50_us=0.0,
        p99_us=0.0,
        memory_bytes=0.0,
        faults=more.sent - more.received,
        packets=more.sent,
        failed_setups=int(not (fewer.sent and more.sent)),
        is_alive=messages > 0,
        is_tool_bound=False,
        others=0.0,
    )
