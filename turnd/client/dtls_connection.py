"""Frames over DTLS 1.2 (RFC 7350), each a record and a datagram, by pyOpenSSL: ssl has no DTLS.

OpenSSL works in memory here, which knows no borders of datagrams: one is fed and all that comes of
it taken out before the next. What gets lost of a handshake is sent again when OpenSSL's timer says
so (RFC 6347 section 4.2.4), for as long as whoever connects has patience; who answers with a
question for the cookie (section 4.2.1) is answered by OpenSSL alone.
"""

from __future__ import annotations

import asyncio
import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING

from OpenSSL import SSL, crypto

from turnd.client.certificate import is_for
from turnd.client.errors import UnreachableError, UntrustedError
from turnd.client.tls import ALPN, TlsDetails, Trust, is_address
from turnd.stun.dtls_records import FIRST_BYTES, MTU, cut_at_records

if TYPE_CHECKING:
    from turnd.client.udp_connection import UdpConnection
    from turnd.client.uri import Server
    from turnd.stun.addresses import TransportAddress

_VERSION = 0xFEFD
_CHUNK = 65_536
_RECORD = 16_384
"""Bytes of the longest message (RFC 6347 section 4.1)."""
_WHY = {
    code: re.sub(r"\bcert\b", "certificate", name.removeprefix("ERR_").lower().replace("_", " "))
    for name, code in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}
"""pyOpenSSL has no more than its constants' names for what is wrong with a certificate."""


def client_dtls(trust: Trust) -> SSL.Context:
    """A context for connections by DTLS.

    Raises:
        OSError: the authorities cannot be read; with the file's name.
    """
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(_VERSION)
    context.set_max_proto_version(_VERSION)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_alpn_protos([ALPN.encode()])
    if trust.verify:
        context.set_verify(SSL.VERIFY_PEER, _note)
        _load(context, trust.authorities)
    return context


def _load(context: SSL.Context, authorities: str | None) -> None:
    if authorities is None:
        context.set_default_verify_paths()
        return
    with Path(authorities).open("rb"):
        pass  # a file that is not there is "BIO lib" to OpenSSL
    try:
        context.load_verify_locations(authorities)
    except SSL.Error as error:
        raise OSError(errno.EINVAL, _words(error), authorities) from error


def _note(session: SSL.Connection, _certificate: object, code: int, _depth: int, ok: int) -> bool:
    if not ok:
        session.set_app_data(_WHY.get(code, f"error {code}"))
    return bool(ok)


async def connect_dtls(
    udp: UdpConnection, context: SSL.Context, server: Server, name: str
) -> DtlsConnection:
    """Shake hands.

    Args:
        udp: leads to the server.
        context: see `client_dtls`.
        server: for the texts of errors.
        name: asked for, and looked for in the certificate; as `name_of` has it.

    Raises:
        UntrustedError: the certificate is not to be trusted, or somebody else's.
        UnreachableError: the server refuses.
    """
    session = SSL.Connection(context, None)
    session.set_connect_state()
    session.set_ciphertext_mtu(MTU)
    if not is_address(name):
        session.set_tlsext_host_name(name.encode())
    try:
        await _shake_hands(session, udp)
    except SSL.Error as error:
        why = session.get_app_data()
        if why is not None:
            raise UntrustedError(f"the certificate of {server}: {why}") from error
        raise UnreachableError(f"{server}: {_words(error)}") from error
    connection = DtlsConnection(udp, session)
    verifies = context.get_verify_mode() != SSL.VERIFY_NONE
    if verifies and not is_for(connection.tls.certificate, name):
        await connection.close()
        raise UntrustedError(f"the certificate of {server}: it is not for '{name}'")
    return connection


async def _shake_hands(session: SSL.Connection, udp: UdpConnection) -> None:
    while not await _flight(session, udp):
        if udp.refusals:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        try:
            async with asyncio.timeout(session.DTLSv1_get_timeout()):
                datagram_untrusted = await udp.receive()
        except TimeoutError:
            session.DTLSv1_handle_timeout()
        else:
            _feed(session, datagram_untrusted)


async def _flight(session: SSL.Connection, udp: UdpConnection) -> bool:
    """Send what is to be sent now, an alert too. Returns whether the handshake is complete."""
    try:
        session.do_handshake()
    except SSL.WantReadError:
        return False
    finally:
        await _send(session, udp)
    return True


async def _send(session: SSL.Connection, udp: UdpConnection) -> None:
    try:
        records = session.bio_read(_CHUNK)
    except SSL.WantReadError:
        return
    for datagram in cut_at_records(records):
        await udp.send(datagram)


def _feed(session: SSL.Connection, datagram_untrusted: bytes) -> None:
    """Nothing but records: another protocol may answer from the same port (RFC 7983)."""
    if datagram_untrusted and datagram_untrusted[0] in FIRST_BYTES:
        session.bio_write(datagram_untrusted)


class DtlsConnection:
    """Frames over DTLS, its handshake done."""

    reliable = False

    def __init__(self, udp: UdpConnection, session: SSL.Connection) -> None:
        self._udp = udp
        self._session = session
        self.tls = _details(session)

    @property
    def refusals(self) -> int:
        """Hard ICMP errors so far."""
        return self._udp.refusals

    @property
    def local(self) -> TransportAddress:
        """Our side's transport address."""
        return self._udp.local

    @property
    def remote(self) -> TransportAddress:
        """The server's transport address."""
        return self._udp.remote

    async def send(self, data: bytes) -> None:
        """Send a frame."""
        try:
            self._session.send(data)
        except SSL.Error as error:
            raise UnreachableError(f"the session cannot send: {_words(error)}") from error
        await _send(self._session, self._udp)

    async def receive(self) -> bytes:
        """The next frame."""
        while True:
            try:
                return self._session.recv(_RECORD)
            except SSL.WantReadError:
                _feed(self._session, await self._udp.receive())
            except SSL.ZeroReturnError:
                raise UnreachableError("the server closed the session") from None
            except SSL.Error as error:
                raise UnreachableError(f"the session broke: {_words(error)}") from error

    def channel_data(self, number: int, data: bytes) -> bytes:
        """A ChannelData message, not padded."""
        return self._udp.channel_data(number, data)

    async def close(self) -> None:
        """Say that nothing more comes, and close the socket."""
        try:
            self._session.shutdown()
            await _send(self._session, self._udp)
        except (SSL.Error, UnreachableError):
            pass  # after an error, or a second time, there is no farewell
        finally:
            await self._udp.close()


def _details(session: SSL.Connection) -> TlsDetails:
    certificate = session.get_peer_certificate()
    der = b"" if certificate is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
    return TlsDetails(
        version=session.get_protocol_version_name(),
        cipher=session.get_cipher_name() or "",
        certificate=der,
        alpn=session.get_alpn_proto_negotiated().decode("ascii", "replace") or None,
    )


def _words(error: SSL.Error) -> str:
    """OpenSSL's own phrase, the last of several."""
    reasons = error.args[0] if error.args else None
    return reasons[-1][2].lower() if isinstance(reasons, list) and reasons else str(error)
