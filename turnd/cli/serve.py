"""`turnd serve`."""

from __future__ import annotations

import click

from turnd.app import run
from turnd.cli.settings import config_option, path_of


@click.command("serve")
@config_option
def command(config: str | None) -> int:
    """Run the server in the foreground, until SIGTERM.

    Without --config it takes ./config.yaml, then /etc/turnd/config.yaml, then built-in defaults:
    it then makes a secret, listens on 3478 by UDP and TCP, and prints what a browser needs.
    """
    return run(path_of(config))
