from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from turnd.cli.commands import COMMANDS, turnd

if TYPE_CHECKING:
    from tests.cli.conftest import Run

HEAVY = ("aiohttp", "pydantic", "cryptography", "redis", "rich", "asyncio", "yaml", "structlog")
DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"


def python(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | environ,
    )


def every_command(
    command: click.Command, path: tuple[str, ...] = ("turnd",)
) -> list[tuple[str, click.Command]]:
    found = [(" ".join(path), command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += every_command(below, (*path, name))
    return found


def test_version_loads_nothing_heavy() -> None:
    code = (
        "import sys; from turnd.cli import main; main(['version']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_version_takes_less_than_a_fifth_of_a_second() -> None:
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, '-m', 'turnd', 'version'], check=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime)"
    )
    # CPU time, since other tests may have the machine; of three tries, since caches may be cold.
    seconds = min(float(python("-c", code).stdout.splitlines()[-1]) for _ in range(3))

    assert seconds < 0.2


def test_help_needs_no_command_to_be_loaded() -> None:
    code = (
        "import sys; from turnd.cli import main; main(['--help']);"
        "print([name for name in sys.modules if name.startswith('turnd.cli.')])"
    )
    loaded = python("-c", code).stdout.splitlines()[-1]

    assert loaded == "['turnd.cli.commands', 'turnd.cli.errors']"


def test_help_lists_every_command(run: Run) -> None:
    result = run("--help")

    assert result.status == 0
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", result.out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_and_the_modules_agree(name: str) -> None:
    command = import_module(f"turnd.cli.{name}").command

    assert command.name == name
    assert command.help


COMMAND_LINES = every_command(turnd)


@pytest.mark.parametrize(
    ("path", "command"), COMMAND_LINES, ids=[path.replace(" ", "-") for path, _ in COMMAND_LINES]
)
def test_every_command_has_help_and_is_documented(
    path: str, command: click.Command, run: Run
) -> None:
    words = path.split()[1:]
    for option in ("-h", "--help"):
        result = run(*words, option)
        assert result.status == 0
        assert result.out.startswith(f"Usage: {path} ")
        assert "\\b" not in result.out
    text = DOCUMENT.read_text()
    if not isinstance(command, click.Group):
        assert f"`{path}" in text
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in {"help", "version"}:
            assert parameter.opts[-1] in text, f"{path} {parameter.opts[-1]}"


def test_an_unknown_command(run: Run) -> None:
    result = run("sreve")

    assert result.status == 64
    assert result.out == ""
    assert result.err == "turnd: No such command 'sreve'; did you mean serve? (see turnd --help)\n"


def test_no_command_is_a_usage_error_with_help(run: Run) -> None:
    result = run()

    assert result.status == 64
    assert "Usage: turnd" in result.err


def complete(words: str, count: int) -> list[str]:
    done = python(
        "-m", "turnd", _TURND_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(count)
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_of_commands_and_options() -> None:
    assert complete("turnd s", 1) == ["serve", "secret"]
    assert complete("turnd user re", 2) == ["remove"]
    assert "--grace" in complete("turnd secret rotate --g", 3)
    assert complete("turnd --v", 1) == ["--version"]
