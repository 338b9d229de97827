"""Access tokens as an authorization server makes them (RFC 7635 section 6.2)."""

from __future__ import annotations

from base64 import b64encode
from struct import pack

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SERVER_NAME = "turn.test"
MAC_KEY = b"a key of twenty byte"
KEY = b"0123456789abcdef0123456789abcdef"
KEY_TEXT = b64encode(KEY).decode()


def seal(
    timestamp: float,
    lifetime: int = 3600,
    mac_key: bytes = MAC_KEY,
    *,
    key: bytes = KEY,
    server_name: str = SERVER_NAME,
    nonce: bytes = b"twelve bytes",
) -> bytes:
    """A token; `timestamp`: UNIX seconds."""
    stamp = (int(timestamp) << 16) + int(timestamp % 1 * 64_000)
    return seal_plain(
        pack("!H", len(mac_key)) + mac_key + pack("!QI", stamp, lifetime),
        key=key,
        server_name=server_name,
        nonce=nonce,
    )


def seal_plain(
    plain: bytes,
    *,
    key: bytes = KEY,
    server_name: str = SERVER_NAME,
    nonce: bytes = b"twelve bytes",
) -> bytes:
    """A token that holds anything."""
    sealed = AESGCM(key).encrypt(nonce, plain, server_name.encode())
    return pack("!H", len(nonce)) + nonce + sealed
