"""ClientHellos: as OpenSSL sends them, and built by hand."""

from __future__ import annotations

import ssl


def openssl_hello(server_name: str | None, *protocols: str) -> bytes:
    """The first flight of Python's own TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake with nobody")


def vector(length_bytes: int, data: bytes) -> bytes:
    return len(data).to_bytes(length_bytes, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """The SNI extension."""
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def alpn(*names: bytes) -> bytes:
    """The ALPN extension."""
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def message(extensions: bytes | None) -> bytes:
    """The handshake message."""
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    if extensions is not None:
        body += vector(2, extensions)
    return b"\x01" + vector(3, body)


def records(data: bytes, size: int = 16_384) -> bytes:
    """A message in records of so many bytes."""
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"\x16\x03\x01" + vector(2, part) for part in parts)


def hello(*extensions: bytes) -> bytes:
    """A ClientHello in one record."""
    return records(message(b"".join(extensions)))
