"""The nonce cookie: security features that a bid-down attacker cannot strip (RFC 8489 9.2, 18.1).

A nonce with it starts with `obMatJos2` and four base64 characters of 24 feature bits. The bits are
counted from the most significant side, as section 18.1 says; the example of appendix B.1 counts
from the other.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from enum import IntFlag

COOKIE = "obMatJos2"
COOKIE_LENGTH = 13
"""Characters of the cookie with its feature bits."""


class SecurityFeature(IntFlag):
    """The 24 bits as a number; bits that are not assigned are kept."""

    PASSWORD_ALGORITHMS = 1 << 23
    USERNAME_ANONYMITY = 1 << 22


def add_cookie(features: SecurityFeature, rest: str) -> str:
    """The nonce of these features that ends with `rest`."""
    return COOKIE + b64encode(features.to_bytes(3, "big")).decode() + rest


def features_of(nonce: str) -> SecurityFeature | None:
    """The features that a nonce announces; None for a nonce without the cookie."""
    encoded = nonce[len(COOKIE) : COOKIE_LENGTH]
    if not nonce.startswith(COOKIE) or len(encoded) != COOKIE_LENGTH - len(COOKIE):
        return None
    try:
        bits = b64decode(encoded, validate=True)
    except ValueError:
        return None
    return SecurityFeature(int.from_bytes(bits, "big")) if len(bits) == 3 else None
