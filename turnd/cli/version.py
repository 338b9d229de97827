"""`turnd version`."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from turnd.cli.output import json_option, print_json


@click.command("version")
@json_option
def command(as_json: bool) -> None:
    """Print the version."""
    number = metadata.version("turnd")
    if as_json:
        print_json({"version": number, "python": platform.python_version()})
    else:
        click.echo(f"turnd {number}")
