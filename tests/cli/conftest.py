from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.best_engine import engine
from tests.e2e.conftest import authority, folders, server
from turnd.cli import main

__all__ = ["authority", "engine", "folders", "server"]


class Result(NamedTuple):
    """What a command line came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]
"""`run("user", "list", stdin="…")`."""


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> Run:
    """Runs a command line in this process, in an empty folder and with a clean environment."""

    def running(*words: str | Path, stdin: str = "") -> Result:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Result(status, printed.out, printed.err)

    return running


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in; state and runtime directories are in it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setattr("turnd.config.loader.PLACES", (Path("config.yaml"),))
    return tmp_path


@pytest.fixture
def config(elsewhere: Path) -> Callable[..., Path]:
    """Writes a config file in the current folder."""

    def write(name: str = "config.yaml", /, **sections: Any) -> Path:
        path = elsewhere / name
        path.write_text(json.dumps(sections))
        return path

    return write
