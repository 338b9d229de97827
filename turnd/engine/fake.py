"""An engine in memory: the same rules and forwarding as the portable one, without sockets or time.

For tests of what stands above the engine. Here are the verbs, which it writes down in the order in
which they were called (`calls`). What the network would do (`datagram_from_client`,
`datagram_from_peer`, `stream_bytes`, `stream_ended`) and what it would have seen (`sent_to_client`,
`sent_to_peer`) is `FakeNetwork`'s.
"""

from __future__ import annotations

import errno
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.engine.base import (
    SPLICE_LINGER,
    CloseReason,
    EngineCounters,
    Event,
    Leg,
    LegClosed,
    LegOpened,
    ListenerId,
    ListenerSettings,
    MediaWaiting,
    RelayError,
    RelayId,
    RelayReport,
    Transport,
)
from turnd.engine.budget import AnswerBudget
from turnd.engine.fake_network import FakeNetwork, FakePipe, FakeRelay, FakeStream
from turnd.engine.fields import sent_on
from turnd.engine.frames import refuses_bind
from turnd.engine.legs import as_if_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from turnd.engine.base import BucketId, Challenge, NonceKeys
    from turnd.stun.addresses import (
        ChannelNumber,
        ClientAddress,
        PeerAddress,
        ServerAddress,
        TransportAddress,
    )


class Call(NamedTuple):
    """One verb as it was called."""

    verb: str
    arguments: tuple[Any, ...]


