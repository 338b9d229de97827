"""Two workers on two CPUs against one, on a machine where the load needs CPUs as well.

Packets per second would show how server and load share the CPUs. What the server alone could carry
shows in CPU time: its busiest thread is the one that would be full first, so the packets a CPU
second of that thread are what there is to compare. Two workers that share everything evenly and
do not wait for each other carry twice as much.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING

from bench.figures import median_ratio
from bench.process import busiest, running, thread_times
from bench.servers import HOST, on_cpus, wait_for_answer

if TYPE_CHECKING:
    from bench.runs import Tools
    from bench.scenarios import Scenario
    from bench.servers import Server, Servers

CPUS = {1: "0", 2: "0,1"}
"""The server's, by its number of workers."""
LOAD_CPU = "1"


def two_against_one(
    tools: Tools, scenario: Scenario, servers: Servers, engine: str
) -> float | None:
    """The median over the rounds; None when no run delivered anything.

    Raises:
        NoAnswerError: turnd does not start.
    """
    carried: dict[int, dict[int, float]] = {1: {}, 2: {}}
    for number in range(tools.rounds):
        for count, cpus in CPUS.items():
            server = servers.turnd(engine, workers=count)
            carried[count][number] = _packets_a_second(tools, scenario, server, cpus)
    return median_ratio(carried[2], carried[1])


def _packets_a_second(tools: Tools, scenario: Scenario, server: Server, cpus: str) -> float:
    """Delivered for each CPU second of the server's busiest thread."""
    errors = tools.built / "errors"
    with errors.open("wb") as stderr, running(on_cpus(cpus, server.command), stderr) as process:
        wait_for_answer(process, server, errors)
        before = thread_times(process.pid)
        load = subprocess.run(
            [
                *(str(tools.turnload), "--server", f"{HOST}:{server.port}", "--cpu", LOAD_CPU),
                *("--duration", str(tools.duration), *shlex.split(scenario.turnload)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        busy = busiest(before, thread_times(process.pid))
    delivered = json.loads(load.stdout)["delivered"] if load.returncode == 0 else 0
    return delivered / busy * 1e9 if busy else 0.0
