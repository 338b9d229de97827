"""What a TLS client says before the handshake: which host it wants, and what it will speak.

Read without answering, so that the connection can still be given to somebody else. The bytes are
anybody's: bounded, read once, and whatever is not a ClientHello is a `DecodeError`.

Records RFC 8446 section 5.1, ClientHello section 4.1.2, SNI RFC 6066 section 3, ALPN RFC 7301
section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

from turnd.listeners.incomplete import Incomplete
from turnd.stun.errors import DecodeError

HANDSHAKE = 0x16
"""The type of a record with handshake messages: the first byte of every TLS client."""

LARGEST = 16_384
"""Bytes of records that are read at most. Browsers send 2 KiB; 4 KiB with a session's ticket."""

MOST_RECORDS = 64
"""Records that a ClientHello may be split into. Every one may be another look at all of them."""

_RECORD_HEADER = 5
_MESSAGE_HEADER = 4
_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN = 0, 16
_HOST_NAME = 0
_LONGEST_HOST_NAME = 255


class ClientHello(NamedTuple):
    """What is asked for; both may be left out."""

    server_name: str | None
    """As it was sent; to be compared without case."""
    protocols: tuple[bytes, ...]
    """ALPN, the client's favourite first."""


def read_client_hello(data_untrusted: bytes) -> ClientHello | Incomplete:
    """Read the ClientHello that a connection begins with.

    Raises:
        DecodeError: it begins with something else, or with too much of it.
    """
    message = _message(data_untrusted)
    return message if isinstance(message, Incomplete) else _hello(_Reader(message))


def _message(data_untrusted: bytes) -> bytes | Incomplete:
    """The body of the first handshake message, put together from its records."""
    found, at = bytearray(), 0
    for _ in range(MOST_RECORDS):
        body = _bounded(at + _RECORD_HEADER)
        if len(data_untrusted) < body:
            return Incomplete(body)
        kind, major = data_untrusted[at], data_untrusted[at + 1]
        length = int.from_bytes(data_untrusted[at + 3 : body], "big")
        if kind != HANDSHAKE or major != 3 or not length:
            raise DecodeError("no record of a TLS handshake")
        at = _bounded(body + length)
        if len(data_untrusted) < at:
            return Incomplete(at)
        found += data_untrusted[body:at]
        if found[0] != _CLIENT_HELLO:
            raise DecodeError("no ClientHello")
        if len(found) >= _MESSAGE_HEADER:
            end = _MESSAGE_HEADER + _bounded(int.from_bytes(found[1:_MESSAGE_HEADER], "big"))
            if len(found) >= end:
                return bytes(found[_MESSAGE_HEADER:end])
    raise DecodeError("a ClientHello in too many records")


def _bounded(length: int) -> int:
    if length > LARGEST:
        raise DecodeError("a ClientHello that is too long")
    return length


class _Reader:
    """Takes fields off the front of bytes."""

    def __init__(self, data_untrusted: bytes) -> None:
        self._data = data_untrusted
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        """The next bytes."""
        end = self._at + length
        if end > len(self._data):
            raise DecodeError("a field is longer than what it stands in")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, length: int) -> int:
        """The next bytes as a number."""
        return int.from_bytes(self.take(length), "big")

    def vector(self, length_bytes: int) -> bytes:
        """A variable-length vector (RFC 8446 section 3.4)."""
        return self.take(self.number(length_bytes))


def _hello(hello: _Reader) -> ClientHello:
    hello.take(2 + 32)  # legacy_version, random
    hello.vector(1)  # legacy_session_id
    hello.vector(2)  # cipher_suites
    hello.vector(1)  # legacy_compression_methods
    # A client of TLS 1.2 may leave the extensions out (RFC 5246 section 7.4.1.2).
    extensions = _extensions(_Reader(hello.vector(2))) if hello else {}
    if hello:
        raise DecodeError("bytes behind the ClientHello's extensions")
    name, protocols = extensions.get(_SERVER_NAME), extensions.get(_ALPN)
    return ClientHello(
        None if name is None else _server_name(_Reader(name)),
        () if protocols is None else _protocols(_Reader(protocols)),
    )


def _extensions(block: _Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while block:
        kind, value = block.number(2), block.vector(2)
        # Two of a kind are forbidden (RFC 8446 section 4.2), and whoever comes after us might take
        # the other one.
        if kind in found:
            raise DecodeError("an extension stands there twice")
        found[kind] = value
    return found


def _server_name(extension: _Reader) -> str:
    names = _Reader(extension.vector(2))
    found: list[bytes] = []
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            found.append(name)
    if extension or len(found) != 1 or not 0 < len(found[0]) <= _LONGEST_HOST_NAME:
        raise DecodeError("one host name is wanted")
    if not found[0].isascii():
        raise DecodeError("a host name is ASCII")
    return found[0].decode("ascii")


def _protocols(extension: _Reader) -> tuple[bytes, ...]:
    names = _Reader(extension.vector(2))
    found: list[bytes] = []
    while names:
        found.append(names.vector(1))
    if extension or not found or not all(found):
        raise DecodeError("names of protocols are wanted")
    return tuple(found)
