"""The client's half of the long-term credential mechanism (RFC 8489 section 9.2), without I/O.

The rules
    1.  The first request is bare. A 401 or 438 brings realm and nonce; from then on requests are
        signed (9.2.3).
    2.  A nonce whose cookie promises PASSWORD-ALGORITHMS without that attribute, or a challenge
        without it after one that had it, is a bid-down: nothing is sent again (9.2.5).
    3.  With PASSWORD-ALGORITHMS: the first algorithm that we know, the list sent back, and
        MESSAGE-INTEGRITY-SHA256. Without: MD5 and MESSAGE-INTEGRITY, as RFC 5389 has it.
    4.  A 401 to a signed request is repeated only when another realm or another form of the name
        is asked for; a 438 always.
    5.  Every other answer to a signed request must verify. An unsigned 400 was never received.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.client.errors import BidDownError, ClientError
from turnd.stun import attributes as a
from turnd.stun.errors import ErrorCode
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash
from turnd.stun.message import Integrity, IntegrityAlgorithm, Message, MessageClass
from turnd.stun.nonce_cookie import SecurityFeature, features_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnd.stun.attributes import Attribute


class Verdict(Enum):
    """What is to be done with a response."""

    ACCEPT = auto()
    """It is the answer, be it a success or an error."""
    RETRY = auto()
    """It was a challenge: send the request again, signed anew, as a new transaction."""
    DISCARD = auto()
    """As if it had never been received."""
    VIOLATED = auto()
    """Its integrity does not hold: discard it, and over a stream end the transaction."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What a request carries and is signed with."""

    attributes: tuple[tuple[Attribute[Any], Any], ...]
    integrity: Integrity


class _Challenge(NamedTuple):
    """What the newest 401 or 438 asked for. `offered` is None for a server of RFC 5389."""

    realm: str
    nonce: str
    offered: Sequence[a.PasswordAlgorithmEntry] | None
    chosen: a.PasswordAlgorithmEntry | None
    anonymous: bool


class LongTermCredentials:
    """A user's name and password, and what the server has said about them so far.

    Args:
        username: as the server knows it; for TURN REST the expiry included.
        password: plain.
        rfc5389: behave as a client that has never heard of RFC 8489: MD5, SHA-1, USERNAME.
    """

    def __init__(self, username: str, password: str, *, rfc5389: bool = False) -> None:
        self._username = username
        self._password = password
        self._rfc5389 = rfc5389
        self._challenge: _Challenge | None = None
        self._keys: dict[tuple[str, PasswordAlgorithm], bytes] = {}

    @property
    def algorithm(self) -> PasswordAlgorithm | None:
        """How the password is hashed for this server; None before its first challenge."""
        if self._challenge is None:
            return None
        chosen = self._challenge.chosen
        return PasswordAlgorithm.MD5 if chosen is None else PasswordAlgorithm(chosen.algorithm)

    @property
    def realm(self) -> str | None:
        """The server's realm; None before its first challenge."""
        return None if self._challenge is None else self._challenge.realm

    def signing(self) -> Signing | None:
        """What the next request needs; None before the first challenge."""
        challenge, algorithm = self._challenge, self.algorithm
        if challenge is None or algorithm is None:
            return None
        name: tuple[Attribute[Any], Any] = (a.USERNAME, self._username)
        if challenge.anonymous:
            name = (a.USERHASH, userhash(self._username, challenge.realm))
        attributes = [name, (a.REALM, challenge.realm), (a.NONCE, challenge.nonce)]
        signs_with = IntegrityAlgorithm.SHA1
        if challenge.chosen is not None:
            attributes.append((a.PASSWORD_ALGORITHMS, challenge.offered))
            attributes.append((a.PASSWORD_ALGORITHM, challenge.chosen))
            signs_with = IntegrityAlgorithm.SHA256
        return Signing(
            tuple(attributes), Integrity(self._key(challenge.realm, algorithm), signs_with)
        )

    def judge(self, response: Message, signing: Signing | None) -> Verdict:
        """What to do with a response to a request that was sent with `signing`.

        Raises:
            BidDownError: rule 2.
            ClientError: the server offers no password algorithm that we know.
            DecodeError: an attribute that must be read is malformed.
        """
        code = error_code(response)
        if code in _CHALLENGES:
            return self._challenged(response, code, signing)
        if not self._rfc5389 and _breaks_its_promise(response):
            return Verdict.DISCARD
        if signing is None:
            return Verdict.ACCEPT
        if code == ErrorCode.BAD_REQUEST and not is_signed(response):
            return Verdict.DISCARD
        key, algorithm = signing.integrity
        return Verdict.ACCEPT if response.verify_integrity(key, algorithm) else Verdict.VIOLATED

    def _challenged(self, response: Message, code: int, signing: Signing | None) -> Verdict:
        realm, nonce = response.get(a.REALM), response.get(a.NONCE)
        if realm is None or nonce is None:
            return Verdict.ACCEPT
        if self._rfc5389:
            challenge = _Challenge(realm, nonce, None, None, anonymous=False)
        else:
            challenge = self._read(response, realm, nonce)
        before, self._challenge = self._challenge, challenge
        if code == ErrorCode.STALE_NONCE or signing is None or before is None:
            return Verdict.RETRY
        same = before.realm == realm and before.anonymous == challenge.anonymous
        return Verdict.ACCEPT if same else Verdict.RETRY

    def _read(self, response: Message, realm: str, nonce: str) -> _Challenge:
        features = features_of(nonce) or SecurityFeature(0)
        offered = response.get(a.PASSWORD_ALGORITHMS)
        chosen = None
        if offered is None:
            if _breaks_its_promise(response):
                raise BidDownError("the nonce promises password algorithms, the answer lists none")
            if self._challenge is not None and self._challenge.offered is not None:
                raise BidDownError("the server no longer lists the password algorithms it had")
        else:
            chosen = next((entry for entry in offered if entry.algorithm in _SUPPORTED), None)
            if chosen is None:
                raise ClientError("the server offers no password algorithm that this client knows")
        anonymous = SecurityFeature.USERNAME_ANONYMITY in features
        return _Challenge(realm, nonce, offered, chosen, anonymous)

    def _key(self, realm: str, algorithm: PasswordAlgorithm) -> bytes:
        if (realm, algorithm) not in self._keys:
            self._keys.clear()
            key = long_term_key(self._username, realm, self._password, algorithm)
            self._keys[realm, algorithm] = key
        return self._keys[realm, algorithm]


_CHALLENGES = (ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE)
_SUPPORTED = frozenset(PasswordAlgorithm)


def error_code(response: Message) -> int | None:
    """The error code of an error response, 0 where it has none; None for a success.

    Raises:
        DecodeError: a malformed ERROR-CODE.
    """
    if response.message_class != MessageClass.ERROR:
        return None
    value = response.get(a.ERROR_CODE)
    return 0 if value is None else value.code


def is_signed(response: Message) -> bool:
    """Whether a response carries message integrity of either kind."""
    return response.has_integrity or response.has_integrity_sha256


def _breaks_its_promise(response: Message) -> bool:
    nonce = response.get(a.NONCE)
    features = None if nonce is None else features_of(nonce)
    return (
        features is not None
        and SecurityFeature.PASSWORD_ALGORITHMS in features
        and not response.has(a.PASSWORD_ALGORITHMS)
    )
