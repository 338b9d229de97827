"""`turnd validate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turnd.cli.errors import broken_config
from turnd.cli.output import json_option, print_json
from turnd.cli.settings import FILE
from turnd.config.loader import load
from turnd.config.problems import ConfigError, format_path
from turnd.runtime.examine import examine

if TYPE_CHECKING:
    from turnd.config.model import Config


@click.command("validate")
@click.argument("file", type=FILE)
@json_option
def command(file: str, as_json: bool) -> int:
    """Say everything that is wrong with a config file, as turnd serve would read it.

    Variables of the environment, files of secrets and certificates count. Exit status: 0 for a
    good file, 78 for a broken one.
    """
    try:
        config = load(Path(file), os.environ)
        examine(config, Path(file), os.environ)
    except ConfigError as error:
        if not as_json:
            raise broken_config(str(error)) from error
        print_json({"ok": False, "problems": _problems(error)})
        return os.EX_CONFIG
    if as_json:
        print_json({"ok": True, **summary(config)})
        return 0
    click.echo(f"{file} is good.")
    for key, value in summary(config).items():
        click.echo(f"  {key:<12} {', '.join(value) if isinstance(value, list) else value}")
    return 0


def summary(config: Config) -> dict[str, Any]:
    """What the server will do, in a few lines; no secrets."""
    sources = {
        "users": len(config.auth.users),
        "secrets": len(config.auth.secrets),
        "redis": 1 if config.auth.redis else 0,
        "keys of tokens": len(config.auth.oauth.keys),
    }
    return {
        "realm": config.realm,
        "listen": [str(endpoint) for realm in config.all_realms() for endpoint in realm.endpoints],
        "relay": [f"{address}" for address in config.relay.addresses],
        "ports": str(config.relay.ports),
        "credentials": [f"{name}: {number}" for name, number in sources.items() if number]
        or ["a secret of its own"],
        "engine": config.engine,
    }


def _problems(error: ConfigError) -> list[dict[str, Any]]:
    return [
        {
            "source": problem.origin.source,
            "line": problem.origin.line,
            "column": problem.origin.column,
            "path": format_path(problem.path),
            "message": problem.message,
        }
        for problem in error.problems
    ]
