"""Surroundings with real sockets on loopback for the contract's tests, whatever the engine."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import tempfile
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.certificates import Authority
from tests.engine.worlds import (
    LOOPBACK,
    SETTINGS,
    Clock,
    Party,
    PeerConnection,
    StreamClient,
    World,
)
from tests.ports import closed_port
from tests.waiting import LIMIT, eventually
from turnd.engine.ancillary import ANCILLARY_SPACE, ask_for_fields
from turnd.engine.base import Leg, LegOpened, ListenerSettings, TlsIdentity, TlsSettings, Transport
from turnd.engine.fields import Fields
from turnd.engine.portable import PortableEngine
from turnd.engine.tls import remember_server_name
from turnd.stun.addresses import ClientAddress, PeerAddress, ServerAddress, TransportAddress
from turnd.stun.framing import StreamFramer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turnd.engine.base import ListenerId, RelayEngine

_IPV4, _IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6


@lru_cache(maxsize=1)
def tls_sides() -> tuple[TlsSettings, ssl.SSLContext]:
    """A server's and a client's, made once a test run."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        pair = authority.issue("server")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pair.certificate, pair.key)
        server.set_alpn_protocols(["stun.turn"])
        remember_server_name(server, lambda _: None)
        client = ssl.create_default_context(cafile=authority.file)
        client.set_alpn_protocols(["stun.turn"])
        files = [Path(each).read_bytes() for each in (pair.certificate, pair.key)]
    return TlsSettings(server, (TlsIdentity(("localhost",), *files),)), client


class SocketParty(Party):
    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        ask_for_fields(self.sock)
        self.sock.bind((host, 0))
        self.address = TransportAddress(*self.sock.getsockname()[:2])

    def mark(self, fields: Fields) -> None:
        if ":" in self.address.host:
            level, hops, traffic_class = _IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS
        else:
            level, hops, traffic_class = _IPV4, socket.IP_TTL, socket.IP_TOS
        self.sock.setsockopt(level, hops, fields.hops or -1)
        self.sock.setsockopt(level, traffic_class, fields.traffic_class)

    def send(self, data: bytes, to: TransportAddress) -> None:
        self.sock.sendto(data, to)

    def try_receive(self) -> tuple[bytes, TransportAddress] | None:
        try:
            data, told, _, source = self.sock.recvmsg(65_536, ANCILLARY_SPACE)
        except BlockingIOError:
            return None
        hops, traffic_class = (int.from_bytes(value, sys.byteorder) for _, _, value in told)
        self.fields = Fields(hops, traffic_class)
        return data, TransportAddress(*source[:2])

    async def receive(self) -> tuple[bytes, TransportAddress]:
        received: tuple[bytes, TransportAddress] = await eventually(self.try_receive, LIMIT)
        return received

    def has_nothing(self) -> bool:
        return self.try_receive() is None


