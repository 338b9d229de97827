"""A client by DTLS on a UDP socket of loopback, its handshake step by step or at once."""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from tests.engine.socket_worlds import SocketParty
    from turnd.stun.addresses import TransportAddress

CHUNK = 65_536
DTLS12 = 0xFEFD
HANDSHAKE = 22
CLIENT_HELLO, HELLO_VERIFY_REQUEST, CLIENT_KEY_EXCHANGE = 1, 3, 16
AES_GCM = "ECDHE-ECDSA-AES128-GCM-SHA256"
"""The cipher by which `sealed` seals."""


def plain(kind: int, body: bytes, number: int, epoch: int = 0) -> bytes:
    """A record that nobody has encrypted."""
    return struct.pack("!BHHHIH", kind, DTLS12, epoch, 0, number, len(body)) + body


def fragment(kind: int, length: int, number: int, part: bytes) -> bytes:
    """The beginning of a handshake message of some length."""
    begin = bytes([kind]) + length.to_bytes(3, "big") + number.to_bytes(2, "big")
    return begin + bytes(3) + len(part).to_bytes(3, "big") + part


def a_hello() -> bytes:
    """The first that a client says."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return connection.bio_read(CHUNK)
    raise AssertionError("nobody has answered")


class DtlsClient:
    """Sends from a party to a server."""

    def __init__(
        self,
        party: SocketParty,
        server: TransportAddress,
        *,
        server_name: str | None = None,
        ciphers: str = "DEFAULT@SECLEVEL=0",
        protocols: list[bytes] | None = None,
        version: int = DTLS12,
    ) -> None:
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_cipher_list(ciphers.encode())
        context.set_options(SSL.OP_NO_QUERY_MTU)
        if protocols:
            context.set_alpn_protos(protocols)
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(1200)
        if server_name is not None:
            self.connection.set_tlsext_host_name(server_name.encode())
        self.party = party
        self.server = server
        self.loses: Callable[[bytes], bool] = lambda _: False
        """Which datagrams the network loses, of either direction."""
        self.seen: list[bytes] = []
        """Datagrams of the server, the lost ones included."""

    def flight(self) -> bytes:
        """What the handshake says next."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            pass
        return self._outgoing()

    def _outgoing(self) -> bytes:
        try:
            return self.connection.bio_read(CHUNK)
        except SSL.WantReadError:
            return b""

    def push(self, datagram: bytes) -> None:
        """Send as it is, unless it gets lost."""
        if datagram and not self.loses(datagram):
            self.party.send(datagram, self.server)

    async def pull(self) -> bytes:
        """The next datagram of the server, fed to the client."""
        datagram, _ = await self.party.receive()
        self.seen.append(datagram)
        if not self.loses(datagram):
            self.connection.bio_write(datagram)
        return datagram

    async def bring_cookie(self) -> None:
        """Begin the handshake as far as the server's first flight is on its way."""
        self.push(self.flight())
        question = await self.pull()
        assert question[13] == HELLO_VERIFY_REQUEST
        self.push(self.flight())

    async def handshake(self) -> DtlsClient:
        """All of it. Raises SSL.Error when it fails."""
        self.push(self.flight())
        await eventually(self._is_done)
        return self

    def _is_done(self) -> bool:
        done = False
        while (datagram := self._arrived()) is not None:
            self.seen.append(datagram)
            if not self.loses(datagram):
                self.connection.bio_write(datagram)
                done = self._step() or done
        if self.connection.DTLSv1_get_timeout() == 0:
            self.connection.DTLSv1_handle_timeout()
            self.push(self._outgoing())
        return done

    def _step(self) -> bool:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        finally:
            self.push(self._outgoing())
        return True

    def _arrived(self) -> bytes | None:
        received = self.party.try_receive()
        return None if received is None else received[0]

    def record(self, message: bytes) -> bytes:
        """A message as it leaves."""
        self.connection.send(message)
        return self._outgoing()

    def sealed(self, kind: int, body: bytes, number: int) -> bytes:
        """A record of any kind as only this client can make it (RFC 5246 section 6.3, RFC 5288)."""
        secret, server, client = (
            each() or b""
            for each in (
                self.connection.master_key,
                self.connection.server_random,
                self.connection.client_random,
            )
        )
        keys = _prf(secret, b"key expansion" + server + client)
        key, salt = keys[:16], keys[32:36]
        nonce = struct.pack("!HHI", 1, 0, number)
        over = nonce + struct.pack("!BHH", kind, DTLS12, len(body))
        return plain(kind, nonce + AESGCM(key).encrypt(salt + nonce, body, over), number, 1)

    def send(self, message: bytes) -> None:
        self.push(self.record(message))

    async def receive(self) -> bytes:
        """The next message of the server; one datagram has one."""

        def message() -> bytes | None:
            datagram = self._arrived()
            if datagram is None:
                return None
            self.connection.bio_write(datagram)
            try:
                return self.connection.recv(CHUNK)
            except SSL.WantReadError:
                return None

        received: bytes = await eventually(message)
        return received

    async def ended(self) -> bool:
        """Whether the server has said goodbye."""
        try:
            await self.receive()
        except SSL.ZeroReturnError:
            return True
        return False

    def close(self) -> None:
        """Say goodbye."""
        self.connection.shutdown()
        self.push(self._outgoing())

    def certificate(self) -> x509.Certificate:
        """The server's."""
        found = self.connection.get_peer_certificate(as_cryptography=True)
        assert found is not None
        return found


def _prf(secret: bytes, seed: bytes) -> bytes:
    """64 bytes of TLS 1.2's pseudorandom function (RFC 5246 section 5)."""
    one = hmac.digest(secret, seed, "sha256")
    other = hmac.digest(secret, one, "sha256")
    return b"".join(hmac.digest(secret, each + seed, "sha256") for each in (one, other))
