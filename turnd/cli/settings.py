"""The configuration as commands use it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turnd.cli.errors import broken_config
from turnd.config.loader import find_config_file, load
from turnd.config.problems import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.config.model import Config

FILE = click.Path(readable=False)
"""The name of a file; that it cannot be read is told by who reads it, with his exit status."""

config_option: Callable[[Any], Any] = click.option(
    "--config",
    metavar="FILE",
    type=FILE,
    help="The config file. [default: ./config.yaml, then /etc/turnd/config.yaml]",
)


def path_of(config: str | None) -> Path | None:
    """The path that an option or argument names."""
    return None if config is None else Path(config)


def load_config(config: str | None) -> Config:
    """The configuration that `turnd serve` would run with.

    Raises:
        CommandError: status 78, a line for each problem.
    """
    try:
        return load(find_config_file(path_of(config)), os.environ)
    except ConfigError as error:
        raise broken_config(str(error)) from error