class SocketStreamClient(StreamClient):
    def __init__(
        self, leg: Leg, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.leg = leg
        self.reader = reader
        self.writer = writer
        self._framer = StreamFramer()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            while (frame := self._framer.next_frame()) is None:
                data = await self.reader.read(65_536)
                assert data, "the connection has ended"
                self._framer.feed(data)
        return frame

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(LIMIT):
            return self._framer.rest()[:size] or await self.reader.readexactly(size)

    def end(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    async def ended(self) -> bool:
        async with asyncio.timeout(LIMIT):
            try:
                return await self.reader.read() is not None
            except (ConnectionError, ssl.SSLError):
                return True


class SocketPeerConnection(PeerConnection):
    def __init__(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as server:
            ours = socket.create_connection(server.getsockname())
            self.sock, _ = server.accept()
        self.address = TransportAddress(*ours.getpeername())
        self.descriptor = ours.detach()
        self.sock.setblocking(False)
        self._read = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    async def read(self, size: int) -> bytes:
        while len(self._read) < size:
            data = await eventually(self._receive, LIMIT)
            assert data != _END, "the connection has ended"
            self._read += data
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def _receive(self) -> bytes | None:
        try:
            return self.sock.recv(1 << 20) or _END
        except BlockingIOError:
            return None
        except ConnectionError:
            return _END

    def end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def ended(self) -> bool:
        received: bytes = await eventually(self._receive, LIMIT)
        return received == _END


_END = b"the end"


class SocketWorld(World):
    """Sockets on loopback."""

    def __init__(self, engine: RelayEngine, clock: Clock) -> None:
        super().__init__(clock)
        self.engine = engine
        self.system = Fields(int(Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()))
        self.engine.start(self.wake)
        self.listener = self.engine.listen(TransportAddress(LOOPBACK, 0), SETTINGS)
        self._parties: list[SocketParty | SocketPeerConnection] = []
        self._streams: list[socket.socket | asyncio.StreamWriter] = []

    @abstractmethod
    def another(self) -> SocketWorld:
        """One more of its kind, in the event loop that runs now."""

    def free_port(self, host: str) -> int:
        with socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        ) as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
        return port

    def client(self, host: str = LOOPBACK) -> SocketParty:
        return self.peer(host)

    def peer(self, host: str = LOOPBACK) -> SocketParty:
        party = SocketParty(host)
        self._parties.append(party)
        return party

    def peer_connection(self) -> SocketPeerConnection:
        peer = SocketPeerConnection()
        self._parties.append(peer)
        return peer

    def protect_peer(self, peer: PeerConnection) -> None:
        assert isinstance(peer, SocketPeerConnection)
        self.engine.protect([peer.address], {})

    def refuse(self, peer: Party) -> PeerAddress:
        # Broadcasting without SO_BROADCAST is EACCES, as with a firewall that rejects.
        return PeerAddress(TransportAddress("255.255.255.255", peer.address.port))

    @contextmanager
    def nowhere(self, host: str = LOOPBACK) -> Iterator[PeerAddress]:
        with closed_port(socket.SOCK_DGRAM, host) as port:
            yield PeerAddress(TransportAddress(host, port))

    def adopt(
        self,
        transport: Transport,
        settings: ListenerSettings = SETTINGS,
        first_bytes: bytes = b"",
    ) -> tuple[Leg, socket.socket]:
        """A leg, and the client's end of its connection."""
        if transport is Transport.TLS and settings.tls is None:
            settings = replace(settings, tls=tls_sides()[0])
        return self._connect_to(self.engine.stream_listener(settings), transport, first_bytes)

    def adopt_by(self, listener: ListenerId, first_bytes: bytes = b"") -> Leg:
        return self._connect_to(listener, Transport.TCP, first_bytes)[0]

    def _connect_to(
        self, listener: ListenerId, transport: Transport, first_bytes: bytes
    ) -> tuple[Leg, socket.socket]:
        with socket.create_server((LOOPBACK, 0)) as server:
            theirs = socket.socket(proto=socket.IPPROTO_TCP)
            theirs.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self.traffic_class)
            theirs.connect(server.getsockname())
            ours, address = server.accept()
            client = ClientAddress(TransportAddress(*address))
            local = ServerAddress(TransportAddress(*server.getsockname()))
        leg = self.engine.adopt(ours.detach(), listener, transport, client, local, first_bytes)
        theirs.setblocking(False)
        self._streams.append(theirs)
        return leg, theirs

    async def connect(
        self, transport: Transport, settings: ListenerSettings = SETTINGS, first_bytes: bytes = b""
    ) -> SocketStreamClient:
        leg, theirs = self.adopt(transport, settings, first_bytes)
        tls: dict[str, Any] = {}
        if transport is Transport.TLS:
            tls = {"ssl": tls_sides()[1], "server_hostname": "LocalHost"}
        reader, writer = await asyncio.open_connection(sock=theirs, **tls)
        self._streams[-1] = writer
        opened = (await self.until(self.engine.poll))[0]
        assert isinstance(opened, LegOpened)
        client = SocketStreamClient(leg, reader, writer)
        client.server_name = opened.server_name
        return client

    async def handshake(self, settings: ListenerSettings = SETTINGS) -> SocketStreamClient:
        leg, theirs = self.adopt(Transport.TLS, settings)
        reader, writer = await asyncio.open_connection(sock=theirs)
        self._streams[-1] = writer
        return SocketStreamClient(leg, reader, writer)

    async def close(self) -> None:
        self.engine.stop()
        for party in self._parties:
            party.sock.close()
        for stream in self._streams:
            stream.close()
            if isinstance(stream, asyncio.StreamWriter):
                try:
                    await stream.wait_closed()
                except (ConnectionError, ssl.SSLError):
                    continue


class PortableWorld(SocketWorld):
    """With the portable engine."""

    engine: PortableEngine

    def __init__(self) -> None:
        clock = Clock()
        super().__init__(PortableEngine(clock), clock)

    def another(self) -> PortableWorld:
        return PortableWorld()
