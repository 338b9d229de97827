"""The map `auth` of the configuration, of the server and of each realm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from turnd.config.fields import (
    SPELT_ONCE,
    FilePath,
    Password,
    RedisAddress,
    Seconds,
    Secret,
    Section,
    Separator,
    ServerName,
    TokenKey,
    User,
    WholeSeconds,
    live,
    section,
)


class TokenKeySection(Section):
    """A key that is shared with an authorization server."""

    key: TokenKey = Field(description="The key in base64: 16 bytes for A128GCM, 32 for A256GCM.")
    algorithm: Literal["A128GCM", "A256GCM"] = Field(
        "A256GCM", description="How tokens are sealed with it."
    )
    timestamp: Annotated[int, Field(ge=0)] = Field(
        0, description="UNIX seconds from which its lifetime counts."
    )
    lifetime: WholeSeconds = Field(0, description="How long it opens tokens. 0: it has no end.")


class OAuthSection(Section):
    """Authorization servers that let clients in by tokens (RFC 7635)."""

    server_name: ServerName | None = live(
        None,
        "Name of this server, which clients are told and tokens are sealed for. null: the realm's "
        "where keys are given here, else no tokens are taken.",
    )
    keys: Mapping[User, TokenKeySection] = live(
        {},
        "Keys that tokens are opened with, by their kid; further ones may be in Redis.",
        examples=[{"north": {"key": "MTIzNDU2Nzg5MDEyMzQ1Ng==", "algorithm": "A128GCM"}}],
    )

    @property
    def is_used(self) -> bool:
        """Whether clients may come with tokens."""
        return bool(self.server_name or self.keys)


class AuthSection(Section):
    """Who may use the server: users, then secrets, then Redis, or by tokens.

    With none of them, the server makes a secret of its own in its state directory.
    """

    users: Annotated[Mapping[User, Password], SPELT_ONCE] = live(
        {},
        "Static users: name and password, or name and keys as md5:…, sha256:… or both (the "
        "hash of user:realm:password in hexadecimal).",
        examples=[{"alice": "s3cret"}],
    )
    users_file: FilePath | None = live(
        None, "File to read users from instead: lines of name: password, as YAML has them."
    )
    secrets: tuple[Secret, ...] = live(
        (),
        "Secrets shared with applications that make credentials (TURN REST). Several while one "
        "replaces another: all are tried. hmac-sha256:SECRET is for applications that make them "
        "with HMAC-SHA256.",
        examples=[["new", "old"]],
    )
    secrets_file: FilePath | None = live(
        None, "File to read secrets from instead, one a line. An empty file is an error."
    )
    separator: Separator = live(":", "What stands between expiry and user in a REST username.")
    redis: RedisAddress | None = live(
        None,
        "Redis with users and secrets: redis://, rediss:// (TLS), unix://, redis+sentinel://, "
        "redis+cluster://, or coturn's ip=… dbname=….",
        examples=["redis://127.0.0.1:6379/0"],
    )
    redis_file: FilePath | None = live(
        None, "File to read the address of Redis from instead, with the password in it."
    )
    redis_schema: Literal["turnd", "coturn"] = live(
        "turnd", "Which keys Redis holds: turnd's own, or coturn's as they are."
    )
    redis_cache: Seconds = live(60.0, "How long an answer of Redis is believed.", le=86400)
    redis_timeout: Seconds = live(
        0.3, "How long an answer of Redis is waited for; 0.3 at most.", gt=0, le=0.3
    )
    redis_tls_ca: FilePath | None = live(
        None, "PEM file with the authorities that vouch for Redis. null: the system's."
    )
    oauth: OAuthSection = section(
        OAuthSection, "Authorization servers that let clients in by tokens (RFC 7635)."
    )
    strict_expiry: bool = live(
        False, "Whether a REST credential that has expired cannot refresh its allocation either."
    )
    nonce_lifetime: Seconds = live(
        3600.0,
        "How long a nonce is valid, in all realms; then the client is given another.",
        ge=1,
        le=86400,
    )
