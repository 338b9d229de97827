"""The engine that always works: non-blocking sockets behind one epoll of its own, in pure Python.

When the epoll is ready, sockets are drained by bounded batches, then `wake` tells about what waits
for a decision. Everything runs in the event loop's thread, so that what a verb says is in force
when it returns. Here are the verbs; `udp` and `streams` have the sockets, `associations` DTLS;
`legs` says whose they are, `rules` and `forwarding` what may go where.
"""

from __future__ import annotations

import socket
import time
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from turnd.engine import sockets, udp
from turnd.engine.base import (
    CloseReason,
    EngineCounters,
    Event,
    Leg,
    LegClosed,
    ListenerId,
    ListenerSettings,
    MediaWaiting,
    RelayError,
    RelayId,
    RelayReport,
    Transport,
)
from turnd.engine.budget import AnswerBudget
from turnd.engine.forwarding import Forwarder
from turnd.engine.handshakes import Handshakes
from turnd.engine.handup import HandUp
from turnd.engine.legs import Connection, Legs
from turnd.engine.pump import Pump
from turnd.engine.rules import Client, Rules
from turnd.engine.splicing import Splicer
from turnd.engine.streams import Stream, StreamDoors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from turnd.engine.associations import AssociationDoors
    from turnd.engine.base import BucketId, Challenge, NonceKeys
    from turnd.stun.addresses import (
        ChannelNumber,
        ClientAddress,
        PeerAddress,
        ServerAddress,
        TransportAddress,
    )


