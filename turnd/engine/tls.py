"""One TLS session between bytes and bytes: OpenSSL by memory, sockets left to the stream.

Memory rather than a wrapped socket, since bytes that were read from the socket before the
handshake belong to it as well, and since a record that the socket does not take at once is then
only bytes that wait, never a call to be repeated with the same arguments.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = ssl.SSLObject | ssl.SSLSocket
    SniCallback = Callable[[Connection, str | None, ssl.SSLContext], int | None]

_CHUNK = 65_536

_asked_names: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()


class _NameKeeper:
    """A context's SNI callback that notes the name, then does what was there before it."""

    def __init__(self, chooser: SniCallback | None) -> None:
        self._chooser = chooser

    def __call__(
        self, connection: Connection, name: str | None, context: ssl.SSLContext
    ) -> int | None:
        if name is not None:
            _asked_names[connection] = name
        return None if self._chooser is None else self._chooser(connection, name, context)


def keep_names(context: ssl.SSLContext) -> None:
    """Make sessions of this context know the name that was asked for; more than once is fine."""
    chooser = cast("SniCallback | None", context.sni_callback)  # typeshed: never for a socket
    if not isinstance(chooser, _NameKeeper):
        context.sni_callback = _NameKeeper(chooser)


class TlsSession:
    """The server's side of one session. What goes out collects in `outgoing`."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def feed(self, data_untrusted: bytes) -> None:
        """Take bytes from the socket."""
        self._incoming.write(data_untrusted)

    def outgoing(self) -> bytes:
        """What is to be sent by now."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Go on with the handshake. Returns whether it is complete.

        Raises:
            ssl.SSLError: it failed; `outgoing` may hold an alert for the client.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> tuple[bytes, bool]:
        """All that can be decrypted now, and whether the client has closed the session after it.

        Raises:
            ssl.SSLError: a record is wrong.
        """
        chunks: list[bytes] = []
        while True:
            try:
                chunk = self._object.read(_CHUNK)
            except ssl.SSLWantReadError:
                return b"".join(chunks), False
            if not chunk:
                return b"".join(chunks), True
            chunks.append(chunk)

    def write(self, data: bytes) -> None:
        """Encrypt.

        Raises:
            ssl.SSLError: the session has failed before.
        """
        self._object.write(data)

    def close(self) -> None:
        """Say that nothing more comes."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # The client's own farewell is not waited for, and after an error there is none.
            return

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for by SNI."""
        return _asked_names.get(self._object)

    @property
    def alpn(self) -> str | None:
        """The protocol agreed on."""
        return self._object.selected_alpn_protocol()

    @property
    def version(self) -> str | None:
        """The protocol's version, such as `TLSv1.3`."""
        return self._object.version()
