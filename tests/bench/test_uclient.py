"""What is made of coturn's client's output."""

from __future__ import annotations

from bench.scenarios import SCENARIOS, Measure
from bench.servers import Server
from bench.uclient import Spent, command, counts_of, run_of

OUTPUT = """\
0: : start_mclient: msz=2, tot_send_msgs=10, tot_recv_msgs=9, tot_send_bytes ~ 3
1: : start_mclient: tot_send_msgs=20, tot_recv_msgs=19
1: : start_mclient: tot_send_bytes ~ 3, tot_recv_bytes ~ 3
"""


def test_the_last_totals_count() -> None:
    assert counts_of(OUTPUT) == (20, 19)
    assert counts_of("0: : Cannot complete Allocation") == (0, 0)


def test_what_two_runs_differ_by_is_the_messages() -> None:
    run = run_of("coturn", 3, Spent(1_000_000, 30, 30), Spent(3_000_000, 130, 129))
    assert (run.server, run.round, run.faults, run.is_sound) == ("coturn", 3, 1, True)
    assert run.cpu_ns == 2_000_000 / 99


def test_without_allocations_there_is_no_figure() -> None:
    assert not run_of("x", 0, Spent(5, 0, 0), Spent(9, 10, 10)).is_sound
    assert not run_of("x", 0, Spent(5, 10, 10), Spent(9, 0, 0)).is_sound


def test_it_goes_to_the_dtls_port() -> None:
    (first, *_) = [each for each in SCENARIOS if each.measure is Measure.DTLS]
    words = command(first, Server("x", (), 1, 2), 7)
    assert words[words.index("-p") + 1] == "2"
    assert words[words.index("-n") + 1] == "7"
    assert words[words.index("-l") + 1] == "160"
    assert "-S" in words
    assert "-t" not in words
