"""Stateless nonces (RFC 8489 sections 9.2 and 18.1).

A nonce is the cookie with its feature bits, one character of time and an HMAC over the time, what
the challenge offered, and the client's address and port: nothing is remembered about who was
challenged. The HMAC's key is replaced every two lifetimes; the one before it stays valid, so that
no nonce dies early. Whatever is wrong with a nonce, the verdict is the same: stale, 438.

Why so short: the 401 goes to whoever claims to have asked. Its size over the request's is what an
attacker gains by lying about his address, and the nonce is the part of it that we choose. A forged
nonce would gain nothing but the right to be checked: it proves neither user nor password.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from turnd.auth.credentials import ALGORITHMS, Offers
from turnd.stun.keyed_hash import keyed_hash
from turnd.stun.keys import PasswordAlgorithm
from turnd.stun.nonce_cookie import COOKIE_LENGTH, add_cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turnd.stun.addresses import ClientAddress

SHORTEST_MAC, LONGEST_MAC = 6, 16  # characters of 6 bits
_TICKS = 16
"""A lifetime in ticks: a nonce may end by so much of its lifetime early, never late."""
_EPOCH = 2 * _TICKS
_KEY_LENGTH = 32
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BITS = {PasswordAlgorithm.MD5: 0x01, PasswordAlgorithm.SHA256: 0x02}
_ANONYMITY = 0x80
# What a challenge can offer, the usual first, by the cookie that says so; and of each its cookie
# and its flags within the HMAC.
_OFFERS_BY_COOKIE: dict[str, list[Offers]] = {}
_COOKIE_AND_FLAGS: dict[Offers, tuple[str, int]] = {}
_PASSWORDS = (ALGORITHMS, *((one,) for one in reversed(ALGORITHMS)))
for _offers in (
    *(Offers(each, username_anonymity=flag) for flag in (False, True) for each in _PASSWORDS),
    Offers((), username_anonymity=False),
):
    _cookie = add_cookie(_offers.features, "")
    _flags = sum(_BITS[each] for each in _offers.algorithms)
    _OFFERS_BY_COOKIE.setdefault(_cookie, []).append(_offers)
    _COOKIE_AND_FLAGS[_offers] = _cookie, _flags | _ANONYMITY * _offers.username_anonymity


class NonceVerdict(NamedTuple):
    """Whether a nonce is good now, and what the challenge that carried it offered."""

    valid: bool
    offers: Offers | None
    """None where the nonce is not ours; known for one that is ours but has expired."""


_NOT_OURS = NonceVerdict(valid=False, offers=None)


def mac_length_for(realm: str, server_name: str | None = None, *, passwords: bool = True) -> int:
    """Characters of HMAC with which a 401 stays within twice the request at the IP level.

    The request is an Allocate with REQUESTED-TRANSPORT alone, 56 bytes with its IPv4 and UDP
    headers. Of the 112 that the answer may have, 56 are headers and ERROR-CODE without a phrase;
    REALM, NONCE, PASSWORD-ALGORITHMS (12 bytes) and THIRD-PARTY-AUTHORIZATION share the rest. Where
    not even the shortest HMAC leaves room for the last of them, it is left out of such an answer;
    beyond 16 bytes of realm the shortest HMAC is too long as well.

    Args:
        realm: what REALM says.
        server_name: what THIRD-PARTY-AUTHORIZATION says; None: there is none.
        passwords: whether there is PASSWORD-ALGORITHMS.
    """
    room = 112 - 56 - _attribute_size(realm) - 4 - COOKIE_LENGTH - 1 - 12 * passwords
    if server_name is not None and room - _attribute_size(server_name) >= SHORTEST_MAC:
        room -= _attribute_size(server_name)
    return max(SHORTEST_MAC, min(LONGEST_MAC, room))


def _attribute_size(text: str) -> int:
    return 4 + (len(text.encode()) + 3 & ~3)


def cookie_and_flags(offers: Offers) -> tuple[str, int]:
    """What nonces of such a challenge begin with, and what their HMAC covers of the offers."""
    return _COOKIE_AND_FLAGS[offers]


class Nonces:
    """Mints and checks the nonces of one server.

    Args:
        lifetime: seconds that a nonce is good for at most, and for 15/16 of them at least.
        random_bytes: `n -> n` unpredictable bytes.
        mac_length: characters of HMAC, see `mac_length_for`.

    Raises:
        ValueError: the lifetime is not positive, or the HMAC too short or too long.
    """

    def __init__(
        self,
        lifetime: float,
        random_bytes: Callable[[int], bytes],
        mac_length: int = LONGEST_MAC,
    ) -> None:
        if lifetime <= 0:
            raise ValueError("a nonce's lifetime must be more than 0 s")
        if not SHORTEST_MAC <= mac_length <= LONGEST_MAC:
            raise ValueError(f"an HMAC of {SHORTEST_MAC} to {LONGEST_MAC} characters is wanted")
        self.lifetime = lifetime
        self.tick = lifetime / _TICKS
        """Seconds."""
        self.mac_length = mac_length
        self._length = COOKIE_LENGTH + 1 + mac_length
        self._random_bytes = random_bytes
        self._epoch: int | None = None
        self._keys: dict[int, bytes] = {}

    def mint(self, client: ClientAddress, offers: Offers, now: float) -> str:
        """A nonce for this client's address and port, good from `now` on."""
        tick = int(now / self.tick)
        self._rotate(tick)
        cookie, flags = _COOKIE_AND_FLAGS[offers]
        return cookie + _ALPHABET[tick % len(_ALPHABET)] + self._mac(tick, flags, client)

    def check(self, nonce: str, client: ClientAddress, now: float) -> NonceVerdict:
        """Judges what a client sent as NONCE; any text is judged, none raises."""
        possible = _OFFERS_BY_COOKIE.get(nonce[:COOKIE_LENGTH])
        if possible is None or len(nonce) != self._length or not nonce.isascii():
            return _NOT_OURS
        this_tick = int(now / self.tick)
        self._rotate(this_tick)
        age = (this_tick - _ALPHABET.find(nonce[COOKIE_LENGTH])) % len(_ALPHABET)
        tick = this_tick - age
        if tick // _EPOCH not in self._keys:
            return _NOT_OURS
        mac = nonce[COOKIE_LENGTH + 1 :]
        for offers in possible:
            _, flags = _COOKIE_AND_FLAGS[offers]
            if compare_digest(mac, self._mac(tick, flags, client)):
                return NonceVerdict(age < _TICKS, offers)
        return _NOT_OURS

    def keys(self, now: float) -> Mapping[int, bytes]:
        """The HMAC's keys that nonces are checked with, by epoch (of 32 ticks)."""
        self._rotate(int(now / self.tick))
        return dict(self._keys)

    def _mac(self, tick: int, flags: int, client: ClientAddress) -> str:
        return _mac(self._keys[tick // _EPOCH], tick, flags, client)[: self.mac_length]

    def _rotate(self, tick: int) -> None:
        epoch = tick // _EPOCH
        if epoch == self._epoch:
            return
        self._epoch = epoch
        kept = {number: key for number, key in self._keys.items() if number == epoch - 1}
        kept[epoch] = self._random_bytes(_KEY_LENGTH)
        self._keys = kept


@lru_cache(maxsize=1024)
def _mac(key: bytes, tick: int, flags: int, client: ClientAddress) -> str:
    """The HMAC in characters.

    The last few are kept, since who was challenged comes back at once, several times. That is no
    memory of clients: nothing would be decided otherwise without it.
    """
    text = f"{tick} {flags} {client.port} {client.host}".encode()
    return urlsafe_b64encode(keyed_hash(key, text, "sha256")).decode()
