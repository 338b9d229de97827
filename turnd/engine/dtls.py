"""DTLS 1.2 between datagrams and messages: OpenSSL by memory, sockets left to the listener.

Rules of the house
    1.  Python's own ssl has no DTLS, pyOpenSSL has. DTLS 1.2 alone, with the suites of TLS 1.2
        here; no renegotiation, no tickets.
    2.  OpenSSL's memory knows no borders of datagrams. One is fed and all that comes of it taken
        out before the next; what leaves a handshake is cut at the headers of its records into
        datagrams that fit every path.
    3.  A client's first hello is answered with a cookie, an HMAC over the time and both addresses
        (RFC 6347 section 4.2.1). Nothing is kept of a hello that does not bring it back.
    4.  A hello may come in several datagrams, of which the first has the cookie; nothing is kept of
        the others until it has been seen.
    5.  An open session is not negotiated anew: whoever begins to is at its end.
"""

from __future__ import annotations

import errno
import hmac
from os import urandom
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from turnd.engine.base import ALPN, TLS12_CIPHERS
from turnd.stun.dtls_records import MTU, cut_at_records
from turnd.stun.server_names import fitting_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from OpenSSL.SSL import _NoOverlappingProtocols

    from turnd.engine.base import TlsIdentity

COOKIE_TIME = 30.0
"""Seconds: a cookie is good for as long at least, and for twice as long at most."""

_VERSION = 0xFEFD
_COOKIE_SIZE = 20
_CHUNK = 65_536
_RECORD = 16_384
_OVERHEAD = 512
"""More than header, nonce and tag of a record: what waits beside goes along."""


class Cookies:
    """Makes them and knows them again, until the process ends."""

    def __init__(self) -> None:
        self._key = urandom(32)
        self.now = 0.0
        """The time at which the next hello is looked at: OpenSSL passes none to callbacks."""

    def of(self, connection: SSL.Connection, ago: int = 0) -> bytes:
        """For the addresses that the connection is told to be of, so many `COOKIE_TIME`s ago."""
        tick = int(self.now / COOKIE_TIME) - ago
        text = f"{tick} {connection.get_app_data()}".encode()
        return hmac.digest(self._key, text, "sha256")[:_COOKIE_SIZE]

    def is_good(self, connection: SSL.Connection, cookie_untrusted: bytes) -> bool:
        """Whether it was made for these addresses lately."""
        return any(
            hmac.compare_digest(self.of(connection, ago), cookie_untrusted) for ago in (0, 1)
        )


class Contexts:
    """What hellos are answered with: an OpenSSL context an identity, chosen by SNI.

    Raises:
        OSError: an identity cannot be served.
    """

    def __init__(self, identities: Sequence[TlsIdentity], cookies: Cookies) -> None:
        self.cookies = cookies
        self._served = [(identity.names, self._context(identity)) for identity in identities]

    def connection(self) -> SSL.Connection:
        """A server's end that knows nothing yet."""
        connection = SSL.Connection(self._served[0][1], None)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(MTU)
        return connection

    def _context(self, identity: TlsIdentity) -> SSL.Context:
        context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        context.set_min_proto_version(_VERSION)
        context.set_max_proto_version(_VERSION)
        context.set_cipher_list(TLS12_CIPHERS.encode())
        context.set_options(
            SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION
        )
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        try:
            leaf, *others = x509.load_pem_x509_certificates(identity.certificate)
            context.use_certificate(leaf)
            for each in others:
                context.add_extra_chain_cert(each)
            context.use_privatekey(load_pem_private_key(identity.key, None))  # type: ignore[arg-type]
        except (SSL.Error, ValueError, TypeError) as error:
            names = ", ".join(identity.names)
            raise OSError(f"no DTLS with the certificate for {names} ({error})") from error
        context.set_tlsext_servername_callback(self._choose)
        context.set_alpn_select_callback(_choose_protocol)
        context.set_cookie_generate_callback(self.cookies.of)
        context.set_cookie_verify_callback(self.cookies.is_good)
        return context

    def _choose(self, connection: SSL.Connection) -> None:
        name = _canonical(connection.get_servername() or b"")
        for wanted in fitting_names(name):
            for names, context in self._served:
                if wanted in names:
                    connection.set_context(context)
                    return


