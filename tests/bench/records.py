"""Runs and turnload's records of them, as tests want them."""

from __future__ import annotations

from typing import Any

from bench.runs import Run


def run(server: str, number: int = 0, **changed: Any) -> Run:
    """A sound run."""
    values: dict[str, Any] = {
        "cpu_ns": 5000.0,
        "p50_us": 20.0,
        "p99_us": 60.0,
        "memory_bytes": 2048.0,
        "faults": 0,
        "packets": 1000,
        "failed_setups": 0,
        "is_alive": True,
        "is_tool_bound": False,
        "others": 0.0,
    }
    return Run(server=server, round=number, **(values | changed))


def record(**changed: Any) -> dict[str, Any]:
    """What turnload and compare.py say of one run, without what nobody reads."""
    return {
        "server_name": "coturn",
        "round": 3,
        "label": "up-160-10",
        "setup": {"ok": 10, "failed": 0},
        "sent": 1000,
        "lost": 0,
        "corrupted": 0,
        "duplicates": 0,
        "reordered": 0,
        "latency_up_us": {"n": 1000, "p50": 11.5, "p99": 40.0},
        "latency_down_us": {"n": 0, "p50": 0.0, "p99": 0.0},
        "tool": {"bound": False},
        "server": {
            "alive": True,
            "cpu_ns_per_op": 4983.5,
            "cpu_load": 0.75,
            "rss_per_alloc": 23000,
        },
        "cpus": {"busy": 1.0},
    } | changed
