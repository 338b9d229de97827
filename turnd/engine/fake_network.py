"""The network around the engine in memory: what it does, and what it has seen.

What arrives goes through the same forwarding as in every engine in Python; what leaves is kept in
lists, or arrives where another relay is bound.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Leg,
    LegClosed,
    LegOpened,
    ListenerId,
    ListenerSettings,
    RelayCounters,
    RelayId,
    Transport,
)
from turnd.engine.fields import SYSTEM, Fields, of_stream, sent_on
from turnd.engine.forwarding import Forwarder, FromClient, or_classic
from turnd.engine.frames import FrameReader
from turnd.engine.handup import HandUp
from turnd.engine.rules import Client, Relay, Rules
from turnd.engine.sockaddr import SockAddr, raw_address, shown_address
from turnd.stun.addresses import ClientAddress, ServerAddress
from turnd.stun.attributes import IcmpValue
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turnd.engine.base import BucketId
    from turnd.stun.addresses import TransportAddress


class SentToClient(NamedTuple):
    """What reached a client, without padding."""

    leg: Leg
    data: bytes
    fields: Fields = SYSTEM


class SentToPeer(NamedTuple):
    """What left a relayed transport address."""

    relay: RelayId
    target: TransportAddress
    data: bytes
    dont_fragment: bool
    fields: Fields = SYSTEM


class FakeRelay(Relay):
    """A relay whose socket is the network itself."""

    __slots__ = ("network", "waiting")

    def __init__(
        self, relay_id: RelayId, bound: TransportAddress, deadline: float, network: FakeNetwork
    ) -> None:
        self.network = network
        self.waiting: list[tuple[bytes, SockAddr, Fields]] | None = []
        """What peers sent to a reservation, for the client that will claim it; then None."""
        super().__init__(relay_id, bound, deadline, self._transmit)

    def _transmit(self, data: bytes, target: SockAddr, fields: Fields = SYSTEM) -> None:
        shown = shown_address(target)
        sent = SentToPeer(self.relay_id, shown, data, dont_fragment=False, fields=fields)
        self.network.deliver_to_peer(self, sent)

    def transmit_unfragmented(self, data: bytes, target: SockAddr, fields: Fields = SYSTEM) -> None:
        """The same with the Don't Fragment bit."""
        shown = shown_address(target)
        sent = SentToPeer(self.relay_id, shown, data, dont_fragment=True, fields=fields)
        self.network.deliver_to_peer(self, sent)


class FakeStream:
    """A client's connection."""

    def __init__(self, leg: Leg, settings: ListenerSettings, now: float) -> None:
        self.leg = leg
        self.frames = FrameReader(settings.frame_timeout)
        self.traffic_class = 0
        """Of the client's packets."""
        self.handshake_deadline: float | None = None
        if leg.transport is not Transport.TCP:
            self.handshake_deadline = now + settings.handshake_timeout

    def overdue(self, now: float) -> CloseReason | None:
        """Which deadline has passed, if one has."""
        if self.handshake_deadline is not None and now >= self.handshake_deadline:
            return CloseReason.HANDSHAKE_TIMEOUT
        return CloseReason.FRAME_TIMEOUT if self.frames.is_overdue(now) else None


class FakePipe:
    """A stream and a peer's connection, which goes by its descriptor's number."""

    def __init__(
        self, leg: Leg, descriptor: int, buckets: tuple[BucketId, ...], now: float
    ) -> None:
        self.leg = leg
        self.moved_at = now
        self.descriptor = descriptor
        self.buckets = buckets
        self.counters = RelayCounters()
        self.to_peer = bytearray()
        """What has reached the peer."""
        self.ended: CloseReason | None = None
        """Who says nothing more."""


