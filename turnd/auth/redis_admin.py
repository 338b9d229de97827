"""Managing the users and secrets that Redis holds: what `turnd user` and `turnd secret` do.

    async with redis_admin("redis://127.0.0.1", "example.org", "turnd") as admin:
        await admin.add_user("alice", password, quota=None)

Both schemas are managed by the same verbs; what coturn's records cannot hold is an `AdminError`.
Keys are found by SCAN, never by KEYS, and nothing makes Redis save: both would stop it for others.
Servers learn of every change by Redis's notifications, or when their cache's time is over.
"""

from __future__ import annotations

import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_connection import ERRORS, RedisLink
from turnd.auth.redis_schema import (
    MAX_USER_BYTES,
    BadRecordError,
    SecretRecord,
    TurndSchema,
    number_of,
    parse_secrets,
)
from turnd.auth.rest import HASHES, MAX_SECRETS, Secret
from turnd.stun.keys import PasswordAlgorithm, long_term_key, opaque_string, userhash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnd.auth.credentials import WallClock

_WAIT = 2.0  # seconds for each answer: an administrator can wait, a client cannot

# A record comes, changes or goes as a whole, also between two administrators.
_ADD = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('SET', KEYS[2], ARGV[1])
return 1"""
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1"""

# Secrets come together with what becomes of the others, and only if these still are what was read:
# else one that another administrator removes meanwhile, as it is known to the wrong people, would
# be back. ARGV: id and text of the new one, then id, text as read and new text (empty: gone) each.
_PUT = """
local held, texts = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #held, 2 do texts[held[i]] = held[i + 1] end
for i = 3, #ARGV, 3 do
  if texts[ARGV[i]] ~= ARGV[i + 1] then return 0 end
end
for i = 3, #ARGV, 3 do
  if ARGV[i + 2] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2]) end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1"""
_TRIES = 10


class AdminError(Exception):
    """What was asked cannot be done; the text says why and holds no secret."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What is known about a user besides the keys; None: the schema does not hold it."""

    user: str
    quota: int | None = None
    """Allocations the user may have; 0: no limit; None: as configured for all."""
    disabled: bool = False
    created: float | None = None
    """UNIX seconds."""


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """A REST secret; dates in UNIX seconds, None where the schema holds none."""

    identifier: str
    created: float | None = None
    expires: float | None = None
    """When a replaced secret stops to count; None: in use."""
    value: str = field(default="", repr=False)
    hash_name: str = HASHES[0]
    """What credentials are made with, one of `rest.HASHES`."""


class RedisAdmin(Protocol):
    """The verbs. Each raises `AdminError`, and one of `redis_connection.ERRORS` for Redis."""

    async def add_user(self, user: str, password: str, quota: int | None = None) -> None:
        """Adds a user; an error when there is one of this name."""

    async def set_password(self, user: str, password: str) -> None:
        """Replaces the keys of a user."""

    async def set_disabled(self, user: str, disabled: bool) -> None:
        """Locks a user out, or lets it in again; the keys stay."""

    async def remove_user(self, user: str) -> None:
        """Removes a user."""

    async def list_users(self) -> list[UserInfo]:
        """All users of the realm by name."""

    async def add_secret(self, value: str | None = None, hash_name: str = HASHES[0]) -> SecretInfo:
        """Adds a REST secret, a random one by default; what it returns holds the value."""

    async def rotate_secret(
        self, grace: float, value: str | None = None, hash_name: str = HASHES[0]
    ) -> SecretInfo:
        """Adds a secret and lets all others count for `grace` more seconds."""

    async def list_secrets(self) -> list[SecretInfo]:
        """All secrets with their values, the newest first where ages are known."""

    async def remove_secret(self, identifier: str) -> None:
        """Removes a secret at once: credentials made with it are void."""


@asynccontextmanager
async def redis_admin(address: str, realm: str, schema: str) -> AsyncIterator[RedisAdmin]:
    """Connects to Redis for a few commands.

    Args:
        address: see `redis_address`.
        realm: whose users and secrets.
        schema: `turnd` or `coturn`.

    Raises:
        AdminError: also for what Redis did not do.
        ValueError: a malformed address.
    """
    from turnd.auth.redis_admin_coturn import CoturnAdmin  # noqa: PLC0415 - it needs this module

    link = RedisLink(parse_redis_address(address), limit=_WAIT)
    try:
        yield CoturnAdmin(link, realm) if schema == "coturn" else TurndAdmin(link, realm)
    except BadRecordError as error:
        raise AdminError(f"Redis holds a malformed record: {error}") from None
    except ERRORS as error:
        raise AdminError(f"Redis: {error} (auth.redis says where it is)") from error
    finally:
        await link.close()


