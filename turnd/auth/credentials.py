"""Long-term credentials and what a look-up of one can answer (RFC 8489 section 9.2).

A look-up has four outcomes, each its own type: `Found` (of a token's key: `FoundKey`), `Unknown`,
`Unavailable` (the store is away: answer 500, never let in) and `NeedLookup` (ask the store, then
come back). Keys never show in a `repr`, so that no log line can hold one.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from turnd.stun.integrity import Integrity, IntegrityAlgorithm
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash
from turnd.stun.nonce_cookie import SecurityFeature

if TYPE_CHECKING:
    from turnd.auth.access_token import AccessToken, TokenKey

ALGORITHMS = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)
"""Every algorithm the server knows, in the order it prefers (RFC 8489 section 9.2.4)."""

WallClock = Callable[[], float]
"""Seconds since the UNIX epoch: a REST credential and a retired secret carry dates."""


@dataclass(frozen=True, slots=True)
class UsernameQuery:
    """A credential asked for by its USERNAME (RFC 8489 section 14.3)."""

    username: str

    def __str__(self) -> str:
        return self.username

    def is_of(self, user: str, realm: str) -> bool:  # noqa: ARG002 - a hash is the realm's
        """Whether it is a user's name."""
        return self.username == user


@dataclass(frozen=True, slots=True)
class UserhashQuery:
    """A credential asked for by its USERHASH, 32 bytes (RFC 8489 section 14.4)."""

    userhash: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"userhash:{self.userhash.hex()}"

    def is_of(self, user: str, realm: str) -> bool:
        """Whether it is the hash of a user's name."""
        try:
            return hmac.compare_digest(self.userhash, userhash(user, realm))
        except ValueError:  # a name that RFC 8265 would refuse has no hash
            return False


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """The key of an access token, asked for by its kid (RFC 7635 section 7)."""

    kid: str


Name = UsernameQuery | UserhashQuery
Query = Name | KeyQuery


class DerivedKeys(Mapping[PasswordAlgorithm, bytes]):
    """Keys made from a password when first asked for: most clients use one algorithm only."""

    __slots__ = ("_keys", "_password", "_realm", "_username")

    def __init__(self, username: str, realm: str, password: str) -> None:
        self._username = username
        self._realm = realm
        self._password = password
        self._keys: dict[PasswordAlgorithm, bytes] = {}

    def __getitem__(self, algorithm: PasswordAlgorithm) -> bytes:
        key = self._keys.get(algorithm)
        if key is None:
            if algorithm not in ALGORITHMS:
                raise KeyError(algorithm)
            key = long_term_key(self._username, self._realm, self._password, algorithm)
            self._keys[algorithm] = key
        return key

    def __iter__(self) -> Iterator[PasswordAlgorithm]:
        return iter(ALGORITHMS)

    def __len__(self) -> int:
        return len(ALGORITHMS)

    def __repr__(self) -> str:
        return "DerivedKeys(…)"


@dataclass(frozen=True, slots=True)
class Credential:
    """Who a request may be from, and the keys that would prove it."""

    user: str
    """The user name as a whole: what 441 compares and logs show."""
    quota_user: str
    """Whom allocations count for; a REST user name without its expiry."""
    keys: Mapping[PasswordAlgorithm, bytes] = field(repr=False)
    expires_at: float | None = None
    """UNIX seconds after which the credential is void; None: never."""
    quota: int | None = None
    """Allocations that the user may have; 0: no limit; None: as configured for all."""
    source: str = ""
    """Which source knew it, for logs: `static`, `secret 2`, `redis`, `redis secret …`, `token`."""
    access: AccessToken | None = None
    """The token that is the credential, where a third party has authorized the client."""
    shared: bytes = field(default=b"", repr=False)
    """What all servers know that the credential is good at, and the user does not: the secret or
    the key that it was made with. Empty: there is no such thing, he has a password."""

    @property
    def owner(self) -> str:
        """Whom allocations and reservations belong to within a realm.

        No user has an empty name: it stands for all whom a third party has authorized, since their
        tokens and kids change while an allocation lives, and name nobody.
        """
        return self.user if self.access is None else ""

    def integrity(
        self, algorithm: PasswordAlgorithm, signs_with: IntegrityAlgorithm
    ) -> Integrity | None:
        """What messages are signed with; None: there is no key for this password algorithm.

        A token brings a key and the HMAC that it is for (RFC 7635 section 5).
        """
        if self.access is not None:
            return self.access.integrity
        key = self.keys.get(algorithm)
        return None if key is None else Integrity(key, signs_with)

    def expired(self, wall_now: float) -> bool:
        """Whether a dated credential is void at `wall_now`, UNIX seconds.

        It is valid while its expiry is now or later (draft-uberti-rtcweb-turn-rest section 2.2).
        """
        if self.access is not None:
            return self.access.expired(wall_now)
        return self.expires_at is not None and self.expires_at < wall_now

    def longest_lifetime(self, wall_now: float) -> float:
        """Seconds for which an allocation may be granted: those that are left of a token."""
        return inf if self.access is None else self.access.remaining(wall_now)


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials that the name can stand for: several when several secrets are in use.

    Each is tried in turn; the one whose key fits the message is the client's.
    """

    candidates: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """The key that tokens of a kid are opened with."""

    key: TokenKey


@dataclass(frozen=True, slots=True)
class Unknown:
    """No source has such a user or key, or the user is disabled: the same to a client."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The store did not answer in time and holds no older answer: 500, never an open door."""

    reason: str = ""
    crowded: bool = False
    """The store is there, and too many ask: who asks again in a moment may well be heard."""


@dataclass(frozen=True, slots=True)
class NeedLookup:
    """Only the store knows: ask it with this query, outside the core."""

    query: Query


Outcome = Found | FoundKey | Unknown | Unavailable
Lookup = Outcome | NeedLookup


class Offers(NamedTuple):
    """What a challenge offers: only what every credential source of the realm can serve."""

    algorithms: tuple[PasswordAlgorithm, ...]
    """None: there are no passwords, a third party alone lets clients in."""
    username_anonymity: bool

    @property
    def features(self) -> SecurityFeature:
        """The bits of the nonce cookie; algorithms are listed if any (RFC 8489 section 9.2.4)."""
        features = SecurityFeature(0)
        if self.algorithms:
            features |= SecurityFeature.PASSWORD_ALGORITHMS
        if self.username_anonymity:
            features |= SecurityFeature.USERNAME_ANONYMITY
        return features


def decoy_keys(name: Name, salt: bytes) -> Mapping[PasswordAlgorithm, bytes]:
    """Keys that nobody has, to do for an unknown user the work that a known one costs.

    A request that verifies against them must be refused all the same.

    Args:
        name: what was asked for.
        salt: random bytes of this process, so that the keys cannot be computed elsewhere.
    """
    text = name.username.encode() if isinstance(name, UsernameQuery) else name.userhash
    digest = hmac.digest(salt, text, "sha256")
    return {PasswordAlgorithm.MD5: digest[:16], PasswordAlgorithm.SHA256: digest}
