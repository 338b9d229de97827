"""One TLS session between bytes and bytes: OpenSSL by memory, sockets left to the stream.

Memory rather than a wrapped socket, since bytes that were read from the socket before the
handshake belong to it as well, and since a record that the socket does not take at once is then
only bytes that wait, never a call to be repeated with the same arguments.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 65_536


class _NamedObject(ssl.SSLObject):
    """The library tells a server's callback whom the client asks for, and forgets it then."""

    server_name: str | None = None


def remember_server_name(
    context: ssl.SSLContext, choose: Callable[[str | None], ssl.SSLContext | None]
) -> None:
    """Let sessions of a context know whom their clients ask for (`TlsSession.server_name`).

    `choose` says by which other context such a client is served; None: by this one.
    """

    def asked(
        connection: ssl.SSLObject | ssl.SSLSocket, server_name: str | None, _: ssl.SSLContext
    ) -> None:
        if isinstance(connection, _NamedObject) and server_name is not None:
            connection.server_name = server_name.lower().removesuffix(".")
        chosen = choose(server_name)
        if chosen is not None:
            connection.context = chosen

    context.sslobject_class = _NamedObject
    context.sni_callback = asked


class TlsSession:
    """The server's side of one session. What goes out collects in `outgoing`."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def server_name(self) -> str | None:
        """Whom the client asked for, once the handshake is complete, as `LegOpened` tells it.

        Known where the context remembers it (`remember_server_name`).
        """
        named = self._object
        return named.server_name if isinstance(named, _NamedObject) else None

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
