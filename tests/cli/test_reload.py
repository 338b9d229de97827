from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.answering import answering

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.e2e.server import Server

Write = Callable[..., Path]
CHANGED = {"ok": True, "live": ["auth.users"], "restart": ["listen"], "problems": []}


def answer(run: Run, elsewhere: Path, body: Any, *words: str) -> tuple[int, str, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with answering(elsewhere / "run" / "admin.sock", data) as asked:
        result = run("reload", *words)
    assert asked[0].startswith(b"POST /v1/reload HTTP/1.1\r\n")
    return result


def test_what_changed_and_what_needs_a_restart(run: Run, elsewhere: Path) -> None:
    status, out, err = answer(run, elsewhere, CHANGED)

    assert (status, err) == (0, "")
    assert out == "changed: auth.users\nneeds a restart: listen\n"


def test_nothing_has_changed(run: Run, elsewhere: Path) -> None:
    body = {"ok": True, "live": [], "restart": [], "problems": []}

    assert answer(run, elsewhere, body) == (0, "read again: nothing has changed\n", "")


def test_as_json(run: Run, elsewhere: Path) -> None:
    _, out, _ = answer(run, elsewhere, CHANGED, "--json")

    assert json.loads(out) == CHANGED


def test_a_broken_file(run: Run, elsewhere: Path) -> None:
    body = {"ok": False, "live": [], "restart": [], "problems": ["c.yaml:1:1: a: b", "second"]}

    status, out, err = answer(run, elsewhere, body)

    assert (status, out) == (78, "")
    assert err == "c.yaml:1:1: a: b\nsecond\nturnd reload: nothing was changed\n"


def test_problems_that_keep_nothing_else_from_changing(run: Run, elsewhere: Path) -> None:
    status, out, err = answer(run, elsewhere, CHANGED | {"problems": ["old.pem has expired"]})

    assert status == 0
    assert err == "old.pem has expired\n"
    assert out.startswith("changed")


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}"])
def test_an_answer_that_is_none(run: Run, elsewhere: Path, body: bytes) -> None:
    status, _, err = answer(run, elsewhere, body)

    assert status == 70
    assert "answer is none" in err


def test_a_server_that_hangs_up(run: Run, elsewhere: Path) -> None:
    status, _, err = answer(run, elsewhere, b"hang up")

    assert status == 69
    assert "gave no answer" in err


def test_no_server_runs(run: Run, elsewhere: Path) -> None:
    result = run("reload")

    assert result.status == 69
    assert result.err == (
        f"turnd reload: no server runs here (nobody listens at {elsewhere}/run/admin.sock)\n"
    )


def test_a_socket_that_was_left_behind(run: Run, elsewhere: Path) -> None:
    path = elsewhere / "left.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()

    assert run("reload", "--socket", path).status == 69


def test_the_socket_of_the_config(run: Run, elsewhere: Path, config: Write) -> None:
    path = config(admin={"socket": str(elsewhere / "own.sock")})

    assert "own.sock" in run("reload", "--config", path).err


def test_a_broken_config_is_the_servers_to_tell(run: Run, elsewhere: Path, config: Write) -> None:
    config(reallm="x")

    status, _, _ = answer(run, elsewhere, CHANGED)

    assert status == 0


def test_a_socket_of_somebody_else(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("turnd.cli.admin_socket.UnixConnection.connect", refuse)

    result = run("reload")

    assert result.status == 77
    assert "as the server's user or as root" in result.err


def test_a_running_server(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(server.config_file.parent))
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    sockets = [*server.config_file.parent.rglob("admin.sock")]
    assert len(sockets) == 1
    words = ["reload", "--socket", sockets[0]]
    before = dict(server.config)

    server.rewrite(limits={"allocations_per_user": 7})
    assert run(*words).out == "changed: limits.allocations_per_user\n"
    server.rewrite(reallm="x")
    broken = run(*words)
    assert broken.status == 78
    assert "reallm" in broken.err

    server.config.clear()
    server.rewrite(**before)
    assert run(*words).status == 0
