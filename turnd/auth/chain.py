"""The credential sources of one realm, asked in order: static users, REST secrets, the store.

Nothing here waits. What the store does not know at once becomes `NeedLookup`. A static user beats
the other sources. A name of a REST shape belongs to the secrets where there are any; a user of the
store with such a name is a further candidate once the store's cache holds it. Keys of access tokens
are asked for by their kid, of the configuration first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from turnd.auth.credentials import (
    ALGORITHMS,
    Found,
    FoundKey,
    KeyQuery,
    Lookup,
    NeedLookup,
    Offers,
    Outcome,
    Query,
    Unknown,
    UsernameQuery,
)

if TYPE_CHECKING:
    from turnd.auth.oauth import ThirdParty
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

    def cached(self, name: Query, now: float) -> Outcome | None:
        """What is known without asking; None: it has to be asked."""


class CredentialChain:
    """Looks credentials up for one realm.

    `third_party`: authorization servers that let clients in as well; the challenge says so. With
    them alone there are no passwords, and no password algorithm is offered.

    Raises:
        ValueError: no password algorithm would work for the users of every source.
    """

    def __init__(
        self,
        realm: str,
        static: StaticUsers,
        rest: RestSecrets,
        store: CredentialStore | None = None,
        third_party: ThirdParty | None = None,
    ) -> None:
        self.realm = realm
        self.third_party = third_party
        self._static = static
        self._rest = rest
        self._store = store
        tokens_alone = third_party is not None and not (
            len(static) or len(rest) or store is not None
        )
        algorithms = () if tokens_alone else _common(static, store)
        if not (algorithms or tokens_alone):
            raise ValueError(
                f"no password algorithm serves every user of realm '{realm}': users with only an"
                " md5: key and users with only a sha256: key cannot be challenged alike"
            )
        self._offers = {
            anonymity: Offers(algorithms, username_anonymity=anonymity and not tokens_alone)
            for anonymity in (False, True)
        }

    def lookup(self, name: Query, now: float) -> Lookup:
        """Who the name can be, or the key of a kid, without waiting; `now`: monotonic seconds."""
        if isinstance(name, KeyQuery):
            return self._key(name, now)
        static = self._static.find(name)
        if static is not None:
            return Found((static,))
        candidates = self._rest.candidates(name.username) if isinstance(name, UsernameQuery) else ()
        known = self._store.cached(name, now) if self._store is not None else Unknown()
        if candidates:
            more = known.candidates if isinstance(known, Found) else ()
            return Found((*candidates, *more))
        return NeedLookup(name) if known is None else known

    def _key(self, query: KeyQuery, now: float) -> Lookup:
        if self.third_party is None:
            return Unknown()
        configured = self.third_party.keys.get(query.kid)
        if configured is not None:
            return FoundKey(configured)
        known = self._store.cached(query, now) if self._store is not None else Unknown()
        return NeedLookup(query) if known is None else known

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
