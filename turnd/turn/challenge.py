"""What a 401 or 438 has a client come back with (RFC 8489 section 9.2.4, RFC 7635 section 6.1).

Everybody gets the same but for the nonce, so that an engine can say it by itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from turnd.auth.nonce import cookie_and_flags
from turnd.engine.base import Challenge
from turnd.stun import attributes as a

if TYPE_CHECKING:
    from turnd.auth.credentials import Offers
    from turnd.turn.realm import Realm
    from turnd.turn.request import Attributes

_ANY_TRANSACTION = bytes(12)


def challenge_attributes(realm: Realm, nonce: str) -> Attributes:
    """All that stands beside the code."""
    offers, third_party = realm.credentials.offers, realm.credentials.third_party
    attributes: list[tuple[a.Attribute[Any], Any]] = [(a.REALM, realm.name), (a.NONCE, nonce)]
    if offers.algorithms:
        attributes.append((a.PASSWORD_ALGORITHMS, algorithm_entries(offers)))
    if third_party is not None:
        attributes.append((a.THIRD_PARTY_AUTHORIZATION, third_party.server_name))
    return tuple(attributes)


def challenge_of(realm: Realm, *, unless_named: bool = False) -> Challenge:
    """The same for an engine; `unless_named`: some requests may be another realm's."""
    offers, third_party = realm.credentials.offers, realm.credentials.third_party
    cookie, flags = cookie_and_flags(offers)
    name = "" if third_party is None else third_party.server_name
    return Challenge(
        realm=a.REALM.encode(realm.name, _ANY_TRANSACTION),
        cookie=cookie.encode(),
        flags=flags,
        password_algorithms=a.PASSWORD_ALGORITHMS.encode(
            algorithm_entries(offers), _ANY_TRANSACTION
        ),
        unless_named=unless_named,
        third_party_authorization=a.THIRD_PARTY_AUTHORIZATION.encode(name, _ANY_TRANSACTION),
    )


@lru_cache(maxsize=16)
def algorithm_entries(offers: Offers) -> tuple[a.PasswordAlgorithmEntry, ...]:
    """The value of PASSWORD-ALGORITHMS, which a client repeats."""
    return tuple(a.PasswordAlgorithmEntry(algorithm) for algorithm in offers.algorithms)
