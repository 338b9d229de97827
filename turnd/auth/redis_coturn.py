"""coturn's records in Redis, read as they are (its `schema.userdb.redis`).

    turn/realm/<realm>/user/<user>/key                  string: hex of MD5(user:realm:password)
    turn/realm/<realm>/secret                           set of REST secrets
    turn/realm/<realm>/total-quota, …/user-quota        strings: numbers
    turn/oauth/kid/<kid>                                hash: ikm_key (base64), as_rs_alg,
                                                        timestamp, lifetime, realm (none: any)

There are MD5 keys only and no way from a USERHASH to a user. coturn reads the first 32 digits of a
key and refuses a shorter one; so does this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.auth.credentials import Credential, KeyQuery, Name, UsernameQuery
from turnd.auth.redis_schema import (
    BadRecordError,
    Change,
    Execute,
    RealmOptions,
    names_of,
    number_of,
    token_key,
)
from turnd.auth.rest import MAX_SECRETS, Secret
from turnd.stun.keys import PasswordAlgorithm

if TYPE_CHECKING:
    from collections.abc import Collection

    from turnd.auth.access_token import TokenKey

_KEY_DIGITS = 32
_TOKEN_KEY_PREFIX = b"turn/oauth/kid/"


class CoturnSchema:
    """coturn's schema for one realm."""

    algorithms = frozenset({PasswordAlgorithm.MD5})
    username_anonymity = False

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self.prefix = f"turn/realm/{realm}/".encode()
        self.secrets_key = self.prefix + b"secret"
        self.total_quota_key = self.prefix + b"total-quota"
        self.user_quota_key = self.prefix + b"user-quota"
        self.user_prefix = self.prefix + b"user/"

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """See `Schema`; keys of tokens lie beside the realms."""
        return self.prefix, _TOKEN_KEY_PREFIX

    def user_key(self, user: str) -> bytes | None:
        """The key of a user's key; None: the name would lead into another realm's records."""
        return None if "/user/" in user else self.user_prefix + user.encode() + b"/key"

    async def read_user(self, execute: Execute, name: Name) -> Credential | None:
        """See `Schema`."""
        if not isinstance(name, UsernameQuery):
            return None
        key = self.user_key(name.username)
        digits: bytes | None = None if key is None else await execute("GET", key)
        if digits is None:
            return None
        try:
            md5 = bytes.fromhex(digits[:_KEY_DIGITS].decode())
        except ValueError:
            raise BadRecordError("a user's key is no hex") from None
        if len(md5) != _KEY_DIGITS // 2:
            raise BadRecordError("a user's key is shorter than 32 hex digits")
        return Credential(
            user=name.username,
            quota_user=name.username,
            keys={PasswordAlgorithm.MD5: md5},
            source="redis",
        )

    async def read_key(self, execute: Execute, kid: str) -> TokenKey | None:
        """See `Schema`; a key of another realm is unknown in this one."""
        fields = await execute("HGETALL", _TOKEN_KEY_PREFIX + kid.encode())
        if fields.get(b"realm", b"") not in {b"", self._realm.encode()}:
            return None
        return token_key(fields, b"ikm_key", b"as_rs_alg")

    async def read_secrets(self, execute: Execute) -> list[Secret]:
        """See `Schema`; a set has no order, so they are sorted to keep their labels."""
        values: Collection[bytes] = await execute("SMEMBERS", self.secrets_key)
        if not all(value.strip() for value in values):
            raise BadRecordError("a secret of the realm is empty, and anybody could guess it")
        return [
            Secret(f"redis secret {number}", value)
            for number, value in enumerate(sorted(values)[:MAX_SECRETS], 1)
        ]

    async def read_options(self, execute: Execute) -> RealmOptions:
        """See `Schema`; `max-bps` is left alone."""
        return RealmOptions(
            number_of(await execute("GET", self.total_quota_key), "total-quota of the realm"),
            number_of(await execute("GET", self.user_quota_key), "user-quota of the realm"),
        )

    def change(self, key: bytes) -> Change:
        """See `Schema`; coturn's status records lie below users and come often."""
        if key in {self.secrets_key, self.total_quota_key, self.user_quota_key}:
            return Change(realm=True)
        if key.startswith(self.user_prefix) and key.endswith(b"/key"):
            user = key[len(self.user_prefix) : -len(b"/key")].decode(errors="replace")
            return Change(names=names_of(user, self._realm))
        if key.startswith(_TOKEN_KEY_PREFIX):
            return Change(names=(KeyQuery(key[len(_TOKEN_KEY_PREFIX) :].decode(errors="replace")),))
        return Change()
