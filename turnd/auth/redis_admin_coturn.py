"""Managing coturn's records in Redis, as its `turnadmin` does (but neither KEYS nor SAVE).

They hold no dates and no flag: a user cannot be disabled, a secret cannot be retired later. Secrets
have no names, so they are called by the first digits of their SHA-256 here.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from turnd.auth.redis_admin import (
    AdminError,
    SecretInfo,
    UserInfo,
    check_new_secret,
    glob_escaped,
    key_of,
    prepared_user,
)
from turnd.auth.redis_coturn import CoturnSchema
from turnd.auth.rest import HASHES
from turnd.stun.keys import PasswordAlgorithm

if TYPE_CHECKING:
    from turnd.auth.redis_connection import RedisLink


class CoturnAdmin:
    """Manages coturn's schema; see `redis_admin.RedisAdmin`."""

    def __init__(self, link: RedisLink, realm: str) -> None:
        self._link = link
        self._realm = realm
        self._schema = CoturnSchema(realm)

    async def add_user(self, user: str, password: str, quota: int | None = None) -> None:
        """See `RedisAdmin`."""
        if quota is not None:
            raise AdminError("coturn's schema has no quota of a single user")
        key, digits = self._user(user, password)
        if not await self._link.execute("SET", key, digits, "NX"):
            raise AdminError(f"user '{user}' exists already")

    async def set_password(self, user: str, password: str) -> None:
        """See `RedisAdmin`."""
        key, digits = self._user(user, password)
        if not await self._link.execute("SET", key, digits, "XX"):
            raise AdminError(f"there is no user '{user}'")

    async def set_disabled(self, user: str, disabled: bool) -> None:  # noqa: ARG002 - a verb
        """See `RedisAdmin`."""
        raise AdminError("coturn's schema cannot disable a user; remove it instead")

    async def remove_user(self, user: str) -> None:
        """See `RedisAdmin`."""
        if not await self._link.execute("DEL", self._key(prepared_user(user))):
            raise AdminError(f"there is no user '{user}'")

    async def list_users(self) -> list[UserInfo]:
        """See `RedisAdmin`."""
        prefix = self._schema.user_prefix
        users = set()
        async for key in self._link.scan(glob_escaped(prefix) + b"*/key"):
            users.add(key.removeprefix(prefix).removesuffix(b"/key").decode(errors="replace"))
        return [UserInfo(user) for user in sorted(users)]

    async def add_secret(self, value: str | None = None, hash_name: str = HASHES[0]) -> SecretInfo:
        """See `RedisAdmin`; coturn knows HMAC-SHA1 alone."""
        if hash_name != HASHES[0]:
            raise AdminError("coturn's schema has secrets for HMAC-SHA1 only")
        check_new_secret(value, [one.decode(errors="replace") for one in await self._values()])
        new = value or secrets.token_urlsafe(32)
        await self._link.execute("SADD", self._schema.secrets_key, new)
        return _info(new.encode())

    async def rotate_secret(
        self, grace: float, value: str | None = None, hash_name: str = HASHES[0]
    ) -> SecretInfo:
        """See `RedisAdmin`; without any grace only."""
        if grace > 0:
            raise AdminError(
                "coturn's schema holds no dates: add the new secret, and remove the old one later"
            )
        old = await self._values()
        new = await self.add_secret(value, hash_name)
        if old:
            await self._link.execute("SREM", self._schema.secrets_key, *old)
        return new

    async def list_secrets(self) -> list[SecretInfo]:
        """See `RedisAdmin`."""
        return [_info(value) for value in await self._values()]

    async def remove_secret(self, identifier: str) -> None:
        """See `RedisAdmin`."""
        fitting = [one for one in await self._values() if _info(one).identifier == identifier]
        if not fitting:
            raise AdminError(f"there is no secret '{identifier}'")
        await self._link.execute("SREM", self._schema.secrets_key, *fitting)

    async def _values(self) -> list[bytes]:
        return sorted(await self._link.execute("SMEMBERS", self._schema.secrets_key))

    def _user(self, user: str, password: str) -> tuple[bytes, str]:
        name = prepared_user(user)
        return self._key(name), key_of(name, self._realm, password, PasswordAlgorithm.MD5)

    def _key(self, name: str) -> bytes:
        key = self._schema.user_key(name)
        if key is None:
            raise AdminError("in coturn's schema a user name must not hold '/user/'")
        return key


def _info(value: bytes) -> SecretInfo:
    digest = hashlib.sha256(value).hexdigest()
    return SecretInfo(digest[:8], value=value.decode(errors="replace"))
