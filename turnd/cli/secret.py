"""`turnd secret`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from turnd.auth.rest import HASHES
from turnd.cli.durations import parse_seconds
from turnd.cli.output import json_option, print_json, print_table
from turnd.cli.realms import realm_option
from turnd.cli.redis_access import day, with_redis
from turnd.cli.secrets_at_hand import read_password
from turnd.cli.settings import config_option

if TYPE_CHECKING:
    from turnd.auth.redis_admin import SecretInfo

LONGEST_GRACE = 366 * 86400

hash_option = click.option(
    "--hash",
    "hash_name",
    type=click.Choice(HASHES),
    default=HASHES[0],
    show_default=True,
    help="What the applications make credentials with: HMAC-SHA1, as the draft has it, or -SHA256.",
)


@click.group("secret")
def command() -> None:
    """Manage the TURN REST secrets in Redis (auth.redis in the config).

    A secret is shared with the applications that make credentials. Running servers take changes
    in at once, or when their cache's time is over.
    """


@command.command("add")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the secret from standard input.")
@hash_option
@config_option
@realm_option
@json_option
def add(
    from_stdin: bool, hash_name: str, config: str | None, realm: str | None, as_json: bool
) -> None:
    """Add a secret beside those that are there, and print it; a random one unless --stdin."""
    value = read_password("Secret", from_stdin=True) if from_stdin else None
    made = with_redis(config, realm, lambda admin: admin.add_secret(value, hash_name))
    _print_new(made, as_json)


@command.command("rotate")
@click.option(
    "--grace",
    default="24h",
    show_default=True,
    help="How long the old secrets still count; credentials made with them end then.",
)
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the secret from standard input.")
@hash_option
@config_option
@realm_option
@json_option
def rotate(
    grace: str,
    from_stdin: bool,
    hash_name: str,
    config: str | None,
    realm: str | None,
    as_json: bool,
) -> None:
    """Add a secret and retire all others, and print it; a random one unless --stdin."""
    seconds = parse_seconds(grace, "--grace", LONGEST_GRACE, shortest=0)
    value = read_password("Secret", from_stdin=True) if from_stdin else None
    made = with_redis(config, realm, lambda admin: admin.rotate_secret(seconds, value, hash_name))
    _print_new(made, as_json)


@command.command("remove")
@click.argument("identifier", metavar="ID")
@config_option
@realm_option
def remove(identifier: str, config: str | None, realm: str | None) -> None:
    """Remove a secret at once: credentials made with it are void."""
    with_redis(config, realm, lambda admin: admin.remove_secret(identifier))


@command.command("list")
@click.option("--show", is_flag=True, help="Show the secrets themselves.")
@config_option
@realm_option
@json_option
def list_secrets(show: bool, config: str | None, realm: str | None, as_json: bool) -> None:
    """List the secrets: their ids and dates."""
    found = with_redis(config, realm, lambda admin: admin.list_secrets())
    if as_json:
        print_json([_as_json(secret, show=show) for secret in found])
        return
    columns = ["ID", "CREATED", "ENDS", "HASH", *(["SECRET"] if show else [])]
    rows = [
        [
            *(one.identifier, day(one.created), day(one.expires), one.hash_name),
            *([one.value] if show else []),
        ]
        for one in found
    ]
    print_table(columns, rows)


def _print_new(made: SecretInfo, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(made, show=True))
        return
    click.echo(made.value)
    click.echo(f"turnd: this is secret {made.identifier}; give it to your application", err=True)


def _as_json(secret: SecretInfo, *, show: bool) -> dict[str, object]:
    plain: dict[str, object] = {
        "id": secret.identifier,
        "created": secret.created,
        "expires": secret.expires,
        "hash": secret.hash_name,
    }
    return plain | ({"secret": secret.value} if show else {})
