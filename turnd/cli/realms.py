"""Which realm of the configuration a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from turnd.cli.errors import usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.config.model import Config, Realm

realm_option: Callable[[Any], Any] = click.option(
    "--realm", metavar="NAME", help="A further realm of the config. [default: the server's own]"
)


def find_realm(config: Config, name: str | None) -> Realm:
    """A realm by name; the server's own without one.

    Raises:
        CommandError: there is none of this name.
    """
    realms = config.all_realms()
    if name is None:
        return realms[0]
    for realm in realms:
        if realm.name == name:
            return realm
    known = ", ".join(realm.name for realm in realms)
    raise usage(f"turnd: the config has no realm '{name}': it has {known}")
