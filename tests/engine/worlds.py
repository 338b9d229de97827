"""The surroundings of an engine under the contract's tests: clients, peers, a clock.

`FakeWorld` is in memory, `PortableWorld` has real sockets on loopback; the tests see one interface.
What a test waits for is always an effect that can be seen, with a limit.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.certificates import Authority
from tests.waiting import eventually
from turnd.engine.base import (
    Drop,
    Leg,
    LegOpened,
    ListenerSettings,
    RelayError,
    TlsIdentity,
    TlsSettings,
    Transport,
)
from turnd.engine.fake import FakeEngine
from turnd.engine.portable import PortableEngine
from turnd.stun.addresses import (
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
    family_of,
)
from turnd.stun.framing import StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.engine.base import Event, ListenerId, RelayCounters, RelayEngine, RelayId

LOOPBACK = "127.0.0.1"
LIMIT = 5.0
SETTINGS = ListenerSettings(receive_buffer=1 << 20, send_buffer=0)
CHANNEL = ChannelNumber(0x4000)


class Clock:
    """Seconds that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Party(ABC):
    """Someone at the other end of a socket: a UDP client or a peer."""

    address: TransportAddress

    @abstractmethod
    def send(self, data: bytes, to: TransportAddress) -> None: ...

    @abstractmethod
    async def receive(self) -> tuple[bytes, TransportAddress]: ...

    @abstractmethod
    def has_nothing(self) -> bool:
        """Whether nothing has arrived by now."""


