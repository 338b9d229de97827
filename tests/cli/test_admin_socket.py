from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.answering import answering
from tests.waiting import LIMIT
from turnd.cli.admin_socket import UnixConnection, socket_of
from turnd.config import load_text

if TYPE_CHECKING:
    import pytest


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/some")
    named = load_text("admin: {socket: /run/x.sock}", "f", {})
    assert socket_of(named) == Path("/run/x.sock")
    assert socket_of(load_text("", "f", {})) == socket_of(None) == Path("/run/some/admin.sock")


def test_http_over_it(tmp_path: Path) -> None:
    with answering(tmp_path / "admin.sock", b"hello") as asked:
        connection = UnixConnection(tmp_path / "admin.sock", LIMIT)
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == b"hello"
        connection.close()
    assert asked[0].startswith(b"GET /metrics HTTP/1.1")
