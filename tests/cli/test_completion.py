from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from turnd.cli import completion

if TYPE_CHECKING:
    from tests.cli.conftest import Run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_ask_turnd(run: Run, shell: str) -> None:
    result = run("completion", shell)

    assert result.status == 0
    assert f"_TURND_COMPLETE={shell}_complete" in result.out
    assert result.err == ""


def test_another_shell(run: Run) -> None:
    result = run("completion", "tcsh")

    assert result.status == 64
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.err


def test_a_shell_that_click_does_not_know(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "get_completion_class", lambda _: None)

    assert run("completion", "zsh").status == 64