class StreamClient(ABC):
    """A client's end of a stream."""

    leg: Leg

    @abstractmethod
    def send(self, data: bytes) -> None: ...

    @abstractmethod
    async def receive(self) -> bytes:
        """The next frame; padding has been checked and taken off."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    async def ended(self) -> bool:
        """Whether the engine closed the connection; what comes before its end is read."""


class World(ABC):
    """An engine with a UDP listener, and the network around it."""

    engine: RelayEngine
    listener: ListenerId

    def __init__(self) -> None:
        self.clock = Clock()
        self.woken = 0
        self.seen: list[Event] = []

    def wake(self) -> None:
        self.woken += 1

    @abstractmethod
    def client(self, host: str = LOOPBACK) -> Party: ...

    @abstractmethod
    def peer(self, host: str = LOOPBACK) -> Party: ...

    @abstractmethod
    async def connect(
        self, transport: Transport, settings: ListenerSettings = SETTINGS, first_bytes: bytes = b""
    ) -> StreamClient: ...

    @abstractmethod
    async def handshake(self, settings: ListenerSettings = SETTINGS) -> StreamClient:
        """A TLS stream whose handshake has not begun."""

    @abstractmethod
    def adopt_by(self, listener: ListenerId) -> Leg:
        """One more TCP connection under a listener that may be closed."""

    @abstractmethod
    def free_port(self, host: str) -> int: ...

    @abstractmethod
    def refuse(self, peer: Party) -> PeerAddress:
        """An address that sending to fails with an error other than a full queue."""

    @abstractmethod
    async def close(self) -> None: ...

    async def until(self, condition: Callable[[], Any]) -> Any:
        return await eventually(condition, LIMIT)

    def leg(self, client: Party) -> Leg:
        local = ServerAddress(self.engine.endpoint(self.listener))
        return Leg(self.listener, Transport.UDP, local, ClientAddress(client.address))

    def open_relay(
        self, leg: Leg | None, host: str = LOOPBACK, lasts: float = 600
    ) -> tuple[RelayId, TransportAddress]:
        while True:
            bound = TransportAddress(host, self.free_port(host))
            relay = self.engine.open_relay(leg, bound, self.clock.now + lasts)
            if not isinstance(relay, RelayError):
                return relay, bound
            assert relay is RelayError.PORT_TAKEN

    def permit(self, relay: RelayId, peer: Party, lasts: float = 300) -> None:
        self.engine.permit(relay, peer.address.host, self.clock.now + lasts)

    def bind(self, relay: RelayId, peer: Party, number: int = CHANNEL, lasts: float = 600) -> None:
        deadline = self.clock.now + lasts
        self.engine.bind_channel(relay, ChannelNumber(number), PeerAddress(peer.address), deadline)

    async def events(self, number: int) -> list[Event]:
        """The next events, no more and no fewer."""
        new: list[Event] = []

        def enough() -> bool:
            new.extend(self.engine.poll())
            return len(new) >= number

        await self.until(enough)
        assert len(new) == number
        return new

    def relayed(self, relay: RelayId) -> RelayCounters:
        """What an open relay has relayed."""
        report = self.engine.relay_counters(relay)
        assert report is not None
        return report.counters

    def drops(self) -> dict[Drop, int]:
        """What was dropped, without the reasons that did not occur."""
        return {reason: n for reason, n in self.engine.counters().drops.items() if n}

    async def dropped(self, **expected: int) -> None:
        """Wait until so much was dropped since the start, and nothing else."""
        wanted = {Drop(reason): n for reason, n in expected.items()}
        await self.until(lambda: sum(self.drops().values()) >= sum(wanted.values()))
        assert self.drops() == wanted


# ------------------------------------------------------------------------------------ in memory


class FakeParty(Party):
    def __init__(self, world: FakeWorld, address: TransportAddress, is_client: bool) -> None:
        self.address = address
        self._world = world
        self._is_client = is_client

    def send(self, data: bytes, to: TransportAddress) -> None:
        self._world.deliver(self, data, to, self._is_client)

    async def receive(self) -> tuple[bytes, TransportAddress]:
        self._world.distribute()
        return self._world.arrived[self.address].pop(0)

    def has_nothing(self) -> bool:
        self._world.distribute()
        return not self._world.arrived.get(self.address)


class FakeStreamClient(StreamClient):
    def __init__(self, engine: FakeEngine, leg: Leg) -> None:
        self._engine = engine
        self.leg = leg

    def send(self, data: bytes) -> None:
        self._engine.stream_bytes(self.leg, data)

    async def receive(self) -> bytes:
        for sent in self._engine.sent_to_client:
            if sent.leg == self.leg:
                self._engine.sent_to_client.remove(sent)
                return sent.data
        raise AssertionError("nothing was sent on the stream")

    def close(self) -> None:
        self._engine.stream_ended(self.leg)

    async def ended(self) -> bool:
        return not self._engine.is_open(self.leg)


class FakeWorld(World):
    """All in memory; what is sent has arrived at once."""

    def __init__(self) -> None:
        super().__init__()
        self.engine: FakeEngine = FakeEngine(self.clock)
        self.engine.hosts = {LOOPBACK, "127.0.0.2", "::1"}
        self.engine.start(self.wake)
        self.listener = self.engine.listen(TransportAddress(LOOPBACK, 3478), SETTINGS)
        self.arrived: dict[TransportAddress, list[tuple[bytes, TransportAddress]]] = {}
        self._next_port = 30_000

    def free_port(self, host: str) -> int:
        assert family_of(host)
        self._next_port += 1
        return self._next_port

    def client(self, host: str = LOOPBACK) -> Party:
        return FakeParty(self, TransportAddress(host, self.free_port(host)), is_client=True)

    def peer(self, host: str = LOOPBACK) -> Party:
        return FakeParty(self, TransportAddress(host, self.free_port(host)), is_client=False)

    def deliver(self, sender: Party, data: bytes, to: TransportAddress, is_client: bool) -> None:
        if is_client:
            self.engine.datagram_from_client(self.leg(sender), data)
        else:
            self.engine.datagram_from_peer(self.engine.relay_at(to), sender.address, data)
        self.distribute()

    def distribute(self) -> None:
        for to_client in self.engine.sent_to_client:
            if not to_client.leg.transport.is_stream:
                arrived = self.arrived.setdefault(to_client.leg.client, [])
                arrived.append((to_client.data, to_client.leg.local))
        for to_peer in self.engine.sent_to_peer:
            arrived = self.arrived.setdefault(to_peer.target, [])
            arrived.append((to_peer.data, self.engine.bound_of(to_peer.relay)))
        self.engine.sent_to_peer.clear()
        self.engine.sent_to_client = [
            sent for sent in self.engine.sent_to_client if sent.leg.transport.is_stream
        ]

    def refuse(self, peer: Party) -> PeerAddress:
        self.engine.refused[peer.address] = 113
        return PeerAddress(peer.address)

    async def connect(
        self, transport: Transport, settings: ListenerSettings = SETTINGS, first_bytes: bytes = b""
    ) -> StreamClient:
        client = await self._adopt(transport, settings, first_bytes)
        if transport is Transport.TLS:
            self.engine.handshake_done(client.leg)
        opened = self.engine.poll()[0]
        assert isinstance(opened, LegOpened)
        return client

    async def handshake(self, settings: ListenerSettings = SETTINGS) -> StreamClient:
        return await self._adopt(Transport.TLS, settings, b"")

    async def _adopt(
        self, transport: Transport, settings: ListenerSettings, first_bytes: bytes
    ) -> FakeStreamClient:
        listener = self.engine.stream_listener(settings)
        leg = self._adopt_by(listener, transport, first_bytes)
        return FakeStreamClient(self.engine, leg)

    def adopt_by(self, listener: ListenerId) -> Leg:
        return self._adopt_by(listener, Transport.TCP, b"")

    def _adopt_by(self, listener: ListenerId, transport: Transport, first_bytes: bytes) -> Leg:
        client = ClientAddress(TransportAddress(LOOPBACK, self.free_port(LOOPBACK)))
        local = ServerAddress(TransportAddress(LOOPBACK, 5349))
        return self.engine.adopt(-1, listener, transport, client, local, first_bytes)

    async def until(self, condition: Callable[[], Any]) -> Any:
        self.distribute()
        value = condition()
        assert value, "in memory all is done at once"
        return value

    async def close(self) -> None:
        self.engine.stop()


# --------------------------------------------------------------------------------- real sockets


@lru_cache(maxsize=1)
def tls_sides() -> tuple[TlsSettings, ssl.SSLContext]:
    """A server's and a client's, made once a test run."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        pair = authority.issue("server")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pair.certificate, pair.key)
        server.set_alpn_protocols(["stun.turn"])
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
        self.sock.bind((host, 0))
        self.address = TransportAddress(*self.sock.getsockname()[:2])

    def send(self, data: bytes, to: TransportAddress) -> None:
        self.sock.sendto(data, to)

    def _try(self) -> tuple[bytes, TransportAddress] | None:
        try:
            data, source = self.sock.recvfrom(65_536)
        except BlockingIOError:
            return None
        return data, TransportAddress(*source[:2])

    async def receive(self) -> tuple[bytes, TransportAddress]:
        received: tuple[bytes, TransportAddress] = await eventually(self._try, LIMIT)
        return received

    def has_nothing(self) -> bool:
        return self._try() is None


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

    def close(self) -> None:
        self.writer.close()

    async def ended(self) -> bool:
        async with asyncio.timeout(LIMIT):
            try:
                return await self.reader.read() is not None
            except (ConnectionError, ssl.SSLError):
                return True