class TurndAdmin:
    """Manages turnd's own schema; see `RedisAdmin`."""

    def __init__(self, link: RedisLink, realm: str, wall_clock: WallClock = time.time) -> None:
        self._link = link
        self._realm = realm
        self._schema = TurndSchema(realm)
        self._wall_clock = wall_clock

    async def add_user(self, user: str, password: str, quota: int | None = None) -> None:
        """See `RedisAdmin`."""
        name = prepared_user(user)
        fields: list[str | int] = [*self._keys(name, password), "created", int(self._wall_clock())]
        if quota is not None:
            if quota < 0:
                raise AdminError("a quota is 0 (no limit) or more")
            fields += ["quota", quota]
        key, index = self._user_key(name), self._schema.userhash_key(userhash(name, self._realm))
        if not await self._link.execute("EVAL", _ADD, 2, key, index, name, *fields):
            raise AdminError(f"user '{name}' exists already")

    async def set_password(self, user: str, password: str) -> None:
        """See `RedisAdmin`."""
        name = prepared_user(user)
        await self._change(name, *self._keys(name, password))

    async def set_disabled(self, user: str, disabled: bool) -> None:
        """See `RedisAdmin`."""
        await self._change(prepared_user(user), "disabled", int(disabled))

    async def remove_user(self, user: str) -> None:
        """See `RedisAdmin`."""
        name = prepared_user(user)
        index = self._schema.userhash_key(userhash(name, self._realm))
        key = self._user_key(name)
        if not await self._link.execute("EXISTS", key):
            raise AdminError(f"there is no user '{name}'")
        await self._link.execute("DEL", key, index)

    async def list_users(self) -> list[UserInfo]:
        """See `RedisAdmin`."""
        prefix = self._schema.user_prefix
        users = {}
        async for key in self._link.scan(glob_escaped(prefix) + b"*"):
            fields = await self._link.execute("HGETALL", key)
            user = key.removeprefix(prefix).decode(errors="replace")
            users[user] = UserInfo(
                user=user,
                quota=number_of(fields.get(b"quota"), f"the quota of user '{user}'"),
                disabled=fields.get(b"disabled", b"0") != b"0",
                created=number_of(fields.get(b"created"), f"the date of user '{user}'"),
            )
        return [users[user] for user in sorted(users)]

    async def add_secret(self, value: str | None = None, hash_name: str = HASHES[0]) -> SecretInfo:
        """See `RedisAdmin`."""
        return await self._put_secret(value, hash_name, grace=None)

    async def rotate_secret(
        self, grace: float, value: str | None = None, hash_name: str = HASHES[0]
    ) -> SecretInfo:
        """See `RedisAdmin`."""
        return await self._put_secret(value, hash_name, grace=max(grace, 0.0))

    async def list_secrets(self) -> list[SecretInfo]:
        """See `RedisAdmin`."""
        return [
            SecretInfo(one.identifier, one.created, one.expires, one.value, one.hash_name)
            for one in await self._secrets()
        ]

    async def remove_secret(self, identifier: str) -> None:
        """See `RedisAdmin`."""
        if not await self._link.execute("HDEL", self._schema.secrets_key, identifier):
            raise AdminError(f"there is no secret '{identifier}'")

    async def _put_secret(
        self, value: str | None, hash_name: str, grace: float | None
    ) -> SecretInfo:
        for _ in range(_TRIES):
            texts = await self._link.execute("HGETALL", self._schema.secrets_key)
            now, others = self._wall_clock(), parse_secrets(texts)
            spent = [one for one in others if one.expires is not None and one.expires < now]
            others = [one for one in others if one not in spent]
            check_new_secret(value, [one.value for one in others])
            text = value or secrets.token_urlsafe(32)
            new = SecretRecord(secrets.token_hex(4), text, now, None, hash_name)
            changed = {one.identifier: "" for one in spent}
            if grace is not None:
                for one in others:
                    end = now + grace if one.expires is None else min(one.expires, now + grace)
                    changed[one.identifier] = one._replace(expires=end).to_json()
            words = [new.identifier, new.to_json()]
            for identifier, text_after in changed.items():
                words += [identifier, texts[identifier.encode()], text_after]
            if await self._link.execute("EVAL", _PUT, 1, self._schema.secrets_key, *words):
                return SecretInfo(new.identifier, new.created, None, new.value, hash_name)
        raise AdminError("the secrets are being changed by others all the time: try again")

    async def _secrets(self) -> list[SecretRecord]:
        return parse_secrets(await self._link.execute("HGETALL", self._schema.secrets_key))

    async def _change(self, name: str, *fields: str | int) -> None:
        if not await self._link.execute("EVAL", _CHANGE, 1, self._user_key(name), *fields):
            raise AdminError(f"there is no user '{name}'")

    def _user_key(self, name: str) -> bytes:
        return self._schema.user_key(name.encode())

    def _keys(self, name: str, password: str) -> list[str]:
        return [
            *("md5", key_of(name, self._realm, password, PasswordAlgorithm.MD5)),
            *("sha256", key_of(name, self._realm, password, PasswordAlgorithm.SHA256)),
        ]


def prepared_user(user: str) -> str:
    """A user name as clients send it; `AdminError` when none could."""
    try:
        name = opaque_string(user)
    except ValueError:
        raise AdminError("a user name is not empty and holds no control characters") from None
    if len(name.encode()) > MAX_USER_BYTES:
        raise AdminError(f"a user name is at most {MAX_USER_BYTES} bytes long")
    return name


def key_of(user: str, realm: str, password: str, algorithm: PasswordAlgorithm) -> str:
    """The key of a password in hex; `AdminError` when there is none."""
    try:
        return long_term_key(user, realm, password, algorithm).hex()
    except ValueError:
        raise AdminError("a password is not empty and holds no control characters") from None


def check_new_secret(value: str | None, others: list[str]) -> None:
    """Raises `AdminError` for a secret that is empty, there already, marked, or one too many."""
    if value is not None and not value:
        raise AdminError("a secret is not empty")
    if value and Secret.of("", value).value != value.encode():
        raise AdminError("hmac-…: is for the configuration: give the secret alone, with --hash")
    if value in others:
        raise AdminError("this secret is there already")
    if len(others) >= MAX_SECRETS:
        raise AdminError(f"a realm has at most {MAX_SECRETS} secrets")


def glob_escaped(text: bytes) -> bytes:
    """A text as a pattern of Redis that fits the text alone."""
    return b"".join(b"\\" + bytes([one]) if one in b"*?[]^\\" else bytes([one]) for one in text)
