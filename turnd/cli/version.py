"""`turnd version`."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from turnd.cli.output import json_option, print_json
from turnd.engine.installed import EngineUnavailableError, require_native


@click.command("version")
@json_option
def command(as_json: bool) -> None:
    """Print the version, and the best engine that is installed."""
    number = metadata.version("turnd")
    try:
        require_native()
        engine, reason = "native", "it is installed"
    except EngineUnavailableError as error:
        engine, reason = "portable", str(error)
    if as_json:
        python = platform.python_version()
        print_json({"version": number, "python": python, "engine": engine, "engine_reason": reason})
    else:
        click.echo(f"turnd {number}\nengine {engine}: {reason}")
