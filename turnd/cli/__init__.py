"""The `turnd` command: `main` here, one module a command beside it.

Rules of the house
    1.  Importing this package imports click and nothing heavy; a command's module is imported when
        that command runs.
    2.  Data goes to stdout, everything else to stderr. An error is one clear line (a broken
        configuration: one a problem), without traceback, and an exit status of sysexits.h.
    3.  Whatever prints data can print it as JSON (`--json`); tables are for terminals only.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from turnd.cli.commands import COMPLETE_VARIABLE, turnd
from turnd.cli.errors import describe, status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
"""128 and SIGINT, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    try:
        result = turnd.main(
            args=None if arguments is None else list(arguments),
            prog_name="turnd",
            complete_var=COMPLETE_VARIABLE,
            standalone_mode=False,
        )
    except click.Abort:
        click.echo("turnd: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: nothing is left to say, nor a place to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (click.ClickException, OSError) as error:
        click.echo(describe(error), err=True)
        return status_of(error)
    return result if isinstance(result, int) else 0
