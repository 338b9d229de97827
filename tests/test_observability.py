"""docs/observability.md names every metric and every event, and none that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from turnd.admin.metrics import Metrics
from turnd.admin.snapshot import Reload, Snapshot
from turnd.engine.base import EngineCounters, LatencyHistogram

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/observability.md").read_text()
MADE_BY_LOGS = {"log_records_dropped"}


def documented(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_metrics() -> None:
    snapshot = Snapshot(
        "1",
        "e",
        "r",
        engine=EngineCounters(latency=LatencyHistogram((1.0,), (1, 0), 0.5)),
        reload=Reload(True, 0.0),
        redis_available=True,
        user_allocations={},
    )
    text = Metrics(lambda: snapshot).text().decode()
    assert documented("Metrics") == set(re.findall(r"^# TYPE (turnd_\w+)", text, re.MULTILINE))


def test_events() -> None:
    call = re.compile(
        r"\b(?:_?logs?\.(?:debug|info|warning|error|exception)|_?report)\(\s*\"(\w+)\""
    )
    used = {
        name
        for path in (ROOT / "turnd").rglob("*.py")
        if not path.is_relative_to(ROOT / "turnd/cli")
        for name in call.findall(path.read_text())
    }
    assert documented("Logs") == used | MADE_BY_LOGS