def _choose_protocol(
    _: SSL.Connection, offered_untrusted: list[bytes]
) -> bytes | _NoOverlappingProtocols:
    """Ours where it is offered; who offers others is served all the same, as by TLS."""
    for protocol in ALPN:
        if protocol.encode() in offered_untrusted:
            return protocol.encode()
    return SSL.NO_OVERLAPPING_PROTOCOLS


class Door:
    """Asks hellos for the cookie; one OpenSSL object serves all until a client passes."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._connection = contexts.connection()

    def knock(self, hello_untrusted: bytes, who: object, now: float) -> DtlsSession | bytes | None:
        """What a hello of `who` (the two addresses) gets.

        Returns:
            The question for the cookie (HelloVerifyRequest); for one who has brought it a session;
            None for what is no hello.
        """
        connection = self._connection
        self._contexts.cookies.now = now
        connection.set_app_data(who)
        connection.bio_write(hello_untrusted)
        try:
            connection.DTLSv1_listen()
        except SSL.WantReadError:
            return _outgoing(connection) or None
        except SSL.Error:
            # What it says about it, if anything, is not for those who may not be there.
            self._connection = self._contexts.connection()
            return None
        self._connection = self._contexts.connection()
        return DtlsSession(connection)


class DtlsSession:
    """The server's side of one session, its cookie exchange done."""

    __slots__ = ("_connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    @property
    def server_name(self) -> str | None:
        """Whom the client asked for, as `LegOpened` tells it."""
        name = self._connection.get_servername()
        return None if name is None else _canonical(name)

    def feed(self, datagram_untrusted: bytes) -> None:
        """Take a datagram; `handshake` or `read` is to follow."""
        self._connection.bio_write(datagram_untrusted)

    def outgoing(self) -> list[bytes]:
        """Datagrams to be sent by now."""
        return cut_at_records(_outgoing(self._connection))

    def handshake(self) -> bool:
        """Go on with the handshake. Returns whether it is complete.

        Raises:
            SSL.Error: it failed; `outgoing` may hold an alert for the client.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def repeat(self) -> None:
        """Put the last flight into `outgoing` again, when it is time to (section 4.2.4).

        Raises:
            SSL.Error: it was repeated often enough.
        """
        if self._connection.DTLSv1_get_timeout() == 0:
            self._connection.DTLSv1_handle_timeout()

    def read_one(self) -> bytes | None:
        """The message of a datagram that is one record; None: it is not this session's.

        As `read`, at half the price: OpenSSL is not asked for what cannot be there.

        Raises:
            SSL.Error: the session has failed.
        """
        try:
            return self._connection.recv(_RECORD)
        except SSL.WantReadError:
            return None

    def read(self) -> tuple[list[bytes], bool]:
        """The messages of the datagram, and whether the client has ended the session after them.

        It does so by closing it, and by negotiating anew.

        Raises:
            SSL.Error: the session has failed.
        """
        messages: list[bytes] = []
        while True:
            try:
                messages.append(self._connection.recv(_RECORD))
            except SSL.WantReadError:
                # Else OpenSSL would keep parts of handshake messages, up to a megabyte.
                return messages, not self.handshake()
            except SSL.ZeroReturnError:
                return messages, True

    def write(self, message: bytes) -> bytes:
        """One message as one datagram.

        Raises:
            OSError: it is too long for a record (EMSGSIZE).
        """
        try:
            self._connection.send(message)
        except (SSL.Error, ValueError) as error:
            raise OSError(errno.EMSGSIZE, "no record is as long") from error
        return self._connection.bio_read(len(message) + _OVERHEAD)

    def close(self) -> None:
        """Say that nothing more comes."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return  # after an error there is no farewell


def _canonical(server_name_untrusted: bytes) -> str:
    return server_name_untrusted.decode("ascii", "replace").lower().removesuffix(".")


def _outgoing(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(_CHUNK)
    except SSL.WantReadError:
        return b""
