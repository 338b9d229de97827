"""The surroundings of an engine under the contract's tests: clients, peers, a clock.

`FakeWorld` is in memory, those of `socket_worlds` have real sockets on loopback; the tests see one
interface.
What a test waits for is always an effect that can be seen, with a limit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.waiting import LIMIT, eventually
from turnd.engine.base import (
    CloseReason,
    Drop,
    Leg,
    LegOpened,
    ListenerSettings,
    RelayError,
    Transport,
)
from turnd.engine.fake import FakeEngine
from turnd.engine.fields import SYSTEM, Fields
from turnd.stun.addresses import (
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
    family_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from turnd.engine.base import Event, ListenerId, RelayCounters, RelayEngine, RelayId

LOOPBACK = "127.0.0.1"
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
    fields = SYSTEM
    """IP header fields of what it received last."""

    @abstractmethod
    def mark(self, fields: Fields) -> None:
        """Send with these IP header fields from now on."""

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
    server_name: str | None = None
    """Whom the client asked for, as the engine told it."""

    @abstractmethod
    def send(self, data: bytes) -> None: ...

    @abstractmethod
    async def receive(self) -> bytes:
        """The next frame; padding has been checked and taken off."""

    @abstractmethod
    async def read(self, size: int) -> bytes:
        """So many bytes as they are."""

    @abstractmethod
    def end(self) -> None:
        """Say that nothing more comes, by TCP."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    async def ended(self) -> bool:
        """Whether the engine closed the connection; what comes before its end is read."""


class PeerConnection(ABC):
    """The peer's end of a connection that is to be spliced."""

    descriptor: int
    """Of the other end: the engine's."""

    @abstractmethod
    def send(self, data: bytes) -> None: ...

    @abstractmethod
    async def read(self, size: int) -> bytes: ...

    @abstractmethod
    def end(self) -> None:
        """Say that nothing more comes."""

    @abstractmethod
    async def ended(self) -> bool:
        """Whether the engine says so."""


