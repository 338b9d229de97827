"""Opening the Redis of the configuration for `turnd user` and `turnd secret`."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from turnd.auth.redis_admin import AdminError, RedisAdmin, redis_admin
from turnd.cli.errors import CommandError, broken_config, unavailable
from turnd.cli.realms import find_realm
from turnd.cli.settings import load_config

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from turnd.config.model import Realm

T = TypeVar("T")


def with_redis(
    config: str | None, realm: str | None, work: Callable[[RedisAdmin], Awaitable[T]]
) -> T:
    """Do something with the users and secrets that Redis holds for a realm.

    Raises:
        CommandError: no Redis is configured (78), it does not answer (69), or what was asked
            cannot be done (65).
    """
    chosen = find_realm(load_config(config), realm)
    try:
        return asyncio.run(_with_redis(chosen, redis_address(chosen), work))
    except AdminError as error:
        if error.__cause__ is not None:
            raise unavailable(f"turnd: {error}") from error
        raise CommandError(f"turnd: {error}", os.EX_DATAERR) from error
    except ValueError as error:
        raise broken_config(f"turnd: auth.redis: {error}") from error


async def _with_redis(realm: Realm, address: str, work: Callable[[RedisAdmin], Awaitable[T]]) -> T:
    async with redis_admin(address, realm.name, realm.auth.redis_schema) as admin:
        return await work(admin)


def redis_address(realm: Realm) -> str:
    """Where the realm's Redis is, with the authorities that vouch for it.

    Raises:
        CommandError: no Redis is configured.
    """
    auth = realm.auth
    if auth.redis is None:
        raise broken_config(
            f"turnd: the realm '{realm.name}' has no Redis: set auth.redis in the config"
        )
    address = auth.redis.get_secret_value()
    if auth.redis_tls_ca is None:
        return address
    if "://" not in address:
        return f"{address} ca={auth.redis_tls_ca}"
    joint = "&" if "?" in address else "?"
    return f"{address}{joint}ssl_ca_certs={quote(str(auth.redis_tls_ca))}"


def day(seconds: float | None) -> str:
    """A date for people, UTC; empty for none, the number where it is beyond the calendar."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # milliseconds of another program, say
        return f"{seconds:g}"
