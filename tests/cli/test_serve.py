from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.cli import serve

if TYPE_CHECKING:
    from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("words", "path"), [([], None), (["--config", "/etc/turnd/x.yaml"], Path("/etc/turnd/x.yaml"))]
)
def test_the_file_is_handed_on_and_the_status_back(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], path: Path | None
) -> None:
    served: list[Path | None] = []

    def serving(config: Path | None) -> int:
        served.append(config)
        return 77

    monkeypatch.setattr(serve, "run", serving)

    assert run("serve", *words).status == 77
    assert served == [path]


def test_a_broken_config_starts_nothing(run: Run, elsewhere: Path) -> None:
    (elsewhere / "config.yaml").write_text("reallm: x\nlisten: 5\n")

    result = run("serve")

    assert result.status == 78
    assert len(result.err.splitlines()) == 2
    assert result.err.startswith("config.yaml:1:1: reallm:")
