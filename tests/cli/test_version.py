from __future__ import annotations

import platform
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.cli import version
from turnd.engine.installed import EngineUnavailableError

if TYPE_CHECKING:
    from tests.cli.conftest import Run

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def declared() -> str:
    return str(tomllib.loads(PROJECT.read_text())["project"]["version"])


MISSING = "no native engine is installed (as if)"


@pytest.fixture(params=[True, False])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The best engine that is installed, and why it is that one."""

    def require() -> None:
        if not request.param:
            raise EngineUnavailableError(MISSING)

    monkeypatch.setattr(version, "require_native", require)
    return ("native", "it is installed") if request.param else ("portable", MISSING)


def test_version(run: Run, engine: tuple[str, str]) -> None:
    shown = "{}: {}".format(*engine)
    assert run("version") == (0, f"turnd {declared()}\nengine {shown}\n", "")
    assert run("--version") == (0, f"turnd {declared()}\n", "")


def test_version_as_json(run: Run, engine: tuple[str, str]) -> None:
    name, reason = engine
    assert run("version", "--json").json == {
        "version": declared(),
        "python": platform.python_version(),
        "engine": name,
        "engine_reason": reason,
    }
