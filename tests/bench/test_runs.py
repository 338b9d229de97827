from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.runs import Run, Tools, runs_of
from bench.scenarios import Scenario
from bench.servers import Server
from tests.bench.records import record, run

if TYPE_CHECKING:
    from pathlib import Path

COMPARE = """
import json, sys
with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
    file.write({record!r})
with open({arguments!r}, "w") as file:
    json.dump(sys.argv[1:], file)
"""


def test_a_run_is_read_from_its_record() -> None:
    assert Run.of(record()) == run(
        "coturn",
        3,
        cpu_ns=4983.5,
        p50_us=11.5,
        p99_us=40.0,
        memory_bytes=23000,
        others=0.25,
    )


def test_latency_is_the_worse_of_both_directions() -> None:
    down = {"n": 5, "p50": 12.0, "p99": 39.0}
    found = Run.of(record(latency_down_us=down))
    assert (found.p50_us, found.p99_us) == (12.0, 40.0)


def test_every_fault_counts_and_none_makes_up_for_another() -> None:
    found = Run.of(record(lost=-2, corrupted=1, duplicates=2, reordered=4))
    assert found.faults == 9


def test_a_request_without_percentiles_has_no_latency() -> None:
    nothing = record()
    del nothing["latency_up_us"], nothing["latency_down_us"]
    assert Run.of(nothing).p50_us == 0.0


@pytest.mark.parametrize("change", [{"is_alive": False}, {"failed_setups": 1}, {"cpu_ns": 0.0}])
def test_a_run_without_service_is_not_sound(change: dict[str, Any]) -> None:
    assert run("coturn").is_sound
    assert not run("coturn", **change).is_sound


def test_runs_that_failed_are_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    refused, dead = record(setup={"ok": 9, "failed": 1}), record()
    del dead["server"]
    found = runs_of(map(json.dumps, [record(), refused, dead]))
    assert found == [Run.of(record())]
    said = capsys.readouterr().err
    assert "not counted, for the server failed" in said
    assert "a run without 'server'" in said


def test_compare_is_told_each_server_and_what_it_alone_needs(tmp_path: Path) -> None:
    arguments = tmp_path / "arguments"
    compare = COMPARE.format(record=json.dumps(record()), arguments=str(arguments))
    (tmp_path / "compare.py").write_text(compare)
    tools = Tools(tmp_path, tmp_path, rounds=2, duration=1.5)
    scenario = Scenario("tls-up", "TLS", "--leg tls --dir up")
    servers = [Server("a", ("x", "y z"), 1, 2), Server("b", ("w",), 3, 4, turnload="--raw")]

    assert tools.measure(scenario, servers) == [Run.of(record())]
    told = json.loads(arguments.read_text())
    assert told[told.index("a") - 1 :][:4] == ["--server", "a", "127.0.0.1:1", "x 'y z'"]
    assert "--extra=a=--server 127.0.0.1:2" in told
    assert "--extra=b=--server 127.0.0.1:4 --raw" in told
    assert told[told.index("--scenario") + 1] == "tls-up: --leg tls --dir up --allocs 10"
    assert told[told.index("--reps") + 1] == "2"
    assert told[told.index("--common") + 1] == "--duration 1.5"


def test_a_scenario_where_every_server_failed_has_no_runs(tmp_path: Path) -> None:
    (tmp_path / "compare.py").write_text("")
    tools = Tools(tmp_path, tmp_path, rounds=1, duration=1)
    assert tools.measure(Scenario("up", "up"), [Server("a", ("x",), 1)]) == []
