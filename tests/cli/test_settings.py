from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.cli.errors import CommandError
from turnd.cli.settings import load_config, path_of

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_file_that_is_named(config: Callable[..., Path]) -> None:
    path = config("other.yaml", realm="a.example")

    assert load_config(str(path)).realm == "a.example"


def test_the_file_of_the_folder_then_the_defaults(config: Callable[..., Path]) -> None:
    assert load_config(None).realm == "turnd"

    config(realm="here.example")

    assert load_config(None).realm == "here.example"


def test_the_environment_counts(
    config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURND_REALM", "env.example")

    assert load_config(None).realm == "env.example"


def test_every_error_of_a_broken_file(config: Callable[..., Path]) -> None:
    path = config(reallm="x", listen=["udp:3478"])

    with pytest.raises(CommandError) as caught:
        load_config(str(path))

    assert caught.value.status == 78
    lines = caught.value.message.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}:1:") for line in lines)


def test_paths() -> None:
    assert path_of(None) is None
    assert path_of("a/b") == Path("a/b")
