"""Credentials of the TURN REST API (draft-uberti-rtcweb-turn-rest-00).

An application that shares a secret with the server makes up user names that carry their expiry in
UNIX seconds, and the password is base64(HMAC-SHA1(secret, user name)); with HMAC-SHA256 instead,
which no draft has, where the secret is written `hmac-sha256:secret`. Four shapes are in use:
`expiry:user` (split at the first colon only: Matrix users hold more), `user:expiry`, a bare
`expiry`, and `expiry:`. Several secrets may be in use at once, so that one can be replaced; each
yields a candidate. Whether a candidate has expired is for its user to judge: an expired one still
refreshes unless the configuration is strict.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from turnd.auth.credentials import Credential, DerivedKeys, WallClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

MAX_SECRETS = 32
"""Each secret costs every REST request an HMAC and a key, so their number is bounded."""

HASHES = ("sha1", "sha256")
"""What passwords can be made with; the first is the draft's."""
_PREFIXES = {f"hmac-{name}:": name for name in HASHES}
_MAX_DIGITS = 15  # beyond any date, and exact as a float
_MAX_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that REST passwords are made with."""

    label: str
    """What logs call it; never the secret itself."""
    value: bytes = field(repr=False)
    not_after: float | None = None
    """UNIX seconds after which a replaced secret no longer counts; None: in use."""
    hash_name: str = HASHES[0]
    """What passwords are made with, one of `HASHES`."""

    @classmethod
    def of(cls, label: str, text: str, not_after: float | None = None) -> Self:
        """A secret as turnd has it written: `secret`, or `hmac-sha256:secret`."""
        for prefix, hash_name in _PREFIXES.items():
            if text.startswith(prefix):
                return cls(label, text.removeprefix(prefix).encode(), not_after, hash_name)
        return cls(label, text.encode(), not_after)

    def password(self, username: str) -> str:
        """The one that belongs to a REST user name: padded base64 of 28 or 44 characters."""
        return b64encode(hmac.digest(self.value, username.encode(), self.hash_name)).decode()


class RestUsername(NamedTuple):
    """What a user name of the REST API says."""

    expires_at: float
    quota_user: str


def parse_rest_username(username: str, separator: str = ":") -> RestUsername | None:
    """Reads one of the four shapes; None: another kind of user name.

    Without a user part the whole name is whom allocations count for.
    """
    head, separated, tail = username.partition(separator)
    if _is_expiry(head):
        return RestUsername(float(head), tail or username)
    if separated:
        user, _, last = username.rpartition(separator)
        if user and _is_expiry(last):
            return RestUsername(float(last), user)
    return None


def rest_password(secret: str, username: str) -> str:
    """The password of a REST user name, made with a secret as `Secret.of` reads it."""
    return Secret.of("", secret).password(username)


class RestSecrets:
    """The REST secrets of one realm: those of the configuration and those of a store.

    Args:
        realm: what the keys are made with.
        secrets: of the configuration, as `Secret.of` reads them, in the order they are tried.
        wall_clock: UNIX seconds, to leave out secrets whose grace has ended.
        separator: between expiry and user.
    """

    def __init__(
        self, realm: str, secrets: Iterable[str], wall_clock: WallClock, separator: str = ":"
    ) -> None:
        self._realm = realm
        self._separator = separator
        self._wall_clock = wall_clock
        self._configured = _labelled(secrets)
        self._stored: tuple[Secret, ...] = ()
        self._all = self._configured
        self._cache: OrderedDict[tuple[bytes, str, str], Credential] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def use_store_secrets(self, secrets: Sequence[Secret]) -> None:
        """Replaces the secrets that came from a store; those of the configuration come first."""
        self._stored = tuple(secrets)
        self._combine()

    def use_configured_secrets(self, secrets: Iterable[str]) -> None:
        """Replaces the secrets of the configuration; those of a store stay."""
        self._configured = _labelled(secrets)
        self._combine()

    def _combine(self) -> None:
        self._all = (*self._configured, *self._stored)[:MAX_SECRETS]
        in_use = {(secret.value, secret.hash_name) for secret in self._all}
        for key in [key for key in self._cache if key[:2] not in in_use]:
            del self._cache[key]

    def candidates(self, username: str) -> tuple[Credential, ...]:
        """One credential for each secret in use; none for another kind of name."""
        parsed = parse_rest_username(username, self._separator)
        if parsed is None:
            return ()
        now = self._wall_clock()
        return tuple(
            self._credential(secret, username, parsed)
            for secret in self._all
            if secret.not_after is None or now <= secret.not_after
        )

    def _credential(self, secret: Secret, username: str, parsed: RestUsername) -> Credential:
        key = (secret.value, secret.hash_name, username)
        credential = self._cache.get(key)
        if credential is not None:
            self._cache.move_to_end(key)
            return credential
        credential = Credential(
            user=username,
            quota_user=parsed.quota_user,
            keys=DerivedKeys(username, self._realm, secret.password(username)),
            expires_at=parsed.expires_at,
            source=secret.label,
            shared=secret.value,
        )
        self._cache[key] = credential
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return credential


def _labelled(texts: Iterable[str]) -> tuple[Secret, ...]:
    return tuple(Secret.of(f"secret {number}", text) for number, text in enumerate(texts, 1))


def _is_expiry(text: str) -> bool:
    return 0 < len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit()
