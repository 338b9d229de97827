"""Keys of the long-term credential mechanism (RFC 8489 9.2.2, 14.4, 18.5.1)."""

from __future__ import annotations

import hashlib
from enum import IntEnum

from precis_i18n import get_profile

_OPAQUE_STRING = get_profile("OpaqueString")


class PasswordAlgorithm(IntEnum):
    """The registered password algorithms; the wire may carry numbers that are not here."""

    MD5 = 1
    SHA256 = 2


def opaque_string(text: str) -> str:
    """A user name, realm or password as RFC 8265 section 4.2 prepares it.

    Raises:
        ValueError: empty, or a character that the profile does not allow, such as a control.
    """
    if text.isascii() and text.isprintable() and text:
        return text  # the profile maps and refuses none of these
    return str(_OPAQUE_STRING.enforce(text))


def long_term_key(username: str, realm: str, password: str, algorithm: PasswordAlgorithm) -> bytes:
    """The key that signs and verifies: 16 bytes for MD5, 32 for SHA-256.

    Args:
        username: already prepared as an OpaqueString, as USERNAME carries it.
        realm: prepared here.
        password: prepared here.
        algorithm: the hash.

    Raises:
        ValueError: the realm or the password is no OpaqueString, or the user name no text.
    """
    text = f"{username}:{opaque_string(realm)}:{opaque_string(password)}".encode()
    if algorithm is PasswordAlgorithm.MD5:
        # The protocol's choice for RFC 5389 clients, not a judgement on MD5.
        return hashlib.md5(text, usedforsecurity=False).digest()
    return hashlib.sha256(text).digest()


def userhash(username: str, realm: str) -> bytes:
    """The 32 bytes that stand for a user name in USERHASH.

    Raises:
        ValueError: the user name or the realm is no OpaqueString.
    """
    return hashlib.sha256(f"{opaque_string(username)}:{opaque_string(realm)}".encode()).digest()
