"""Secrets and passwords as commands get them: from files, standard input or a prompt.

Never from the command line alone, where every user of the machine can read them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnd import system
from turnd.cli.errors import CommandError, broken_config, usage
from turnd.runtime.first_run import SECRET_FILE

if TYPE_CHECKING:
    from turnd.config.model import Config, Realm


def first_secret(config: Config, realm: Realm) -> str:
    """The secret to make credentials with: the realm's first, else the one the server made.

    Raises:
        CommandError: there is none, or it cannot be read.
    """
    auth = realm.auth
    if auth.secrets:
        return auth.secrets[0].get_secret_value()
    if auth.users or auth.redis:
        raise broken_config(
            f"turnd: the realm '{realm.name}' has no secret to make credentials with: "
            "set auth.secrets in the config"
        )
    path = (config.state_directory or system.state_directory()) / SECRET_FILE
    try:
        return read_secret_file(str(path))
    except FileNotFoundError:
        raise broken_config(
            f"turnd: no secret is configured, and the server has made none yet ({path} is not "
            "there): start it once, or set auth.secrets"
        ) from None


def read_secret_file(name: str) -> str:
    """The first line of a file.

    Raises:
        CommandError: it is empty.
        OSError: it cannot be read.
    """
    lines = Path(name).read_text(encoding="utf-8").strip().splitlines()
    if not lines:
        raise CommandError(f"turnd: {name} is empty", os.EX_DATAERR)
    return lines[0].strip()


def read_password(
    what: str, *, from_stdin: bool, confirm: bool = True, option: str = "--stdin"
) -> str:
    """A password or secret: a line of standard input, or asked for on the terminal.

    `option` is what the command calls `from_stdin`.

    Raises:
        CommandError: nothing was given, or there is nobody to ask.
    """
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        text = click.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        raise usage(f"turnd: nobody to ask for the {what.lower()} here: give it by {option}")
    if not text:
        raise usage(f"turnd: the {what.lower()} is empty")
    return text
