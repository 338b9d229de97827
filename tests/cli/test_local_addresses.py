from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.answering import answering
from turnd.cli.local_addresses import check_addresses
from turnd.client.report import Status
from turnd.config import load_text
from turnd.runtime.names import Names, UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    from turnd.client.report import Step

METRIC = 'turnd_relay_address_info{bound="127.0.0.1",announced="203.0.113.7"} 1.0\n'


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Names that say 203.0.113.7, but for those of `.invalid`."""

    async def look_up(_: Names, name: str) -> tuple[str, ...]:
        if name.endswith(".invalid"):
            raise UnknownNameError(f"{name}: not known")
        return ("203.0.113.7",)

    monkeypatch.setattr(Names, "look_up", look_up)
    return tmp_path


def check(folder: Path, *entries: str) -> Step:
    listed = ", ".join(f'"{entry}"' for entry in entries)
    socket = folder / "admin.sock"
    text = f"relay: {{addresses: [{listed}]}}\nadmin: {{socket: {socket}}}"
    return check_addresses(load_text(text, "f", {}))


def test_what_there_is(look: Path) -> None:
    step = check(look, "127.0.0.1=dns:home.example", "127.0.0.2")
    assert step.status is Status.OK
    assert step.text == "127.0.0.1=203.0.113.7, 127.0.0.2"
    assert step.values == {"relay": ["127.0.0.1=203.0.113.7", "127.0.0.2"]}


def test_the_running_server_gives_the_same(look: Path) -> None:
    with answering(look / "admin.sock", METRIC.encode()) as asked:
        step = check(look, "127.0.0.1=dns:home.example")
    assert step.status is Status.OK
    assert step.values["running"] == ["127.0.0.1=203.0.113.7"]
    assert asked[0].startswith(b"GET /metrics ")


@pytest.mark.parametrize(
    ("metrics", "gives"),
    [(METRIC.replace("203.0.113.7", "203.0.113.9"), "127.0.0.1=203.0.113.9"), ("", "none")],
)
def test_the_running_server_gives_something_else(look: Path, metrics: str, gives: str) -> None:
    with answering(look / "admin.sock", metrics.encode()):
        step = check(look, "127.0.0.1=dns:home.example")
    assert step.status is Status.WARNING
    assert step.text == f"127.0.0.1=203.0.113.7 now, but the running server gives {gives}"
    assert "refresh_addresses" in step.fix


@pytest.mark.parametrize("body", [b"hang up", b"\xff", b"turnd_relay_address_info{} 1\n", b"{{{ 1"])
def test_a_server_that_gives_no_answer_is_left_out(look: Path, body: bytes) -> None:
    with answering(look / "admin.sock", body):
        step = check(look, "127.0.0.1=dns:home.example")
    assert step.status is Status.OK
    assert "running" not in step.values


def test_what_is_wanting(look: Path) -> None:
    step = check(look, "127.0.0.1=dns:home.invalid")
    assert step.status is Status.FAILED
    assert step.text == "127.0.0.1=dns:home.invalid: home.invalid: not known"
    assert "relay.addresses" in step.fix
    step = check(look, "127.0.0.1", "198.51.100.9")
    assert step.status is Status.WARNING
    assert step.text.startswith("198.51.100.9: no interface of this host has it")
    assert check(look, "198.51.100.9").status is Status.FAILED
