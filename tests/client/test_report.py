from __future__ import annotations

import pytest

from turnd.client.report import Report, Status, Step
from turnd.client.uri import Server, Transport

SERVER = Server("h", 3478, Transport.UDP)


@pytest.mark.parametrize(
    ("status", "ok"),
    [
        (Status.OK, True),
        (Status.WARNING, True),
        (Status.SKIPPED, True),
        (Status.FAILED, False),
    ],
)
def test_only_a_failed_step_fails(status: Status, ok: bool) -> None:
    report = Report(SERVER, [Step("binding", Status.OK, ""), Step("echo", status, "")])

    assert report.ok is ok


def test_json_leaves_out_what_is_empty() -> None:
    steps = [
        Step("binding", Status.OK, "1 ms", values={"time_ms": 1.0}),
        Step("echo", Status.FAILED, "0 of 2", "open the ports"),
    ]

    assert Report(SERVER, steps).as_json() == {
        "transport": "udp",
        "server": "turn:h:3478?transport=udp",
        "ok": False,
        "steps": [
            {"name": "binding", "status": "ok", "text": "1 ms", "time_ms": 1.0},
            {"name": "echo", "status": "failed", "text": "0 of 2", "fix": "open the ports"},
        ],
    }
