"""The long-term credential mechanism as one ladder (RFC 8489 section 9.2.4).

Rungs, in the RFC's order
    1.  No MESSAGE-INTEGRITY of either kind: 401, the challenge.
    2.  Integrity without name, REALM or NONCE: 400.
    3.  PASSWORD-ALGORITHMS and PASSWORD-ALGORITHM must be those of the nonce's challenge: 400.
    4.  The name must be known: 401.
    5.  The integrity must hold: 401.
    6.  The nonce must be ours, for this address, young enough, and of a challenge that offered no
        less than the realm does (another realm's may: a bid-down): 438. A first Allocate may come
        with one that another server has passed on with a redirect.

With ACCESS-TOKEN the name is that of a key, which must open the token, and the integrity is that of
the token's own key (RFC 7635 section 7): rungs 4 and 5 with the same answers. Where no challenge
asks for tokens it is an unknown attribute: 420.

Who fails on rung 4 or 5 gets the same answer after the same work. An allocation's own key is tried
first: whoever holds it may go on refreshing while Redis is away or after a secret was rotated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turnd.auth.credentials import (
    Credential,
    Found,
    FoundKey,
    KeyQuery,
    Name,
    NeedLookup,
    Offers,
    Outcome,
    Unavailable,
    UserhashQuery,
    UsernameQuery,
    decoy_keys,
)
from turnd.auth.oauth import token_credential
from turnd.auth.passed_nonce import is_passed_nonce
from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError, ErrorCode
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.message import Integrity, IntegrityAlgorithm, Message, Method
from turnd.turn.answers import unknown_attributes
from turnd.turn.challenge import algorithm_entries
from turnd.turn.events import FailureReason
from turnd.turn.request import Refused

if TYPE_CHECKING:
    from turnd.turn.attempt import Attempt

_ALGORITHMS = frozenset(PasswordAlgorithm)


class Identity(NamedTuple):
    """Who sent the request, and what the answer is signed with."""

    credential: Credential
    integrity: Integrity
    sent_here: bool = False
    """Whether another server has redirected the client to us, as its nonce shows."""


def is_first_request(message: Message) -> bool:
    """Whether the request carries no integrity at all, and is to be challenged (rung 1)."""
    return not (message.has_integrity or message.has_integrity_sha256)


def authenticate(
    attempt: Attempt, offers: Offers | None, outcome: Outcome | None = None
) -> Identity | NeedLookup:
    """Climb the ladder from rung 2 on.

    Args:
        attempt: the request, its nonce checked.
        offers: what the nonce's challenge offered, if that is known.
        outcome: what a look-up that was asked for earlier has found.

    Raises:
        Refused: with 400, 401, 438 or 500.
    """
    message = attempt.message
    name, realm = _name(message), message.get(a.REALM)
    if name is None or realm is None or not message.has(a.NONCE):
        raise Refused(ErrorCode.BAD_REQUEST, "integrity without USERNAME, REALM or NONCE")
    algorithm, pair = _password_algorithm(message, offers)
    if algorithm is None:
        attempt.failed(str(name), FailureReason.BAD_ALGORITHM)
        raise Refused(ErrorCode.BAD_REQUEST, "PASSWORD-ALGORITHM is not what was offered")
    how = algorithm, IntegrityAlgorithm.SHA256 if pair else IntegrityAlgorithm.SHA1
    identity = _holder_of_the_allocation(attempt, name, *how) or _known(
        attempt, outcome, name, *how
    )
    if isinstance(identity, NeedLookup):
        return identity
    if realm != attempt.realm.name:
        attempt.failed(identity.credential.user, FailureReason.WRONG_REALM)
        raise Refused(
            ErrorCode.UNAUTHENTICATED, "another realm", attempt.challenge(), identity.integrity
        )
    if _is_fresh(attempt, offers):
        return identity
    if _was_sent_here(attempt, identity):
        return identity._replace(sent_here=True)
    raise Refused(ErrorCode.STALE_NONCE, "stale nonce", attempt.challenge(), identity.integrity)


def _is_fresh(attempt: Attempt, offers: Offers | None) -> bool:
    """Whether the nonce is valid, and of a challenge that offered no less than the realm does."""
    wanted = set(attempt.realm.credentials.offers.algorithms)
    return attempt.nonce_is_valid and offers is not None and wanted.issubset(offers.algorithms)


def _was_sent_here(attempt: Attempt, identity: Identity) -> bool:
    """Whether a new client has been redirected to us by a server with the same users."""
    message, existing = attempt.message, attempt.allocation
    is_new = existing is None or existing.transaction_id == message.transaction_id
    if message.method != Method.ALLOCATE or not is_new:
        return False
    credential, integrity, _ = identity
    host, wall_now = attempt.leg.client.host, attempt.wall_now
    return is_passed_nonce(attempt.nonce, credential, integrity, host, wall_now)


def _name(message: Message) -> Name | None:
    username = message.get(a.USERNAME)
    if username is not None:
        return UsernameQuery(username)
    userhash = message.get(a.USERHASH)
    return None if userhash is None else UserhashQuery(userhash)


def _password_algorithm(
    message: Message, offers: Offers | None
) -> tuple[PasswordAlgorithm | None, bool]:
    """The algorithm to use and whether the pair was sent; no algorithm where it mismatches.

    A client of RFC 5389 sends neither attribute: MD5, signed with SHA-1. A nonce of another process
    (before a restart, say) may have come with another offer: then the pair need only be consistent,
    and the client learns of its stale nonce.
    """
    listed = message.get(a.PASSWORD_ALGORITHMS)
    chosen = message.get(a.PASSWORD_ALGORITHM)
    if listed is None and chosen is None:
        return PasswordAlgorithm.MD5, False
    entries = listed if offers is None else algorithm_entries(offers)
    if listed is None or chosen is None or listed != entries or chosen not in listed:
        return None, True
    known = chosen.algorithm in _ALGORITHMS and not chosen.parameters
    return (PasswordAlgorithm(chosen.algorithm) if known else None), True


def _holder_of_the_allocation(
    attempt: Attempt,
    name: Name,
    algorithm: PasswordAlgorithm,
    signs_with: IntegrityAlgorithm,
) -> Identity | None:
    """The allocation's own credential, if the request is signed with it."""
    if attempt.allocation is None:
        return None
    credential = attempt.allocation.credential
    token = attempt.message.get(a.ACCESS_TOKEN)
    if token is not None and (credential.access is None or credential.access.value != token):
        return None
    integrity = credential.integrity(algorithm, signs_with)
    if integrity is None or not name.is_of(credential.user, attempt.realm.name):
        return None
    if not _is_signed_by(attempt.message, credential, integrity):
        return None
    return Identity(credential, integrity)


