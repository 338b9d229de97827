"""`turnd user`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from turnd.cli.output import json_option, print_json, print_table
from turnd.cli.realms import realm_option
from turnd.cli.redis_access import day, with_redis
from turnd.cli.secrets_at_hand import read_password
from turnd.cli.settings import config_option

if TYPE_CHECKING:
    from turnd.auth.redis_admin import UserInfo


@click.group("user")
def command() -> None:
    """Manage the users in Redis (auth.redis in the config).

    Running servers take changes in at once, or when their cache's time is over. Passwords are
    asked for, or read from standard input.
    """


@command.command("add")
@click.argument("name")
@click.option("--quota", type=click.IntRange(0), help="Allocations at most; 0: no limit.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@config_option
@realm_option
def add(
    name: str, quota: int | None, from_stdin: bool, config: str | None, realm: str | None
) -> None:
    """Add a user."""
    password = read_password("Password", from_stdin=from_stdin)
    with_redis(config, realm, lambda admin: admin.add_user(name, password, quota))


@command.command("passwd")
@click.argument("name")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@config_option
@realm_option
def passwd(name: str, from_stdin: bool, config: str | None, realm: str | None) -> None:
    """Give a user another password."""
    password = read_password("New password", from_stdin=from_stdin)
    with_redis(config, realm, lambda admin: admin.set_password(name, password))


@command.command("disable")
@click.argument("name")
@config_option
@realm_option
def disable(name: str, config: str | None, realm: str | None) -> None:
    """Lock a user out, for as long as it stays disabled."""
    with_redis(config, realm, lambda admin: admin.set_disabled(name, disabled=True))


@command.command("enable")
@click.argument("name")
@config_option
@realm_option
def enable(name: str, config: str | None, realm: str | None) -> None:
    """Let a disabled user in again."""
    with_redis(config, realm, lambda admin: admin.set_disabled(name, disabled=False))


@command.command("remove")
@click.argument("name")
@config_option
@realm_option
def remove(name: str, config: str | None, realm: str | None) -> None:
    """Remove a user."""
    with_redis(config, realm, lambda admin: admin.remove_user(name))


@command.command("list")
@config_option
@realm_option
@json_option
def list_users(config: str | None, realm: str | None, as_json: bool) -> None:
    """List the users, without any passwords or keys."""
    users = with_redis(config, realm, lambda admin: admin.list_users())
    if as_json:
        print_json([_as_json(user) for user in users])
    else:
        print_table(["USER", "QUOTA", "STATE", "CREATED"], [_row(user) for user in users])


def _as_json(user: UserInfo) -> dict[str, object]:
    return {
        "user": user.user,
        "quota": user.quota,
        "disabled": user.disabled,
        "created": user.created,
    }


def _row(user: UserInfo) -> list[str]:
    quota = "" if user.quota is None else str(user.quota)
    return [user.user, quota, "disabled" if user.disabled else "enabled", day(user.created)]
