"""turnd's own records in Redis, and what every schema can be asked.

    turnd:{realm}:user:<user>        hash: md5, sha256 (hex keys), quota, disabled, created
    turnd:{realm}:userhash:<hex>     string: the user whose USERHASH this is
    turnd:{realm}:secrets            hash: id → JSON {"secret", "created", "expires"}
    turnd:{realm}:oauth:<kid>        hash: key (base64), algorithm, timestamp, lifetime

Passwords are not stored, only the keys made from them. The realm is the hash tag of every key, so
that in a Cluster all records of a realm are together whatever braces a user name holds. User names
come from clients: they are only ever a key's tail, never a pattern, and at most 508 bytes long.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from turnd.auth.access_token import TokenKey
from turnd.auth.credentials import (
    ALGORITHMS,
    Credential,
    KeyQuery,
    Name,
    Query,
    UserhashQuery,
    UsernameQuery,
)
from turnd.auth.rest import HASHES, MAX_SECRETS, Secret
from turnd.stun.keys import PasswordAlgorithm, userhash

if TYPE_CHECKING:
    from collections.abc import Mapping

Execute = Callable[..., Awaitable[Any]]
"""Sends one command to Redis and returns its answer."""

MAX_USER_BYTES = 508
"""A USERNAME is shorter than 509 bytes (RFC 8489 section 14.3)."""


class BadRecordError(ValueError):
    """A record in Redis is not what the schema says; the text names no value of it."""


class RealmOptions(NamedTuple):
    """Quotas that Redis holds for the realm; 0: no limit; None: as configured."""

    total_quota: int | None = None
    user_quota: int | None = None


class Change(NamedTuple):
    """What a changed key bears on."""

    names: tuple[Query, ...] = ()
    realm: bool = False
    """Secrets or options of the realm: to be read again."""


class Schema(Protocol):
    """How records lie in Redis. Reading raises `BadRecordError` and what the link raises."""

    algorithms: frozenset[PasswordAlgorithm]
    username_anonymity: bool

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """What every key begins with that bears on the realm."""

    async def read_user(self, execute: Execute, name: Name) -> Credential | None:
        """A user's credential; None: there is none, or it is disabled."""

    async def read_key(self, execute: Execute, kid: str) -> TokenKey | None:
        """The key that tokens of this kid are opened with."""

    async def read_secrets(self, execute: Execute) -> list[Secret]:
        """The REST secrets of the realm, the newest first where ages are known."""

    async def read_options(self, execute: Execute) -> RealmOptions:
        """The quotas of the realm."""

    def change(self, key: bytes) -> Change:
        """What the change of a key bears on; most often nothing."""


def names_of(user: str, realm: str) -> tuple[Name, ...]:
    """All that a client can ask for this user by; no hash for a name that is no OpaqueString."""
    try:
        return UsernameQuery(user), UserhashQuery(userhash(user, realm))
    except ValueError:
        return (UsernameQuery(user),)


def number_of(value: bytes | None, what: str) -> int | None:
    """A quota or a date as Redis holds it: digits, or nothing."""
    if value is None:
        return None
    if not (value.isdigit() and len(value) < 16):
        raise BadRecordError(f"{what} is no number")
    return int(value)


def token_key(fields: Mapping[bytes, bytes], key: bytes, algorithm: bytes) -> TokenKey | None:
    """The key of a record with these two fields, and `timestamp` and `lifetime`.

    Raises:
        BadRecordError: it is none.
    """
    if not fields:
        return None
    timestamp = number_of(fields.get(b"timestamp"), "the timestamp of a token's key")
    lifetime = number_of(fields.get(b"lifetime"), "the lifetime of a token's key")
    try:
        return TokenKey.of(
            fields[key].decode(),
            fields.get(algorithm, b"A256GCM").decode(),
            timestamp or 0,
            lifetime or 0,
        )
    except (KeyError, ValueError):
        raise BadRecordError("a token's key is missing or malformed") from None


