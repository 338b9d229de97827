from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from turnd.engine import installed
from turnd.engine.installed import EngineUnavailableError, require_native

if TYPE_CHECKING:
    from pathlib import Path


class Finder:
    """Stands before all other ways to import `turnd._native`."""

    def __init__(self, error: ImportError) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "turnd._native":
            raise self.error


def without(error: ImportError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "turnd._native", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(error), *sys.meta_path])


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (None, "no native engine is installed"),
        ("cargo was not found\n", r"no native engine is installed \(cargo was not found\)"),
    ],
)
def test_a_missing_engine_and_what_the_install_said(
    note: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(ModuleNotFoundError("No module named 'turnd._native'"), monkeypatch)
    monkeypatch.setattr(installed, "MISSING", tmp_path / "note")
    if note is not None:
        (tmp_path / "note").write_text(note)
    with pytest.raises(EngineUnavailableError, match=f"^{words}$"):
        require_native()


def test_an_engine_of_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    without(ImportError("GLIBC_9 not found"), monkeypatch)
    with pytest.raises(EngineUnavailableError, match=r"cannot be loaded \(GLIBC_9 not found\)"):
        require_native()
