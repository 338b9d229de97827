"""Access tokens: what an authorization server has sealed for this one (RFC 7635 section 6.2).

    token:  nonce length (16 bits), nonce, sealed part
    sealed: key length (16 bits), MAC key, time stamp (48 bits of UNIX seconds, 16 of 1/64000 s),
            lifetime (32 bits, seconds)

The sealed part is opened by AES-GCM with a key that both servers share; this server's name is the
associated data, so that a token is good at one server only. All that can be wrong is one
`DecodeError`: whoever guesses learns nothing from it.

A MAC key of 20 bytes is for MESSAGE-INTEGRITY, one of 32 for MESSAGE-INTEGRITY-SHA256, and it is
used as it is (RFC 7635 section 5). coturn, its clients alike, uses the first 16 bytes of 20 alone:
as many as the MD5 of a password has. Whoever signs so is answered so.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field, replace
from enum import StrEnum
from struct import Struct
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnd.stun.errors import DecodeError
from turnd.stun.integrity import Integrity, IntegrityAlgorithm

DELTA = 5.0
"""Seconds that the clocks of both servers may be apart (RFC 7635 section 7)."""

_UINT16 = Struct("!H")
_STAMPED = Struct("!QI")
_NONCE_SIZE = 12  # of AES-GCM, no more and no less (RFC 5116 section 5.1)
_TAG_SIZE = 16
_FRACTIONS = 64_000
_OF_COTURN = 16
_INTEGRITY_BY_KEY_SIZE = {each.size: each for each in IntegrityAlgorithm}
"""A MAC key is as long as the HMAC that it is for (RFC 7635 section 6.2)."""
_SIZES = frozenset(
    2 + _NONCE_SIZE + 2 + size + _STAMPED.size + _TAG_SIZE for size in _INTEGRITY_BY_KEY_SIZE
)


class TokenAlgorithm(StrEnum):
    """How tokens are sealed, by the names that coturn gave them."""

    key_size: int
    """Bytes."""

    A128GCM = "A128GCM"
    A256GCM = "A256GCM"

    def __init__(self, value: str) -> None:
        self.key_size = 16 if value == "A128GCM" else 32


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that tokens are opened with."""

    algorithm: TokenAlgorithm
    value: bytes = field(repr=False)
    """As many bytes as the algorithm takes."""
    not_after: float | None = None
    """UNIX seconds after which it opens nothing; None: it has no end."""

    @classmethod
    def of(cls, key: str, algorithm: str, timestamp: int = 0, lifetime: int = 0) -> Self:
        """A key as it is configured, or lies in Redis.

        Args:
            key: in base64. Of a longer one the first bytes count, as coturn does.
            algorithm: `A128GCM` or `A256GCM`.
            timestamp: UNIX seconds from which the lifetime counts.
            lifetime: seconds; 0: no end.

        Raises:
            ValueError: no such algorithm, no base64, or too short; the text holds nothing of it.
        """
        try:
            chosen = TokenAlgorithm(algorithm)
        except ValueError:
            raise ValueError(f"the algorithm is {' or '.join(TokenAlgorithm)}") from None
        try:
            value = b64decode(key, validate=True)
        except ValueError:
            raise ValueError("the key is no base64") from None
        if len(value) < chosen.key_size:
            raise ValueError(f"{chosen} takes a key of {chosen.key_size} bytes, in base64")
        not_after = timestamp + lifetime if lifetime else None
        return cls(chosen, value[: chosen.key_size], not_after)

    def expired(self, wall_now: float) -> bool:
        """Whether the key's own lifetime is over at `wall_now`, UNIX seconds."""
        return self.not_after is not None and self.not_after + DELTA <= wall_now


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a token says, and the token."""

    value: bytes = field(repr=False)
    """Of ACCESS-TOKEN."""
    integrity: Integrity = field(repr=False)
    """The MAC key, used as it is, and the HMAC that it is long enough for."""
    timestamp: float
    """UNIX seconds."""
    lifetime: int
    """Seconds."""

    def readings(self) -> tuple[Self, ...]:
        """The token as the RFC reads it, then as coturn does."""
        key, algorithm = self.integrity
        if algorithm is not IntegrityAlgorithm.SHA1:
            return (self,)
        return self, replace(self, integrity=Integrity(key[:_OF_COTURN], algorithm))

    def remaining(self, wall_now: float) -> float:
        """Seconds that an allocation may be granted with it, below 0: none (RFC 7635 section 9).

        What clocks may be apart makes it good for longer, but for no more than its lifetime.
        """
        return min(self.lifetime, self.lifetime + DELTA - abs(wall_now - self.timestamp))

    def expired(self, wall_now: float) -> bool:
        """Whether less is left of it than the shortest lifetime that can be granted, a second.

        A time stamp in the future counts as one in the past (RFC 7635 section 7).
        """
        return self.remaining(wall_now) < 1


def open_token_untrusted(token_untrusted: bytes, key: TokenKey, server_name: str) -> AccessToken:
    """What the authorization server has sealed; its time is not looked at.

    Raises:
        DecodeError: it was not sealed with this key for this server, or holds something else.
    """
    if len(token_untrusted) not in _SIZES:
        raise DecodeError("no token is so long")
    (nonce_size,) = _UINT16.unpack_from(token_untrusted)
    if nonce_size != _NONCE_SIZE:
        raise DecodeError("a token's nonce has 12 bytes")
    sealed_at = _UINT16.size + nonce_size
    nonce, sealed = token_untrusted[_UINT16.size : sealed_at], token_untrusted[sealed_at:]
    try:
        plain = AESGCM(key.value).decrypt(nonce, sealed, server_name.encode())
    except InvalidTag:
        raise DecodeError("not sealed with this key for this server") from None
    (key_size,) = _UINT16.unpack_from(plain)
    algorithm = _INTEGRITY_BY_KEY_SIZE.get(key_size)
    if algorithm is None or len(plain) != _UINT16.size + key_size + _STAMPED.size:
        raise DecodeError("a token with a MAC key of another length")
    mac_key = plain[_UINT16.size : _UINT16.size + key_size]
    stamp, lifetime = _STAMPED.unpack_from(plain, _UINT16.size + key_size)
    timestamp = (stamp >> 16) + (stamp & 0xFFFF) / _FRACTIONS
    return AccessToken(token_untrusted, Integrity(mac_key, algorithm), timestamp, lifetime)
