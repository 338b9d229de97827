"""`turnd reload`."""

from __future__ import annotations

import http.client
import json
import os
from typing import TYPE_CHECKING, Any

import click

from turnd.cli.admin_socket import UnixConnection, socket_of
from turnd.cli.errors import CommandError, unavailable
from turnd.cli.output import json_option, print_json
from turnd.cli.settings import FILE, config_option, path_of
from turnd.config.loader import find_config_file, load
from turnd.config.problems import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 90.0
"""Seconds; more than the server gives a reload."""


@click.command("reload")
@config_option
@click.option("--socket", "path", metavar="FILE", type=FILE, help="The admin socket.")
@json_option
def command(config: str | None, path: str | None, as_json: bool) -> int:
    """Let the running server read its config file again.

    Prints what has changed and what needs a restart. A broken file changes nothing: its errors are
    printed and the exit status is 78.
    """
    answer = ask_for_reload(path_of(path) or _socket(config))
    if as_json:
        print_json(answer)
    else:
        _print(answer)
    return 0 if answer["ok"] else os.EX_CONFIG


def ask_for_reload(path: Path) -> dict[str, Any]:
    """Ask the server at an admin socket; `ok`, `live`, `restart` and `problems` as it says.

    Raises:
        CommandError: no server there (69), not ours to ask (77), or no sensible answer (70).
    """
    connection = UnixConnection(path, PATIENCE)
    try:
        connection.request("POST", "/v1/reload", headers={"Host": "localhost"})
        response = connection.getresponse()
        body = response.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise unavailable(f"turnd reload: no server runs here (nobody listens at {path})") from None
    except PermissionError:
        text = f"turnd reload: {path} is not yours to open: run it as the server's user or as root"
        raise CommandError(text, os.EX_NOPERM) from None
    except (OSError, http.client.HTTPException) as error:
        raise unavailable(f"turnd reload: the server gave no answer: {error}") from error
    finally:
        connection.close()
    try:
        answer: dict[str, Any] = json.loads(body)
        _ = answer["ok"], answer["live"], answer["restart"], answer["problems"]
    except (ValueError, KeyError, TypeError):
        text = f"turnd reload: the server's answer is none (status {response.status})"
        raise CommandError(text) from None
    return answer


def _socket(config: str | None) -> Path:
    """Where the server that runs with this configuration has its admin socket.

    A broken configuration must not keep the server from saying so itself, hence the usual place.
    """
    try:
        loaded = load(find_config_file(path_of(config)), os.environ)
    except ConfigError:
        return socket_of(None)
    return socket_of(loaded)


def _print(answer: dict[str, Any]) -> None:
    if not answer["ok"]:
        for problem in answer["problems"]:
            click.echo(problem, err=True)
        click.echo("turnd reload: nothing was changed", err=True)
        return
    for problem in answer["problems"]:
        click.echo(problem, err=True)
    if answer["live"]:
        click.echo(f"changed: {', '.join(answer['live'])}")
    if answer["restart"]:
        click.echo(f"needs a restart: {', '.join(answer['restart'])}")
    if not answer["live"] and not answer["restart"]:
        click.echo("read again: nothing has changed")
