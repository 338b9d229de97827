from __future__ import annotations

import errno

import click
import pytest

from turnd.cli.errors import (
    CommandError,
    broken_config,
    describe,
    status_of,
    unavailable,
    usage,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (usage("x"), 64),
        (unavailable("x"), 69),
        (broken_config("x"), 78),
        (CommandError("x"), 70),
        (CommandError("x", 77), 77),
        (click.UsageError("x"), 64),
        (click.BadParameter("x"), 64),
        (click.ClickException("x"), 1),
        (PermissionError(errno.EACCES, "x"), 77),
        (OSError(errno.EIO, "x"), 74),
    ],
)
def test_the_status(error: click.ClickException | OSError, status: int) -> None:
    assert status_of(error) == status


def test_our_own_texts_are_complete() -> None:
    assert describe(broken_config("a:1:1: b: c\na:2:1: d: e")) == "a:1:1: b: c\na:2:1: d: e"


def test_clicks_texts_are_one_line_with_the_command() -> None:
    command = click.Command("check")
    context = click.Context(command, info_name="turnd check")

    text = describe(click.UsageError("No such\n  option.", ctx=context))

    assert text == "turnd check: No such option (see turnd check --help)"
    assert describe(click.ClickException("x")) == "turnd: x (see turnd --help)"


def test_the_systems_errors_name_the_file() -> None:
    assert describe(OSError(errno.EIO, "broken", "f")) == "turnd: f: broken"
    assert describe(OSError("broken")) == "turnd: broken"