class TurndSchema:
    """turnd's own schema for one realm."""

    algorithms = frozenset(ALGORITHMS)
    username_anonymity = True

    def __init__(self, realm: str) -> None:
        self._realm = realm
        # A brace in the realm would end the hash tag early; it is written as percent codes.
        tag = realm.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
        self.prefix = f"turnd:{{{tag}}}:".encode()
        self.secrets_key = self.prefix + b"secrets"
        self.user_prefix = self.prefix + b"user:"
        self.token_key_prefix = self.prefix + b"oauth:"

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """See `Schema`."""
        return (self.prefix,)

    def user_key(self, user: bytes) -> bytes:
        """The key of a user's record."""
        return self.user_prefix + user

    def userhash_key(self, digest: bytes) -> bytes:
        """The key that leads from a USERHASH to the user; in lower-case hex."""
        return self.prefix + b"userhash:" + digest.hex().encode()

    async def read_user(self, execute: Execute, name: Name) -> Credential | None:
        """See `Schema`; by hash, a miss costs the same two commands as a hit."""
        if isinstance(name, UsernameQuery):
            user = name.username.encode()
            return _credential(user, await execute("HGETALL", self.user_key(user)))
        indexed: bytes | None = await execute("GET", self.userhash_key(name.userhash))
        user = name.userhash if indexed is None else indexed
        credential = _credential(user, await execute("HGETALL", self.user_key(user)))
        if credential is None or name not in names_of(credential.user, self._realm):
            return None  # an index that leads elsewhere proves nothing
        return credential

    async def read_key(self, execute: Execute, kid: str) -> TokenKey | None:
        """See `Schema`."""
        fields = await execute("HGETALL", self.token_key_prefix + kid.encode())
        return token_key(fields, b"key", b"algorithm")

    async def read_secrets(self, execute: Execute) -> list[Secret]:
        """See `Schema`; a secret whose grace has ended is left to the reader's clock."""
        records = parse_secrets(await execute("HGETALL", self.secrets_key))
        return [
            Secret(f"redis secret {one.identifier}", one.value.encode(), one.expires, one.hash_name)
            for one in records[:MAX_SECRETS]
        ]

    async def read_options(self, execute: Execute) -> RealmOptions:  # noqa: ARG002 - the protocol's
        """Quotas of the realm are the configuration's in this schema."""
        return RealmOptions()

    def change(self, key: bytes) -> Change:
        """See `Schema`; the index changes with its user only, so it says nothing new."""
        if key == self.secrets_key:
            return Change(realm=True)
        if key.startswith(self.user_prefix):
            user = key.removeprefix(self.user_prefix).decode(errors="replace")
            return Change(names=names_of(user, self._realm))
        if key.startswith(self.token_key_prefix):
            kid = key.removeprefix(self.token_key_prefix).decode(errors="replace")
            return Change(names=(KeyQuery(kid),))
        return Change()


class SecretRecord(NamedTuple):
    """A secret as turnd's schema holds it; dates in UNIX seconds."""

    identifier: str
    value: str
    created: float
    expires: float | None
    hash_name: str = HASHES[0]

    def to_json(self) -> str:
        """The value of its field; the hash is told only where it is not the usual one."""
        values = {"secret": self.value, "created": self.created, "expires": self.expires}
        if self.hash_name != HASHES[0]:
            values["hash"] = self.hash_name
        return json.dumps(values)


def parse_secrets(fields: Mapping[bytes, bytes]) -> list[SecretRecord]:
    """The secrets of a realm, the newest first.

    Raises:
        BadRecordError: a field is not what `SecretRecord.to_json` writes.
    """
    records = []
    for identifier, text in fields.items():
        try:
            values = json.loads(text)
            expires = values.get("expires")
            record = SecretRecord(
                identifier=identifier.decode(),
                value=_secret(values["secret"]),
                created=_date(values.get("created", 0)),
                expires=None if expires is None else _date(expires),
                hash_name=HASHES[HASHES.index(values.get("hash", HASHES[0]))],
            )
        except _NOT_A_SECRET:
            raise BadRecordError("a secret of the realm is malformed") from None
        records.append(record)
    return sorted(records, key=lambda one: (-one.created, one.identifier))


_NOT_A_SECRET = (
    *(ValueError, KeyError, TypeError, AttributeError),
    OverflowError,  # a number beyond all floats
    RecursionError,  # lists within lists within lists …
)
"""What comes of reading JSON that is something else."""


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError("anybody could guess it")
    value.encode()  # JSON can spell half a surrogate pair, which no HMAC can be keyed with
    return value


def _date(value: str | float) -> float:
    seconds = float(value)
    if not isfinite(seconds):
        raise ValueError("no date")
    return seconds


def _credential(user: bytes, fields: Mapping[bytes, bytes]) -> Credential | None:
    if not fields or fields.get(b"disabled", b"0") != b"0":
        return None
    try:
        keys = {
            PasswordAlgorithm.MD5: bytes.fromhex(fields[b"md5"].decode()),
            PasswordAlgorithm.SHA256: bytes.fromhex(fields[b"sha256"].decode()),
        }
        name = user.decode()
    except (KeyError, ValueError):
        raise BadRecordError("a user's keys are missing or malformed") from None
    if [len(keys[one]) for one in (PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256)] != [16, 32]:
        raise BadRecordError("a user's keys have the wrong length")
    quota = number_of(fields.get(b"quota"), "a user's quota")
    return Credential(user=name, quota_user=name, keys=keys, quota=quota, source="redis")
