"""HMAC (RFC 2104), for texts as short as STUN messages.

`hmac.digest` looks its algorithms up in OpenSSL each time, which takes longer than the hashing of
such a text. This is the RFC's definition over `hashlib`, in half the time; a test holds it equal to
`hmac.digest`. Nothing is kept of a key, so that no key is quicker than another.
"""

from __future__ import annotations

from hashlib import sha1, sha256

_BLOCK = 64  # bytes, of SHA-1 and SHA-256 alike
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_HASHES = {"sha1": sha1, "sha256": sha256}


def keyed_hash(key: bytes, text: bytes | bytearray, hash_name: str) -> bytes:
    """The HMAC of a text.

    Args:
        key: of any length.
        text: what it covers.
        hash_name: `sha1` (20 bytes come out) or `sha256` (32).

    Raises:
        KeyError: another hash.
    """
    digest = _HASHES[hash_name]
    if len(key) > _BLOCK:
        key = digest(key).digest()
    padded = key.ljust(_BLOCK, b"\0")
    inner = digest(padded.translate(_INNER) + text).digest()
    return digest(padded.translate(_OUTER) + inner).digest()
