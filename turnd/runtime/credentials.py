"""Builds what tells who may use a realm from the configuration: its sources, and the nonces.

Lower layers get plain values, as from `assembly`.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.auth.access_token import TokenKey
from turnd.auth.chain import CredentialChain
from turnd.auth.nonce import Nonces, mac_length_for
from turnd.auth.oauth import ThirdParty
from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_connection import RedisLink
from turnd.auth.redis_coturn import CoturnSchema
from turnd.auth.redis_schema import TurndSchema
from turnd.auth.redis_store import RedisStore
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.auth.store_cache import CacheLimits, StoreHooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd import config as configuration
    from turnd.config import Config

_ABOUT_REDIS = (
    "redis", "redis_schema", "redis_cache", "redis_timeout", "redis_tls_ca", "separator",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Credentials:
    """The sources of one realm."""

    chain: CredentialChain
    rest: RestSecrets
    secrets: tuple[str, ...]
    """Those of the configuration, to be put into `rest` when this takes effect."""
    store: RedisStore | None
    auth: configuration.AuthSection


def needs_own_secret(auth: configuration.AuthSection) -> bool:
    """Whether nobody could use the realm: then the server makes a secret of its own."""
    return not (auth.users or auth.secrets or auth.redis or auth.oauth.is_used)


def build(
    realm: configuration.Realm,
    own_secret: Callable[[], str],
    hooks: StoreHooks,
    before: Credentials | None = None,
) -> Credentials:
    """The credential chain of a realm; a new Redis store is not started yet.

    Args:
        realm: whose sources they are.
        own_secret: the secret to use where there is no source at all.
        hooks: told by a new store.
        before: the sources in use. Where Redis stays as it is so does its store, with the users
            it has cached: Redis may be away.

    Raises:
        ValueError: sources that cannot be challenged alike, or an address of Redis that is none.
        OSError: the own secret can be neither read nor made.
    """
    auth = realm.auth
    texts = tuple(secret.get_secret_value() for secret in auth.secrets)
    if needs_own_secret(auth):
        texts = (own_secret(),)
    users = {name: password.get_secret_value() for name, password in auth.users.items()}
    rest = RestSecrets(realm.name, texts, time.time, auth.separator)
    store = None
    if before is not None and before.store is not None and _same_redis(before.auth, auth):
        rest, store = before.rest, before.store
    elif auth.redis is not None:
        store = _redis_store(realm.name, auth, rest, hooks)
    static = StaticUsers(realm.name, users)
    chain = CredentialChain(realm.name, static, rest, store, third_party(realm))
    return Credentials(chain, rest, texts, store, auth)


def third_party(realm: configuration.Realm) -> ThirdParty | None:
    """The authorization servers of a realm, if any let clients in."""
    name = _server_name(realm)
    if name is None:
        return None
    keys = {
        kid: TokenKey.of(each.key.get_secret_value(), each.algorithm, each.timestamp, each.lifetime)
        for kid, each in realm.auth.oauth.keys.items()
    }
    return ThirdParty(name, keys, time.time)


def _same_redis(one: configuration.AuthSection, other: configuration.AuthSection) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _ABOUT_REDIS)


def _redis_store(
    realm: str, auth: configuration.AuthSection, rest: RestSecrets, hooks: StoreHooks
) -> RedisStore:
    assert auth.redis is not None  # noqa: S101 - the caller has looked
    address = parse_redis_address(auth.redis.get_secret_value())
    if auth.redis_tls_ca is not None:
        options = {**address.options, "ssl_ca_certs": str(auth.redis_tls_ca)}
        address = dataclasses.replace(address, options=options)
    schema = CoturnSchema(realm) if auth.redis_schema == "coturn" else TurndSchema(realm)
    link = RedisLink(address, auth.redis_timeout)
    return RedisStore(link, schema, rest, hooks, CacheLimits(ttl=auth.redis_cache))


def nonces(config: Config) -> Nonces:
    """Nonces that fit every realm's challenge."""
    fitting = []
    for realm in config.all_realms():
        auth = realm.auth
        passwords = bool(auth.users or auth.secrets or auth.redis) or needs_own_secret(auth)
        fitting.append(mac_length_for(realm.name, _server_name(realm), passwords=passwords))
    return Nonces(config.auth.nonce_lifetime, secrets.token_bytes, min(fitting))


def _server_name(realm: configuration.Realm) -> str | None:
    oauth = realm.auth.oauth
    return (oauth.server_name or realm.name) if oauth.is_used else None