class World(ABC):
    """An engine with a UDP listener, and the network around it."""

    engine: RelayEngine
    listener: ListenerId
    system = SYSTEM
    """IP header fields of what nobody has marked, on IPv4."""
    traffic_class = 0
    """Of the TCP connections that clients make."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
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
    def adopt_by(self, listener: ListenerId, first_bytes: bytes = b"") -> Leg:
        """One more TCP connection under a listener that may be closed."""

    @abstractmethod
    def peer_connection(self) -> PeerConnection:
        """A peer that is connected."""

    @abstractmethod
    def protect_peer(self, peer: PeerConnection) -> None:
        """Where the connection leads becomes a protected endpoint."""

    @abstractmethod
    def free_port(self, host: str) -> int: ...

    @abstractmethod
    def refuse(self, peer: Party) -> PeerAddress:
        """An address that sending to fails with an error other than a full queue."""

    @abstractmethod
    def nowhere(self, host: str = LOOPBACK) -> AbstractContextManager[PeerAddress]:
        """An address where nobody listens, which is told by ICMP."""

    @abstractmethod
    async def close(self) -> None: ...

    async def until(self, condition: Callable[[], Any]) -> Any:
        return await eventually(condition, LIMIT)

    def leg(self, client: Party, listener: ListenerId | None = None) -> Leg:
        listener = listener or self.listener
        local = ServerAddress(self.engine.endpoint(listener))
        return Leg(listener, Transport.UDP, local, ClientAddress(client.address))

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


class FakeParty(Party):
    def __init__(self, world: FakeWorld, address: TransportAddress, is_client: bool) -> None:
        self.address = address
        self.marked = SYSTEM
        self._world = world
        self._is_client = is_client

    def mark(self, fields: Fields) -> None:
        self.marked = fields

    def send(self, data: bytes, to: TransportAddress) -> None:
        self._world.deliver(self, data, to, self._is_client)

    async def receive(self) -> tuple[bytes, TransportAddress]:
        self._world.distribute()
        data, source, self.fields = self._world.arrived[self.address].pop(0)
        return data, source

    def has_nothing(self) -> bool:
        self._world.distribute()
        return not self._world.arrived.get(self.address)


class FakeStreamClient(StreamClient):
    def __init__(self, engine: FakeEngine, leg: Leg) -> None:
        self._engine = engine
        self._read = b""
        self.leg = leg

    def send(self, data: bytes) -> None:
        self._engine.stream_bytes(self.leg, data)

    async def receive(self) -> bytes:
        for sent in self._engine.sent_to_client:
            if sent.leg == self.leg:
                self._engine.sent_to_client.remove(sent)
                return sent.data
        raise AssertionError("nothing was sent on the stream")

    async def read(self, size: int) -> bytes:
        while len(self._read) < size:
            self._read += await self.receive()
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def end(self) -> None:
        self._engine.stream_ended(self.leg)

    def close(self) -> None:
        self._engine.stream_ended(self.leg)

    async def ended(self) -> bool:
        return not self._engine.is_open(self.leg)


class FakePeerConnection(PeerConnection):
    def __init__(self, engine: FakeEngine, descriptor: int) -> None:
        self._engine = engine
        self.descriptor = descriptor

    def send(self, data: bytes) -> None:
        self._engine.peer_bytes(self.descriptor, data)

    async def read(self, size: int) -> bytes:
        (pipe,) = (p for p in self._engine.pipes.values() if p.descriptor == self.descriptor)
        taken = bytes(pipe.to_peer[:size])
        del pipe.to_peer[:size]
        assert len(taken) == size
        return taken

    def end(self) -> None:
        self._engine.peer_ended(self.descriptor)

    async def ended(self) -> bool:
        found = [p for p in self._engine.pipes.values() if p.descriptor == self.descriptor]
        return not found or found[0].ended is CloseReason.CLIENT


class FakeWorld(World):
    """All in memory; what is sent has arrived at once."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.engine: FakeEngine = FakeEngine(self.clock)
        self.engine.hosts = {LOOPBACK, "127.0.0.2", "::1"}
        self.engine.start(self.wake)
        self.listener = self.engine.listen(TransportAddress(LOOPBACK, 3478), SETTINGS)
        self.arrived: dict[TransportAddress, list[tuple[bytes, TransportAddress, Fields]]] = {}
        self._next_port = 30_000

    def free_port(self, host: str) -> int:
        assert family_of(host)
        self._next_port += 1
        return self._next_port

    def client(self, host: str = LOOPBACK) -> Party:
        return FakeParty(self, TransportAddress(host, self.free_port(host)), is_client=True)

    def peer(self, host: str = LOOPBACK) -> Party:
        return FakeParty(self, TransportAddress(host, self.free_port(host)), is_client=False)

    def deliver(
        self, sender: FakeParty, data: bytes, to: TransportAddress, is_client: bool
    ) -> None:
        if is_client:
            leg = self.leg(sender, self.engine.listener_at(to))
            self.engine.datagram_from_client(leg, data, sender.marked)
        else:
            relay = self.engine.relay_at(to)
            self.engine.datagram_from_peer(relay, sender.address, data, sender.marked)
        self.distribute()

    def distribute(self) -> None:
        for to_client in self.engine.sent_to_client:
            if not to_client.leg.transport.is_stream:
                arrived = self.arrived.setdefault(to_client.leg.client, [])
                arrived.append((to_client.data, to_client.leg.local, to_client.fields))
        for to_peer in self.engine.sent_to_peer:
            arrived = self.arrived.setdefault(to_peer.target, [])
            source = self.engine.bound_of(to_peer.relay)
            arrived.append((to_peer.data, source, to_peer.fields))
        self.engine.sent_to_peer.clear()
        self.engine.sent_to_client = [
            sent for sent in self.engine.sent_to_client if sent.leg.transport.is_stream
        ]

    def refuse(self, peer: Party) -> PeerAddress:
        self.engine.refused[peer.address] = 113
        return PeerAddress(peer.address)

    @contextmanager
    def nowhere(self, host: str = LOOPBACK) -> Iterator[PeerAddress]:
        address = TransportAddress(host, self.free_port(host))
        self.engine.closed.add(address)
        yield PeerAddress(address)

    async def connect(
        self, transport: Transport, settings: ListenerSettings = SETTINGS, first_bytes: bytes = b""
    ) -> StreamClient:
        client = await self._adopt(transport, settings, first_bytes)
        if transport is Transport.TLS:
            self.engine.handshake_done(client.leg, "localhost")
        opened = self.engine.poll()[0]
        assert isinstance(opened, LegOpened)
        client.server_name = opened.server_name
        return client

    async def handshake(self, settings: ListenerSettings = SETTINGS) -> StreamClient:
        return await self._adopt(Transport.TLS, settings, b"")

    async def _adopt(
        self, transport: Transport, settings: ListenerSettings, first_bytes: bytes
    ) -> FakeStreamClient:
        listener = self.engine.stream_listener(settings)
        leg = self._adopt_by(listener, transport, first_bytes)
        return FakeStreamClient(self.engine, leg)

    def peer_connection(self) -> PeerConnection:
        return FakePeerConnection(self.engine, self.free_port(LOOPBACK))

    def protect_peer(self, peer: PeerConnection) -> None:
        endpoint = TransportAddress(LOOPBACK, self.free_port(LOOPBACK))
        self.engine.leads_to[peer.descriptor] = endpoint
        self.engine.protect([endpoint], {})

    def adopt_by(self, listener: ListenerId, first_bytes: bytes = b"") -> Leg:
        return self._adopt_by(listener, Transport.TCP, first_bytes)

    def _adopt_by(self, listener: ListenerId, transport: Transport, first_bytes: bytes) -> Leg:
        client = ClientAddress(TransportAddress(LOOPBACK, self.free_port(LOOPBACK)))
        local = ServerAddress(TransportAddress(LOOPBACK, 5349))
        leg = self.engine.adopt(-1, listener, transport, client, local, first_bytes)
        self.engine.mark_stream(leg, self.traffic_class)
        return leg

    async def until(self, condition: Callable[[], Any]) -> Any:
        self.distribute()
        value = condition()
        assert value, "in memory all is done at once"
        return value

    async def close(self) -> None:
        self.engine.stop()
