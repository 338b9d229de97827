from __future__ import annotations

import platform
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Run

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def declared() -> str:
    return str(tomllib.loads(PROJECT.read_text())["project"]["version"])


def test_version(run: Run) -> None:
    assert run("version") == (0, f"turnd {declared()}\n", "")
    assert run("--version") == (0, f"turnd {declared()}\n", "")


def test_version_as_json(run: Run) -> None:
    assert run("version", "--json").json == {
        "version": declared(),
        "python": platform.python_version(),
    }