class FakeEngine(FakeNetwork):
    """See `RelayEngine`, whose verbs these are. Descriptors are numbers that it never touches."""

    name = "fake"
    faults = 0
    details: Mapping[str, str] = MappingProxyType({})
    notes: Sequence[str] = ()

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.calls: list[Call] = []
        self.started = False
        self._ports = count(20_000)
        self._answers = AnswerBudget(0)

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to move packets; `wake` is called at once for whatever the network did."""
        self._note("start")
        self._wake = wake
        self.started = True

    def stop(self) -> None:
        """Close everything."""
        self._note("stop")
        self._wake = None
        self.started = False
        for relay_id in list(self._rules.relays):
            self._close_relay(relay_id)
        self._streams.clear()
        self.pipes.clear()
        self._settings.clear()
        self._endpoints.clear()

    def listen(
        self, endpoint: TransportAddress, settings: ListenerSettings, fd: int | None = None
    ) -> ListenerId:
        """Serve UDP at an endpoint."""
        self._note("listen", endpoint, settings, fd)
        if endpoint in self._endpoints.values():
            raise OSError(errno.EADDRINUSE, "the port is in use")
        listener_id = ListenerId(next(self._handles))
        self._settings[listener_id] = settings
        self._endpoints[listener_id] = self._with_port(endpoint)
        return listener_id

    def stream_listener(self, settings: ListenerSettings) -> ListenerId:
        """A handle under which streams are adopted."""
        self._note("stream_listener", settings)
        listener_id = ListenerId(next(self._handles))
        self._settings[listener_id] = settings
        return listener_id

    def configure(self, listener: ListenerId, settings: ListenerSettings) -> None:
        """New settings for the listener."""
        self._note("configure", listener, settings)
        if listener in self._settings:
            self._settings[listener] = settings

    def close_listener(self, listener: ListenerId) -> None:
        """No new clients by this listener."""
        self._note("close_listener", listener)
        self._settings.pop(listener, None)
        self._endpoints.pop(listener, None)
        for leg in [leg for leg in self._streams if leg.listener == listener]:
            if leg.transport is Transport.DTLS:
                self._close_stream(leg, CloseReason.SERVER)
        for leg, client in list(self._rules.clients.items()):
            if leg.listener == listener and not leg.transport.is_stream:
                self._close_relays_of(client)
                self._rules.abandon(client)

    def endpoint(self, listener: ListenerId) -> TransportAddress:
        """Where a UDP listener is bound."""
        return self._endpoints[listener]

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
        self._note("adopt", fd, listener, transport, client, local, first_bytes)
        leg = Leg(listener, transport, local, client, next(self._handles))
        settings = self._settings.get(listener)
        if settings is None:
            self._hand_up.add(LegClosed(leg, CloseReason.SERVER), preferred=True)
            return leg
        self._streams[leg] = FakeStream(leg, settings, self._clock())
        if transport is Transport.TCP:
            self._hand_up.add(LegOpened(leg), preferred=True)
            self.stream_bytes(leg, first_bytes)
        return leg

    def close_leg(self, leg: Leg, reason: CloseReason) -> None:
        """End a stream."""
        self._note("close_leg", leg, reason)
        self._close_stream(leg, reason)

    def open_relay(
        self,
        leg: Leg | None,
        bound: TransportAddress,
        deadline: float,
        buckets: Sequence[BucketId] = (),
    ) -> RelayId | RelayError:
        """Bind a relayed transport address."""
        self._note("open_relay", leg, bound, deadline, tuple(buckets))
        client = None
        if leg is not None:
            client = self._client(leg)
            if client is None or client.relay_for(bound.family) is not None:
                return RelayError.OTHER
        if self.descriptors is not None and len(self._rules.relays) >= self.descriptors:
            return RelayError.NO_DESCRIPTORS
        if self.hosts is not None and bound.host not in self.hosts:
            return RelayError.NO_SUCH_ADDRESS
        bound = self._with_port(bound)
        if bound in self.taken or any(r.bound == bound for r in self._rules.relays.values()):
            return RelayError.PORT_TAKEN
        relay = FakeRelay(RelayId(next(self._handles)), bound, deadline, self)
        self._rules.add(relay, buckets)
        if client is not None:
            relay.waiting = None
            self._assign(relay, client)
        return relay.relay_id

    def move(
        self, relay: RelayId, leg: Leg, deadline: float, buckets: Sequence[BucketId] = ()
    ) -> None:
        """Give a relay to another leg."""
        self._note("move", relay, leg, deadline, tuple(buckets))
        moved = self._rules.relays.get(relay)
        client = self._client(leg)
        if not isinstance(moved, FakeRelay) or client is None:
            return
        moved.deadline = deadline
        self._rules.name_buckets(moved, buckets)
        self._assign(moved, client)
        waiting, moved.waiting = moved.waiting, None
        for data, source, fields in waiting or ():
            self._forwarder.from_peer(moved, data, source, self._clock(), sent_on(fields))

    def hold_back(self, leg: Leg) -> None:
        """Keep the media of a leg without relays."""
        self._note("hold_back", leg)
        client = self._client(leg)
        if client is not None:
            self._rules.hold_back(
                client, lambda: self._hand_up.add(MediaWaiting(leg), preferred=True)
            )
            self._expect_media(leg)

    def hand_over(self, relays: Sequence[RelayId], leg: Leg) -> None:
        """Give relays to another leg as they are."""
        self._note("hand_over", tuple(relays), leg)
        client = self._client(leg)
        if client is None:
            return
        for relay in map(self._rules.relays.get, relays):
            if relay is not None:
                former = relay.client
                self._assign(relay, client)
                if former is not None:
                    self._rules.follow(former, client, self._clock())
        for message, onward in self._rules.let_in(client):
            self._from_client(leg, message, onward)

    def permit(self, relay: RelayId, peer_host: str, deadline: float) -> None:
        """Install or extend a permission."""
        self._note("permit", relay, peer_host, deadline)
        self._rules.permit(relay, peer_host, deadline, self._clock())

    def bind_channel(
        self, relay: RelayId, number: ChannelNumber, peer: PeerAddress, deadline: float
    ) -> None:
        """Install or extend a channel binding."""
        self._note("bind_channel", relay, number, peer, deadline)
        self._rules.bind_channel(relay, number, peer, deadline, self._clock())

    def extend(self, relay: RelayId, deadline: float) -> None:
        """Set the relay's end."""
        self._note("extend", relay, deadline)
        self._rules.extend(relay, deadline)

    def close_relay(self, relay: RelayId) -> None:
        """Forget a relay and all its rules."""
        self._note("close_relay", relay)
        self._close_relay(relay)

    def limit(self, bucket: BucketId, bits_per_second: int | None) -> None:
        """Set a token bucket's rate."""
        self._note("limit", bucket, bits_per_second)
        self._rules.buckets.limit(bucket, bits_per_second)

    def budget(self, answers_per_second: int) -> None:
        """Set how many answers a stranger's network gets."""
        self._note("budget", answers_per_second)
        self._answers.per_second = answers_per_second

    def draw(self, host: str) -> bool:
        """Whether one more answer may go to the host's network."""
        return self._answers.draw(host, self._clock())

    def know_nonces(self, keys: NonceKeys) -> None:
        """The keys of the nonces that are good now."""
        self._note("know_nonces", keys)

    def challenge(self, listener: ListenerId, challenge: Challenge | None) -> None:
        """Noted only: all requests are handed up."""
        self._note("challenge", listener, challenge)

    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None:
        """What may never be reached."""
        endpoints = tuple(endpoints)
        self._note("protect", endpoints, dict(own_addresses))
        self._rules.protect(endpoints, own_addresses)

    def send_to_client(self, leg: Leg, data: bytes, from_: ServerAddress | None = None) -> None:
        """Send a STUN message to a client."""
        self._note("send_to_client", leg, data, *(() if from_ is None else (from_,)))
        way: Leg | None = leg
        if from_ is not None and leg.transport is Transport.UDP:
            way = as_if_to(leg, from_, self._endpoints)
        if way is None or not self.is_open(way):
            return
        try:
            self._deliver_to_client(data, way)
        except OSError as error:
            self._rules.tally.send_failed(error)
        stream = self._streams.get(leg)
        if stream is not None and stream.frames.is_held and refuses_bind(data):
            self._take(stream, stream.frames.resume(self._clock()))

    def splice(self, leg: Leg, fd: int, answer: bytes, buckets: Sequence[BucketId] = ()) -> bool:
        """Make a stream and a peer's connection one pipe."""
        self._note("splice", leg, fd, answer, tuple(buckets))
        if leg not in self._streams:
            return False
        target = self.leads_to.get(fd)
        if target is not None and self._rules.is_protected(target):
            self._close_stream(leg, CloseReason.SERVER)
            self._wake_up()
            return True
        stream = self._streams.pop(leg)
        pipe = self.pipes[leg] = FakePipe(leg, fd, tuple(buckets), self._clock())
        self._deliver_to_client(answer, leg)
        self._to_peer(pipe, stream.frames.rest())
        if fd in self.early:
            self.peer_bytes(fd, self.early.pop(fd))
        return True

    def poll(self) -> Sequence[Event]:
        """All events since the last call, a bounded batch."""
        return self._hand_up.take()

    def tick(self) -> None:
        """Time has passed."""
        now = self._clock()
        for leg, stream in list(self._streams.items()):
            reason = stream.overdue(now)
            if reason is not None:
                self._close_stream(leg, reason)
        for pipe in list(self.pipes.values()):
            if pipe.ended is not None and now >= pipe.moved_at + SPLICE_LINGER:
                self._end_pipe(pipe, pipe.ended)
        self._rules.tidy(now)
        self._rules.forget_former(now)
        self._wake_up()

    def counters(self) -> EngineCounters:
        """Totals over all relays."""
        pipes = [(pipe.leg, pipe.counters) for pipe in self.pipes.values()]
        return self._rules.counters(len(self._streams) + len(pipes), pipes)

    def relay_counters(self, relay: RelayId) -> RelayReport | None:
        """One relay's own, a snapshot."""
        found = self._rules.relays.get(relay)
        return None if found is None else found.report()

    def _note(self, verb: str, *arguments: Any) -> None:
        self.calls.append(Call(verb, arguments))

    def _with_port(self, endpoint: TransportAddress) -> TransportAddress:
        return endpoint if endpoint.port else endpoint._replace(port=next(self._ports))
