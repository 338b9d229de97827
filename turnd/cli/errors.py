"""Errors as an admin sees them: one line and an exit status of sysexits.h."""

from __future__ import annotations

import os

import click


class CommandError(click.ClickException):
    """A command cannot do what it was told.

    Args:
        message: complete; one line, or one a problem.
        status: a number of sysexits.h.
    """

    def __init__(self, message: str, status: int = os.EX_SOFTWARE) -> None:
        super().__init__(message)
        self.status = status


def usage(message: str) -> CommandError:
    """The command line asks for something impossible (64)."""
    return CommandError(message, os.EX_USAGE)


def unavailable(message: str) -> CommandError:
    """Something that is needed is not there: a server, Redis (69)."""
    return CommandError(message, os.EX_UNAVAILABLE)


def broken_config(message: str) -> CommandError:
    """The configuration cannot be used (78)."""
    return CommandError(message, os.EX_CONFIG)


def describe(error: click.ClickException | OSError) -> str:
    """What stderr gets."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"turnd: {where}{error.strerror or error}"
    if isinstance(error, CommandError):
        return error.message
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    text = " ".join(error.format_message().split()).removesuffix(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context is not None else "turnd"
    return f"{command}: {text} (see {command} --help)"


def status_of(error: click.ClickException | OSError) -> int:
    """The exit status."""
    if isinstance(error, click.UsageError):
        return os.EX_USAGE
    if isinstance(error, CommandError):
        return error.status
    if isinstance(error, click.ClickException):
        return error.exit_code
    return os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_IOERR
