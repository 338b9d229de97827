from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from turnd.cli.commands import turnd

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(turnd, "main", fail)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (click.Abort(), 130, "turnd: interrupted\n"),
        (OSError(errno.ENOSPC, "No space", "f"), 74, "turnd: f: No space\n"),
        (PermissionError(errno.EACCES, "Denied", "f"), 77, "turnd: f: Denied\n"),
    ],
)
def test_errors_are_a_line_and_a_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, text: str
) -> None:
    fails_with(monkeypatch, error)

    result = run("version")

    assert (result.status, result.err) == (status, text)


def test_a_mistake_of_ours_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, RuntimeError("a bug"))

    with pytest.raises(RuntimeError):
        run("version")


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-u", "-m", "turnd", "version"],
            check=False,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")
