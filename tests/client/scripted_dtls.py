"""A server that answers as a test scripts it, over DTLS on loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from tests.client.scripted import Script, Scripted
from turnd.client.uri import Server, Transport
from turnd.engine.base import TlsIdentity
from turnd.engine.dtls import Contexts, Cookies, Door, DtlsSession
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.e2e.certificates import CertificatePair


def nothing(_datagram: bytes) -> bool:
    """A network that loses nothing."""
    return False


@asynccontextmanager
async def scripted_dtls(
    script: Script, pair: CertificatePair, loses: Callable[[bytes], bool] = nothing
) -> AsyncIterator[Scripted]:
    """Run it; `loses`: which datagrams the network loses, of either direction."""
    running = Scripted(Server("127.0.0.1", 0, Transport.DTLS), script)
    identity = TlsIdentity((), pair.certificate.read_bytes(), pair.key.read_bytes())
    sessions = _Sessions(running, Contexts([identity], Cookies()), loses)
    endpoint, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: sessions, local_addr=("127.0.0.1", 0)
    )
    port = endpoint.get_extra_info("sockname")[1]
    running.server = Server("127.0.0.1", port, Transport.DTLS)
    running.send_to = lambda to, data: endpoint.sendto(data, to)
    running.close_streams = sessions.close
    try:
        yield running
    finally:
        endpoint.close()


class _Sessions(asyncio.DatagramProtocol):
    def __init__(
        self, running: Scripted, contexts: Contexts, loses: Callable[[bytes], bool]
    ) -> None:
        self._running = running
        self._door = Door(contexts)
        self._loses = loses
        self._open: dict[Any, DtlsSession] = {}
        self._shaking: set[Any] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._loses(data):
            return
        session = self._open.get(addr)
        if session is None:
            knocked = self._door.knock(data, addr, 0.0)
            if isinstance(knocked, bytes):
                self._send(knocked, addr)
            if not isinstance(knocked, DtlsSession):
                return
            self._open[addr] = session = knocked
            self._shaking.add(addr)
        else:
            session.feed(data)
        self._go_on(session, addr)

    def _go_on(self, session: DtlsSession, addr: Any) -> None:
        try:
            if addr in self._shaking and session.handshake():
                self._shaking.remove(addr)
            messages, ended = session.read() if addr not in self._shaking else ([], False)
        except SSL.Error:
            messages, ended = [], True
        self._send_flight(session, addr)
        for message in messages:
            client = TransportAddress(*addr[:2])
            self._running.take(message, client, lambda m: self._send(session.write(m), addr))
        if ended:
            del self._open[addr]
            self._shaking.discard(addr)

    def close(self) -> None:
        """Say goodbye to everybody."""
        for addr, session in self._open.items():
            session.close()
            self._send_flight(session, addr)

    def _send_flight(self, session: DtlsSession, addr: Any) -> None:
        for datagram in session.outgoing():
            self._send(datagram, addr)

    def _send(self, datagram: bytes, addr: Any) -> None:
        assert self._transport is not None
        if not self._loses(datagram):
            self._transport.sendto(datagram, addr)