class FakeNetwork:
    """What happens without a verb: packets, streams and handshakes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.sent_to_client: list[SentToClient] = []
        self.sent_to_peer: list[SentToPeer] = []
        self.hosts: set[str] | None = None
        """Addresses of this host; None: every address is."""
        self.taken: set[TransportAddress] = set()
        """What other programs have bound."""
        self.descriptors: int | None = None
        """How many relays may be open; None: any number."""
        self.refused: dict[TransportAddress, int] = {}
        """The errno with which sending to an address fails, a client's or a peer's."""
        self.closed: set[TransportAddress] = set()
        """Peers' addresses where nobody listens: an ICMP error comes back."""
        self.leads_to: dict[int, TransportAddress] = {}
        """Where the descriptors of peers' connections lead, as far as that matters."""
        self.early: dict[int, bytes] = {}
        """What peers have sent by connections that are not spliced yet, by descriptor."""
        self.pipes: dict[Leg, FakePipe] = {}
        self._clock = clock
        self._rules = Rules(lambda host: self.hosts is None or host in self.hosts)
        self._forwarder = Forwarder(self._rules)
        self._hand_up = HandUp(self._rules.tally)
        self._wake: Callable[[], None] | None = None
        self._settings: dict[ListenerId, ListenerSettings] = {}
        self._endpoints: dict[ListenerId, TransportAddress] = {}
        self._streams: dict[Leg, FakeStream] = {}
        self._handles = count(1)

    def datagram_from_client(self, leg: Leg, data: bytes, fields: Fields = SYSTEM) -> None:
        """A datagram arrives at a UDP listener."""
        self._from_client(leg, data, sent_on(fields))
        self._wake_up()

    def datagram_from_peer(
        self, relay: RelayId, source: TransportAddress, data: bytes, fields: Fields = SYSTEM
    ) -> None:
        """A datagram arrives at a relayed transport address."""
        found = self._rules.relays[relay]
        if isinstance(found, FakeRelay) and found.waiting is not None:
            found.waiting.append((data, raw_address(source), fields))
            return
        now, onward = self._clock(), sent_on(fields)
        self._forwarder.from_peer(found, data, raw_address(source), now, onward)

    def stream_bytes(self, leg: Leg, data: bytes) -> None:
        """Bytes arrive on a stream."""
        pipe = self.pipes.get(leg)
        if pipe is not None:
            self._to_peer(pipe, data)
            return
        stream = self._streams[leg]
        self._take(stream, stream.frames.read(data, self._clock()))

    def _take(self, stream: FakeStream, frames: Iterator[bytes]) -> None:
        try:
            for frame in frames:
                self._from_client(stream.leg, frame, of_stream(stream.traffic_class))
        except DecodeError:
            self._close_stream(stream.leg, CloseReason.GARBAGE)
        self._wake_up()

    def mark_stream(self, leg: Leg, traffic_class: int) -> None:
        """What the IP header of a client's packets says; none of a stream that is gone."""
        if leg in self._streams:
            self._streams[leg].traffic_class = traffic_class

    def stream_ended(self, leg: Leg) -> None:
        """The client closes its connection."""
        if leg in self.pipes:
            self._side_ends(self.pipes[leg], CloseReason.CLIENT)
        else:
            self._close_stream(leg, CloseReason.CLIENT)
        self._wake_up()

    def peer_bytes(self, descriptor: int, data: bytes) -> None:
        """Bytes arrive on the connection of a peer."""
        pipe = self._pipe_of(descriptor)
        if pipe is None:
            self.early[descriptor] = self.early.get(descriptor, b"") + data
            return
        pipe.moved_at = self._clock()
        pipe.counters.packets_to_client += 1
        pipe.counters.bytes_to_client += len(data)
        self._deliver_to_client(data, pipe.leg)

    def peer_ended(self, descriptor: int) -> None:
        """The peer closes its connection."""
        pipe = self._pipe_of(descriptor)
        if pipe is not None:
            self._side_ends(pipe, CloseReason.PEER)
        self._wake_up()

    def dtls_handshake(self, listener: ListenerId, client: TransportAddress) -> Leg:
        """A DTLS client has shown its cookie and begins its handshake; see `handshake_done`."""
        local = ServerAddress(self._endpoints[listener])
        leg = Leg(listener, Transport.DTLS, local, ClientAddress(client), next(self._handles))
        self._streams[leg] = FakeStream(leg, self._settings[listener], self._clock())
        return leg

    def handshake_done(self, leg: Leg, server_name: str | None = None) -> None:
        """A TLS stream or DTLS session is ready."""
        self._streams[leg].handshake_deadline = None
        self._hand_up.add(LegOpened(leg, server_name), preferred=True)
        self._wake_up()

    def handshake_failed(self, leg: Leg) -> None:
        """A TLS handshake goes wrong."""
        self._close_stream(leg, CloseReason.HANDSHAKE_FAILED)
        self._wake_up()

    def deliver_to_peer(self, relay: Relay, sent: SentToPeer) -> None:
        """A datagram leaves a relayed transport address; it arrives when the target is another.

        Raises:
            OSError: sending to the target fails, see `refused`.
        """
        self._may_fail(sent.target)
        if sent.target in self.closed:
            unreachable = IcmpValue(1, 4) if ":" in sent.target.host else IcmpValue(3, 3)
            raw = raw_address(sent.target)
            self._forwarder.icmp_from_peer(relay, raw, unreachable, self._clock())
            return
        self.sent_to_peer.append(sent)
        for other in list(self._rules.relays.values()):
            if other.bound == sent.target:
                self.datagram_from_peer(other.relay_id, relay.bound, sent.data, sent.fields)

    def is_open(self, leg: Leg) -> bool:
        """Whether a connection, or the listener of a UDP leg, is open."""
        if leg.transport.is_connection:
            return leg in self._streams or leg in self.pipes
        return leg.listener in self._endpoints

    def bound_of(self, relay: RelayId) -> TransportAddress:
        """Where a relay is bound."""
        return self._rules.relays[relay].bound

    def listener_at(self, endpoint: TransportAddress) -> ListenerId | None:
        """The UDP listener at an endpoint."""
        found = (each for each, bound in self._endpoints.items() if bound == endpoint)
        return next(found, None)

    def relay_at(self, bound: TransportAddress) -> RelayId:
        """The relay that is bound at an address; raises KeyError when none is."""
        for relay in self._rules.relays.values():
            if relay.bound == bound:
                return relay.relay_id
        raise KeyError(bound)

    def _assign(self, relay: Relay, client: Client) -> None:
        self._rules.assign(relay, client)
        self._expect_media(client.leg)

    def _expect_media(self, leg: Leg) -> None:
        stream = self._streams.get(leg)
        if stream is not None:
            stream.frames.expect_media()

    def _wake_up(self) -> None:
        if self._wake is not None and len(self._hand_up):
            self._wake()

    def _client(self, leg: Leg) -> Client | None:
        if not self.is_open(leg):
            return None
        return self._rules.clients.get(leg) or Client(leg, self._deliver_to_client, leg)

    def _may_fail(self, target: TransportAddress) -> None:
        number = self.refused.get(target)
        if number is not None:
            raise OSError(number, os.strerror(number))

    def _deliver_to_client(self, data: bytes, leg: Leg, fields: Fields = SYSTEM) -> None:
        self._may_fail(leg.client)
        self.sent_to_client.append(SentToClient(leg, data, fields))

    def _from_client(self, leg: Leg, data: bytes, onward: Fields | None) -> None:
        client = self._rules.clients.get(leg) or self._rules.former.get(leg)
        settings = self._settings.get(leg.listener)
        forward: FromClient = self._forwarder.from_client
        if settings is not None and settings.classic_bindings and leg.transport is Transport.UDP:
            forward = or_classic(forward)
        if not forward(client, data, self._clock(), onward):
            self._hand_up.add(ClientMessage(leg, data), preferred=client is not None)

    def _close_relay(self, relay: RelayId) -> None:
        self._rules.remove(relay)

    def _close_relays_of(self, client: Client) -> None:
        for relay in client.relays:
            self._close_relay(relay.relay_id)

    def _to_peer(self, pipe: FakePipe, data: bytes) -> None:
        if data:
            pipe.moved_at = self._clock()
            pipe.counters.packets_from_client += 1
            pipe.counters.bytes_from_client += len(data)
            pipe.to_peer += data

    def _pipe_of(self, descriptor: int) -> FakePipe | None:
        for pipe in self.pipes.values():
            if pipe.descriptor == descriptor:
                return pipe
        return None

    def _side_ends(self, pipe: FakePipe, side: CloseReason) -> None:
        """Of two sides that have ended the first is the reason."""
        pipe.moved_at = self._clock()
        pipe.ended = pipe.ended or side
        if pipe.ended is not side:
            self._end_pipe(pipe, pipe.ended)

    def _end_pipe(self, pipe: FakePipe, reason: CloseReason) -> None:
        del self.pipes[pipe.leg]
        self._rules.tally.retire(pipe.leg, pipe.counters)
        self._hand_up.add(LegClosed(pipe.leg, reason), preferred=True)

    def _close_stream(self, leg: Leg, reason: CloseReason) -> None:
        if leg in self.pipes:
            self._end_pipe(self.pipes[leg], reason)
        if self._streams.pop(leg, None) is None:
            return
        client = self._rules.clients.get(leg)
        self._hand_up.add(LegClosed(leg, reason), preferred=client is not None)
        if client is not None:
            self._rules.abandon(client)