class PortableEngine:
    """See `RelayEngine`, whose verbs these are."""

    name = "portable"
    faults = 0
    """A fault in a packet is an exception in the event loop here, which says so itself."""
    details: Mapping[str, str] = MappingProxyType({"io": "epoll", "workers": "1"})

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.notes: list[str] = []
        self._clock = clock
        self._local_addresses = sockets.LocalAddresses()
        self._rules = Rules(self._local_addresses)
        self._forwarder = Forwarder(self._rules)
        self._answers = AnswerBudget(0)
        self._hand_up = HandUp(self._rules.tally)
        self._pump = Pump(clock, self._hand_up, self._flush)
        self._legs = Legs(self._rules)
        self._handles = count(1)
        self._connections = self._legs.connections
        self._unflushed: set[Stream] = set()
        self._stream_doors = StreamDoors(
            self._forwarder, self._hand_up, self._unflushed, self._want, self._end, clock
        )
        self._association_doors: AssociationDoors | None = None
        self._splicer = Splicer(self._pump, self._rules, self._hand_up, clock)

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to move packets."""
        self._pump.start(wake)

    def stop(self) -> None:
        """Close everything."""
        for connection in list(self._connections.values()):
            self._end(connection, CloseReason.SERVER)
        self._splicer.stop()
        for relay_id in list(self._rules.relays):
            self.close_relay(relay_id)
        for listener in list(self._legs.udp_listeners):
            self.close_listener(listener)
        self._pump.stop()

    def _flush(self) -> None:
        while self._unflushed:
            self._unflushed.pop().flush()

    def _close(self, sock: socket.socket) -> None:
        self._pump.forget(sock.fileno())
        sock.close()

    def listen(
        self, endpoint: TransportAddress, settings: ListenerSettings, fd: int | None = None
    ) -> ListenerId:
        """Serve UDP at an endpoint."""
        if fd is None:
            sock = sockets.bind_udp(endpoint, settings)
        else:
            sock = sockets.inherit_udp(fd, settings)
        self.notes += [
            note for note in sockets.missing_buffers(sock, settings) if note not in self.notes
        ]
        listener_id = ListenerId(next(self._handles))
        listener = udp.open_listener(listener_id, sock, settings, self._forwarder, self._hand_up)
        if settings.dtls:
            try:
                listener.serve_dtls(self._doors_for_dtls())
            except OSError:
                sock.close()
                raise
        self._legs.udp_listeners[listener_id] = listener
        self._pump.watch(sock.fileno(), listener)
        return listener_id

    def _doors_for_dtls(self) -> AssociationDoors:
        from turnd.engine.associations import AssociationDoors  # noqa: PLC0415 - pyOpenSSL for few

        if self._association_doors is None:
            self._association_doors = AssociationDoors(
                self._forwarder,
                self._hand_up,
                self._rules.tally,
                self._answers,
                Handshakes(),
                self._begin,
                self._end,
                lambda: next(self._handles),
            )
        return self._association_doors

    def stream_listener(self, settings: ListenerSettings) -> ListenerId:
        """A handle under which streams are adopted."""
        listener_id = ListenerId(next(self._handles))
        self._legs.stream_settings[listener_id] = settings
        return listener_id

    def configure(self, listener: ListenerId, settings: ListenerSettings) -> None:
        """New settings for the listener."""
        if listener in self._legs.stream_settings:
            self._legs.stream_settings[listener] = settings
        elif (udp_listener := self._legs.udp_listeners.get(listener)) is not None:
            udp_listener.configure(settings)

    def close_listener(self, listener: ListenerId) -> None:
        """No new clients by this listener."""
        self._legs.stream_settings.pop(listener, None)
        udp_listener = self._legs.udp_listeners.pop(listener, None)
        if udp_listener is None:
            return
        if udp_listener.associations is not None:
            udp_listener.associations.close()
        for client in list(udp_listener.clients.values()):
            self._close_relays_of(client)
            self._rules.abandon(client)
        self._close(udp_listener.sock)

    def endpoint(self, listener: ListenerId) -> TransportAddress:
        """Where a UDP listener is bound."""
        return self._legs.udp_listeners[listener].endpoint

    def adopt(
        self,
        fd: int,
        listener: ListenerId,
        transport: Transport,
        client: ClientAddress,
        local: ServerAddress,
        first_bytes: bytes = b"",
    ) -> Leg:
        """Take over a connected stream."""
        leg = Leg(listener, transport, local, client, next(self._handles))
        sock = socket.socket(fileno=fd)
        settings = self._legs.stream_settings.get(listener)
        if settings is None or (transport is Transport.TLS and settings.tls is None):
            sock.close()  # the listener was closed while the connection was on its way
            self._hand_up.add(LegClosed(leg, CloseReason.SERVER), preferred=True)
        else:
            sock.setblocking(False)
            now = self._clock()
            stream = Stream(sock, leg, settings, self._stream_doors, now)
            self._connections[leg] = stream
            self._pump.watch(fd, stream)
            stream.open(first_bytes, now)
            self._flush()
        self._pump.plan_wake()
        return leg

    def close_leg(self, leg: Leg, reason: CloseReason) -> None:
        """End a connection."""
        connection = self._connections.get(leg)
        if connection is not None:
            self._end(connection, reason)
        else:
            self._splicer.end(leg, reason)
        self._pump.plan_wake()

    def _begin(self, connection: Connection) -> None:
        self._connections[connection.leg] = connection

    def _end(self, connection: Connection, reason: CloseReason) -> None:
        leg, client = connection.leg, connection.client
        if self._connections.pop(leg, None) is None:
            return
        self._hand_up.add(LegClosed(leg, reason), preferred=client is not None)
        if client is not None:
            self._rules.abandon(client)
        connection.farewell()
        if isinstance(connection, Stream):
            self._close(connection.sock)

    def _want(self, stream: Stream, mask: int) -> None:
        if stream.leg in self._connections:
            self._pump.want(stream.sock.fileno(), mask)

    def splice(self, leg: Leg, fd: int, answer: bytes, buckets: Sequence[BucketId] = ()) -> bool:
        """Make a stream and a peer's connected socket one pipe."""
        peer = socket.socket(fileno=fd)
        stream = self._connections.get(leg)
        if not isinstance(stream, Stream):
            peer.close()
            return False
        if not self._splicer.may_lead_to(peer):
            peer.close()
            self._end(stream, CloseReason.SERVER)
        else:
            del self._connections[leg]
            self._unflushed.discard(stream)
            self._pump.forget(stream.sock.fileno())
            self._splicer.join(leg, stream.become_end(answer), peer, buckets)
        self._pump.plan_wake()
        return True

    def open_relay(
        self,
        leg: Leg | None,
        bound: TransportAddress,
        deadline: float,
        buckets: Sequence[BucketId] = (),
    ) -> RelayId | RelayError:
        """Bind a relayed transport address."""
        client = None
        if leg is not None:
            client = self._legs.client(leg)
            if client is None or client.relay_for(bound.family) is not None:
                return RelayError.OTHER
        relay_id = RelayId(next(self._handles))
        settings = self._legs.settings_for(leg)
        try:
            relay = udp.UdpRelay(relay_id, bound, deadline, settings, self._forwarder)
        except OSError as error:
            return sockets.relay_error(error)
        self._rules.add(relay, buckets)
        if client is not None:
            self._assign(relay, client)
        return relay_id

    def _assign(self, relay: udp.UdpRelay, client: Client) -> None:
        """Let a relay serve a client; only now is it read, so that nothing arrived is lost."""
        self._legs.remember(client)
        idle = self._rules.assign(relay, client)
        if idle is not None and idle is not client:
            self._legs.forget(idle)
        if not self._pump.watches(relay.sock.fileno()):
            self._pump.watch(relay.sock.fileno(), relay)

    def _close_relays_of(self, client: Client) -> None:
        for relay in client.relays:
            self.close_relay(relay.relay_id)

    def move(
        self, relay: RelayId, leg: Leg, deadline: float, buckets: Sequence[BucketId] = ()
    ) -> None:
        """Give a relay to another leg."""
        moved = self._rules.relays.get(relay)
        client = self._legs.client(leg)
        if isinstance(moved, udp.UdpRelay) and client is not None:
            moved.deadline = deadline
            self._rules.name_buckets(moved, buckets)
            sockets.set_buffers(moved.sock, self._legs.settings_for(leg))
            self._assign(moved, client)

    def hold_back(self, leg: Leg) -> None:
        """Keep the media of a leg without relays."""
        client = self._legs.client(leg)
        if client is not None:
            self._rules.hold_back(
                client, lambda: self._hand_up.add(MediaWaiting(leg), preferred=True)
            )
            self._legs.remember(client)

    def hand_over(self, relays: Sequence[RelayId], leg: Leg) -> None:
        """Give relays to another leg as they are."""
        client = self._legs.client(leg)
        if client is None:
            return
        now = self._clock()
        for relay in map(self._rules.relays.get, relays):
            if isinstance(relay, udp.UdpRelay):
                former = relay.client
                self._assign(relay, client)
                if former is not None and self._rules.follow(former, client, now):
                    self._legs.remember(former)
        waiting = self._rules.let_in(client)
        if not client.relays:
            self._legs.forget(client)
        for message, onward in waiting:
            self._forwarder.from_client(client if client.relays else None, message, now, onward)
        self._flush()

    def permit(self, relay: RelayId, peer_host: str, deadline: float) -> None:
        """Install or extend a permission."""
        self._rules.permit(relay, peer_host, deadline, self._clock())

    def bind_channel(
        self, relay: RelayId, number: ChannelNumber, peer: PeerAddress, deadline: float
    ) -> None:
        """Install or extend a channel binding."""
        self._rules.bind_channel(relay, number, peer, deadline, self._clock())

    def extend(self, relay: RelayId, deadline: float) -> None:
        """Set the relay's end."""
        self._rules.extend(relay, deadline)

    def close_relay(self, relay: RelayId) -> None:
        """Close the socket and forget all its rules."""
        removed, idle = self._rules.remove(relay)
        if isinstance(removed, udp.UdpRelay):
            self._close(removed.sock)
        if idle is not None:
            self._legs.forget(idle)

    def limit(self, bucket: BucketId, bits_per_second: int | None) -> None:
        """Set a token bucket's rate."""
        self._rules.buckets.limit(bucket, bits_per_second)

    def budget(self, answers_per_second: int) -> None:
        """Set how many answers a stranger's network gets."""
        self._answers.per_second = answers_per_second

    def draw(self, host: str) -> bool:
        """Whether one more answer may go to the host's network."""
        return self._answers.draw(host, self._clock())

    def know_nonces(self, keys: NonceKeys) -> None:
        """Ignored: to look at a nonce costs as much as to refuse its request."""

    def challenge(self, listener: ListenerId, challenge: Challenge | None) -> None:
        """Ignored: this is Python already."""

    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None:
        """What may never be reached."""
        self._rules.protect(endpoints, own_addresses)

    def send_to_client(self, leg: Leg, data: bytes, from_: ServerAddress | None = None) -> None:
        """Send a STUN message to a client."""
        try:
            self._legs.answer(leg, data, from_)
        except OSError as error:
            self._rules.tally.send_failed(error)
        self._pump.plan_wake()

    def poll(self) -> Sequence[Event]:
        """All events since the last call, a bounded batch."""
        events = self._hand_up.take()
        self._pump.plan_wake()
        return events

    def tick(self) -> None:
        """Time has passed."""
        self._local_addresses.forget()
        now = self._clock()
        for connection in list(self._connections.values()):
            reason = connection.overdue(now)
            if reason is not None:
                self._end(connection, reason)
        self._splicer.tick(now)
        for former in self._rules.forget_former(now):
            self._legs.forget(former)
        for listener in self._legs.udp_listeners.values():
            if listener.associations is not None:
                listener.associations.repeat_flights()
        self._rules.tidy(now)
        self._pump.plan_wake()

    def counters(self) -> EngineCounters:
        """Totals over all relays."""
        pipes = self._splicer.counters()
        counters = self._rules.counters(len(self._connections) + len(pipes), pipes)
        if self._association_doors is not None:
            counters.over_budget = self._association_doors.handshakes.over_budget
        return counters

    def relay_counters(self, relay: RelayId) -> RelayReport | None:
        """One relay's own, a snapshot."""
        found = self._rules.relays.get(relay)
        return None if found is None else found.report()
