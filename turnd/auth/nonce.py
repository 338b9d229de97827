"""Stateless nonces (RFC 8489 section 9.2 and 18.1).

A nonce is the cookie with its feature bits, the moment it was made, what the challenge offered, and
an HMAC over all that and the client's address and port: nothing is remembered about who was
challenged. The HMAC's key is replaced every so often; the one before it stays valid, so that no
nonce dies before its lifetime. Whatever is wrong with a nonce, the verdict is the same: stale, 438.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, NamedTuple

from turnd.auth.credentials import ALGORITHMS, Offers
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.nonce_cookie import COOKIE_LENGTH, add_cookie

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.stun.addresses import ClientAddress

_TIME_LENGTH = 6
_HEAD_LENGTH = _TIME_LENGTH + 1
_MAC_LENGTH = 16
_REST_LENGTH = 31  # base64 of 7 + 16 bytes without padding
_KEY_LENGTH = 32
_ANONYMITY = 0x80
_BITS = {PasswordAlgorithm.MD5: 0x01, PasswordAlgorithm.SHA256: 0x02}


class NonceVerdict(NamedTuple):
    """Whether a nonce is good now, and what the challenge that carried it offered."""

    valid: bool
    offers: Offers | None
    """None where the nonce is not ours; known for one that is ours but has expired."""


_NOT_OURS = NonceVerdict(valid=False, offers=None)


class Nonces:
    """Mints and checks the nonces of one server.

    Args:
        lifetime: seconds that a nonce is good for.
        random_bytes: `n -> n` unpredictable bytes.
        rotate_every: seconds that one key mints; default: an hour or the lifetime if longer.

    Raises:
        ValueError: the lifetime is not positive, or a key would go while its nonces live.
    """

    def __init__(
        self,
        lifetime: float,
        random_bytes: Callable[[int], bytes],
        rotate_every: float | None = None,
    ) -> None:
        period = max(lifetime, 3600.0) if rotate_every is None else rotate_every
        if lifetime <= 0:
            raise ValueError("a nonce's lifetime must be more than 0 s")
        if period < lifetime:
            raise ValueError("a nonce's key must live as long as a nonce")
        self.lifetime = lifetime
        self._period = period
        self._random_bytes = random_bytes
        # The clock starts at a random point: a nonce must not tell how long the host is up.
        self._origin = int.from_bytes(random_bytes(5)) & 0x7F_FFFF_FFFF
        self._epoch: int | None = None
        self._keys: dict[int, bytes] = {}

    def mint(self, client: ClientAddress, offers: Offers, now: float) -> str:
        """A nonce for this client's address and port, good from `now` on; 44 characters."""
        self._rotate(now)
        head = int(now * 1000 + self._origin).to_bytes(_TIME_LENGTH) + bytes([_flags(offers)])
        mac = _mac(self._keys[self._epoch_of(now)], head, client)
        rest = urlsafe_b64encode(head + mac).rstrip(b"=").decode()
        return add_cookie(offers.features, rest)

    def check(self, nonce: str, client: ClientAddress, now: float) -> NonceVerdict:
        """Judges what a client sent as NONCE; any text is judged, none raises."""
        self._rotate(now)
        rest = _decode_rest(nonce)
        if rest is None:
            return _NOT_OURS
        head, mac = rest[:_HEAD_LENGTH], rest[_HEAD_LENGTH:]
        minted = (int.from_bytes(head[:_TIME_LENGTH]) - self._origin) / 1000
        key = self._keys.get(self._epoch_of(minted))
        if key is None or not hmac.compare_digest(mac, _mac(key, head, client)):
            return _NOT_OURS
        offers = _offers(head[_TIME_LENGTH])
        cookie = add_cookie(offers.features, "")
        if not hmac.compare_digest(nonce[:COOKIE_LENGTH].encode(), cookie.encode()):
            return _NOT_OURS
        return NonceVerdict(valid=now < minted + self.lifetime, offers=offers)

    def _epoch_of(self, when: float) -> int:
        return int(when // self._period)

    def _rotate(self, now: float) -> None:
        epoch = self._epoch_of(now)
        if epoch == self._epoch:
            return
        self._epoch = epoch
        kept = {number: key for number, key in self._keys.items() if number == epoch - 1}
        kept[epoch] = self._random_bytes(_KEY_LENGTH)
        self._keys = kept


def _mac(key: bytes, head: bytes, client: ClientAddress) -> bytes:
    message = head + client.port.to_bytes(2) + client.host.encode()
    return hmac.digest(key, message, "sha256")[:_MAC_LENGTH]


def _decode_rest(nonce: str) -> bytes | None:
    rest = nonce[COOKIE_LENGTH:]
    if len(rest) != _REST_LENGTH or not rest.isascii():
        return None
    try:
        decoded = urlsafe_b64decode(rest + "=")
    except Base64Error:
        return None
    return decoded if len(decoded) == _HEAD_LENGTH + _MAC_LENGTH else None


def _flags(offers: Offers) -> int:
    flags = _ANONYMITY if offers.username_anonymity else 0
    for algorithm in offers.algorithms:
        flags |= _BITS[algorithm]
    return flags


def _offers(flags: int) -> Offers:
    algorithms = tuple(one for one in ALGORITHMS if flags & _BITS[one])
    return Offers(algorithms, username_anonymity=bool(flags & _ANONYMITY))
