"""The credential sources of one realm, asked in order: static users, REST secrets, the store.

Nothing here waits. What the store does not know at once becomes `NeedLookup`. A static user beats
the other sources. A name of a REST shape belongs to the secrets where there are any; a user of the
store with such a name is a further candidate once the store's cache holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from turnd.auth.credentials import (
    ALGORITHMS,
    Found,
    Lookup,
    Name,
    NeedLookup,
    Offers,
    Outcome,
    Unknown,
    UsernameQuery,
)

if TYPE_CHECKING:
    from turnd.auth.rest import RestSecrets
    from turnd.auth.static import StaticUsers
    from turnd.stun.keys import PasswordAlgorithm


class CredentialStore(Protocol):
    """What the chain asks of a store: answers at hand, and what its schema can serve."""

    @property
    def algorithms(self) -> frozenset[PasswordAlgorithm]:
        """Those that every user of the store has a key for."""

    @property
    def username_anonymity(self) -> bool:
        """Whether every user of the store can be found by the hash of the name."""

    def cached(self, name: Name, now: float) -> Outcome | None:
        """What is known without asking; None: it has to be asked."""


class CredentialChain:
    """Looks credentials up for one realm.

    Raises:
        ValueError: no password algorithm would work for the users of every source.
    """

    def __init__(
        self,
        realm: str,
        static: StaticUsers,
        rest: RestSecrets,
        store: CredentialStore | None = None,
    ) -> None:
        self.realm = realm
        self._static = static
        self._rest = rest
        self._store = store
        algorithms = _common(static, store)
        if not algorithms:
            raise ValueError(
                f"no password algorithm serves every user of realm '{realm}': users with only an"
                " md5: key and users with only a sha256: key cannot be challenged alike"
            )
        self._offers = {
            anonymity: Offers(algorithms, username_anonymity=anonymity)
            for anonymity in (False, True)
        }

    def lookup(self, name: Name, now: float) -> Lookup:
        """Who the name can be, without waiting; `now`: monotonic seconds."""
        static = self._static.find(name)
        if static is not None:
            return Found((static,))
        candidates = self._rest.candidates(name.username) if isinstance(name, UsernameQuery) else ()
        known = self._store.cached(name, now) if self._store is not None else Unknown()
        if candidates:
            more = known.candidates if isinstance(known, Found) else ()
            return Found((*candidates, *more))
        return NeedLookup(name) if known is None else known

    @property
    def offers(self) -> Offers:
        """What a challenge may offer now: the secrets of a store come and go."""
        anonymity = not len(self._rest) and (self._store is None or self._store.username_anonymity)
        return self._offers[anonymity]


def _common(static: StaticUsers, store: CredentialStore | None) -> tuple[PasswordAlgorithm, ...]:
    common = static.algorithms
    if store is not None:
        common &= store.algorithms
    return tuple(algorithm for algorithm in ALGORITHMS if algorithm in common)