def _known(
    attempt: Attempt,
    outcome: Outcome | None,
    name: Name,
    algorithm: PasswordAlgorithm,
    signs_with: IntegrityAlgorithm,
) -> Identity | NeedLookup:
    """Rungs 4 and 5, by what the realm's sources know."""
    credentials, message = attempt.realm.credentials, attempt.message
    token = None if credentials.third_party is None else message.get(a.ACCESS_TOKEN)
    query = name if token is None else KeyQuery(_kid(name))
    found = outcome or credentials.lookup(query, attempt.now)
    if isinstance(found, NeedLookup):
        return found
    if isinstance(found, Unavailable):
        attempt.failed(str(name), FailureReason.STORE_UNAVAILABLE)
        raise Refused(ErrorCode.SERVER_ERROR, "the credential store is away")
    if token is None:
        return _verify(attempt, found, name, algorithm, signs_with)
    return _verify_token(attempt, found, _kid(name), token)


def _verify(
    attempt: Attempt,
    found: Outcome,
    name: Name,
    algorithm: PasswordAlgorithm,
    signs_with: IntegrityAlgorithm,
) -> Identity:
    """Rungs 4 and 5, with a password."""
    candidates = found.candidates if isinstance(found, Found) else ()
    compared = False
    for credential in candidates:
        integrity = credential.integrity(algorithm, signs_with)
        if integrity is None:
            continue  # the algorithm was not offered, or the credential changed since
        if _signed_with(attempt.message, integrity.key):
            return Identity(credential, integrity)
        compared = True
    if not compared:
        _signed_with(attempt.message, decoy_keys(name, attempt.decoy_salt)[algorithm])
    if attempt.message.has(a.ACCESS_TOKEN):  # where no challenge has asked for it
        raise unknown_attributes((a.ACCESS_TOKEN.number,))
    reason = FailureReason.BAD_INTEGRITY if candidates else FailureReason.UNKNOWN_USER
    attempt.failed(candidates[0].user if candidates else str(name), reason)
    raise Refused(ErrorCode.UNAUTHENTICATED, reason, attempt.challenge())


def _verify_token(attempt: Attempt, found: Outcome, kid: str, token_untrusted: bytes) -> Identity:
    """Rungs 4 and 5, with a token (RFC 7635 section 7); its time is up to `TurnServer`."""
    third_party = attempt.realm.credentials.third_party
    reason = FailureReason.UNKNOWN_USER
    if third_party is not None and isinstance(found, FoundKey):
        try:
            access = third_party.open_untrusted(token_untrusted, found.key)
        except DecodeError:
            reason = FailureReason.BAD_TOKEN
        else:
            for reading in access.readings():
                if attempt.message.verify_integrity(*reading.integrity):
                    return Identity(token_credential(kid, reading, found.key), reading.integrity)
            reason = FailureReason.BAD_INTEGRITY
    attempt.failed(kid, reason)
    raise Refused(ErrorCode.UNAUTHENTICATED, reason, attempt.challenge())


def _kid(name: Name) -> str:
    """The name of a token's key (RFC 7635 section 5).

    Raises:
        Refused: a hash, by which no key is found.
    """
    if isinstance(name, UsernameQuery):
        return name.username
    raise Refused(ErrorCode.BAD_REQUEST, "ACCESS-TOKEN without USERNAME")


def _is_signed_by(message: Message, credential: Credential, integrity: Integrity) -> bool:
    if credential.access is not None:
        return message.verify_integrity(*integrity)
    return _signed_with(message, integrity.key)


def _signed_with(message: Message, key: bytes) -> bool:
    stronger = (
        IntegrityAlgorithm.SHA256 if message.has_integrity_sha256 else IntegrityAlgorithm.SHA1
    )
    return message.verify_integrity(key, stronger)