class PortableWorld(World):
    """Sockets on loopback."""

    def __init__(self) -> None:
        super().__init__()
        self.engine: PortableEngine = PortableEngine(self.clock)
        self.engine.start(self.wake)
        self.listener = self.engine.listen(TransportAddress(LOOPBACK, 0), SETTINGS)
        self._parties: list[SocketParty] = []
        self._streams: list[socket.socket | asyncio.StreamWriter] = []

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

    def refuse(self, peer: Party) -> PeerAddress:
        # Broadcasting without SO_BROADCAST is EACCES, as with a firewall that rejects.
        return PeerAddress(TransportAddress("255.255.255.255", peer.address.port))

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

    def adopt_by(self, listener: ListenerId) -> Leg:
        return self._connect_to(listener, Transport.TCP, b"")[0]

    def _connect_to(
        self, listener: ListenerId, transport: Transport, first_bytes: bytes
    ) -> tuple[Leg, socket.socket]:
        with socket.create_server((LOOPBACK, 0)) as server:
            theirs = socket.create_connection(server.getsockname())
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
            tls = {"ssl": tls_sides()[1], "server_hostname": "localhost"}
        reader, writer = await asyncio.open_connection(sock=theirs, **tls)
        self._streams[-1] = writer
        opened = (await self.until(self.engine.poll))[0]
        assert isinstance(opened, LegOpened)
        return SocketStreamClient(leg, reader, writer)

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
