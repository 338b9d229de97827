"""An engine in memory: the same rules and forwarding as the portable one, without sockets or time.

For tests of what stands above the engine. Beside the verbs it has what the network would do
(`datagram_from_client`, `datagram_from_peer`, `stream_bytes`, `stream_ended`) and what the network
would have seen (`sent_to_client`, `sent_to_peer`), and it writes down the verbs in the order in
which they were called (`calls`).
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    EngineCounters,
    Event,
    Leg,
    LegClosed,
    LegOpened,
    ListenerId,
    ListenerSettings,
    RelayCounters,
    RelayError,
    RelayId,
    Transport,
)
from turnd.engine.forwarding import Forwarder
from turnd.engine.frames import FrameReader
from turnd.engine.handup import HandUp
from turnd.engine.rules import Client, Relay, Rules
from turnd.engine.sockaddr import SockAddr, raw_address, shown_address
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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


class SentToClient(NamedTuple):
    """What reached a client, without padding."""

    leg: Leg
    data: bytes


class SentToPeer(NamedTuple):
    """What left a relayed transport address."""

    relay: RelayId
    target: TransportAddress
    data: bytes
    dont_fragment: bool


class _FakeRelay(Relay):
    __slots__ = ("engine", "waiting")

    def __init__(
        self, relay_id: RelayId, bound: TransportAddress, deadline: float, engine: FakeEngine
    ) -> None:
        self.engine = engine
        self.waiting: list[tuple[bytes, SockAddr]] = []
        super().__init__(relay_id, bound, deadline, self._transmit)

    def _transmit(self, data: bytes, target: SockAddr) -> None:
        self.engine.deliver_to_peer(self, target, data, dont_fragment=False)

    def transmit_unfragmented(self, data: bytes, target: SockAddr) -> None:
        self.engine.deliver_to_peer(self, target, data, dont_fragment=True)


class _FakeStream:
    def __init__(self, leg: Leg, settings: ListenerSettings, now: float) -> None:
        self.leg = leg
        self.frames = FrameReader(settings.frame_timeout)
        self.handshake_deadline: float | None = None
        if leg.transport is Transport.TLS:
            self.handshake_deadline = now + settings.handshake_timeout

    def is_overdue(self, now: float) -> CloseReason | None:
        if self.handshake_deadline is not None and now >= self.handshake_deadline:
            return CloseReason.HANDSHAKE_TIMEOUT
        return CloseReason.FRAME_TIMEOUT if self.frames.is_overdue(now) else None


class FakeEngine:
    """See `RelayEngine`, whose verbs these are. Descriptors are numbers that it never touches."""

    name = "fake"

    def __init__(self, clock: Callable[[], float]) -> None:
        self.calls: list[Call] = []
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
        self.started = False
        self._clock = clock
        self._rules = Rules(lambda host: self.hosts is None or host in self.hosts)
        self._forwarder = Forwarder(self._rules)
        self._hand_up = HandUp(self._rules.tally)
        self._wake: Callable[[], None] | None = None
        self._settings: dict[ListenerId, ListenerSettings] = {}
        self._endpoints: dict[ListenerId, TransportAddress] = {}
        self._streams: dict[Leg, _FakeStream] = {}
        self._handles = count(1)
        self._ports = count(20_000)

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
        for leg, client in list(self._rules.clients.items()):
            if leg.listener == listener and not leg.transport.is_stream:
                self._close_relays_of(client)

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
            self._hand_up.leg_event(LegClosed(leg, CloseReason.SERVER))
            return leg
        self._streams[leg] = _FakeStream(leg, settings, self._clock())
        if transport is Transport.TCP:
            self._hand_up.leg_event(LegOpened(leg))
            self.stream_bytes(leg, first_bytes)
        return leg

    def close_leg(self, leg: Leg, reason: CloseReason) -> None:
        """End a stream."""
        self._note("close_leg", leg, reason)
        self._close_stream(leg, reason)

    def open_relay(
        self, leg: Leg | None, bound: TransportAddress, deadline: float
    ) -> RelayId | RelayError:
        """Bind a relayed transport address."""
        self._note("open_relay", leg, bound, deadline)
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
        relay = _FakeRelay(RelayId(next(self._handles)), bound, deadline, self)
        self._rules.add(relay)
        if client is not None:
            self._assign(relay, client)
        return relay.relay_id

    def move(self, relay: RelayId, leg: Leg, deadline: float) -> None:
        """Give a relay to another leg."""
        self._note("move", relay, leg, deadline)
        moved = self._rules.relays.get(relay)
        client = self._client(leg)
        if not isinstance(moved, _FakeRelay) or client is None:
            return
        moved.deadline = deadline
        self._assign(moved, client)
        waiting, moved.waiting = moved.waiting, []
        for data, source in waiting:
            self._forwarder.from_peer(moved, data, source, self._clock())

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

    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None:
        """What may never be reached."""
        endpoints = tuple(endpoints)
        self._note("protect", endpoints, dict(own_addresses))
        self._rules.protect(endpoints, own_addresses)

    def send_to_client(self, leg: Leg, data: bytes) -> None:
        """Send a STUN message to a client."""
        self._note("send_to_client", leg, data)
        if not self.is_open(leg):
            return
        try:
            self._deliver_to_client(data, leg)
        except OSError as error:
            self._rules.tally.send_failed(error)

    def poll(self) -> Sequence[Event]:
        """All events since the last call, a bounded batch."""
        return self._hand_up.take()

    def tick(self) -> None:
        """Time has passed."""
        now = self._clock()
        for leg, stream in list(self._streams.items()):
            reason = stream.is_overdue(now)
            if reason is not None:
                self._close_stream(leg, reason)
        self._rules.tidy(now)
        self._wake_up()

    def counters(self) -> EngineCounters:
        """Totals over all relays."""
        return self._rules.counters(len(self._streams))

    def relay_counters(self, relay: RelayId) -> RelayCounters | None:
        """One relay's counters, a snapshot."""
        found = self._rules.relays.get(relay)
        return None if found is None else replace(found.counters)

    # What the network does.

    def datagram_from_client(self, leg: Leg, data: bytes) -> None:
        """A datagram arrives at a UDP listener."""
        self._from_client(leg, data)
        self._wake_up()

    def datagram_from_peer(self, relay: RelayId, source: TransportAddress, data: bytes) -> None:
        """A datagram arrives at a relayed transport address."""
        found = self._rules.relays[relay]
        if found.client is None and isinstance(found, _FakeRelay):
            found.waiting.append((data, raw_address(source)))
            return
        self._forwarder.from_peer(found, data, raw_address(source), self._clock())

    def stream_bytes(self, leg: Leg, data: bytes) -> None:
        """Bytes arrive on a stream."""
        stream = self._streams[leg]
        try:
            for frame in stream.frames.read(data, self._clock()):
                self._from_client(leg, frame)
        except DecodeError:
            self._close_stream(leg, CloseReason.GARBAGE)
        self._wake_up()

    def stream_ended(self, leg: Leg) -> None:
        """The client closes its connection."""
        self._close_stream(leg, CloseReason.CLIENT)
        self._wake_up()

    def handshake_done(self, leg: Leg, server_name: str | None = None) -> None:
        """A TLS stream is ready."""
        self._streams[leg].handshake_deadline = None
        self._hand_up.leg_event(LegOpened(leg, server_name, None, "TLSv1.3"))
        self._wake_up()

    def handshake_failed(self, leg: Leg) -> None:
        """A TLS handshake goes wrong."""
        self._close_stream(leg, CloseReason.HANDSHAKE_FAILED)
        self._wake_up()

    def deliver_to_peer(
        self, relay: Relay, target: SockAddr, data: bytes, *, dont_fragment: bool
    ) -> None:
        """A datagram leaves a relayed transport address; it arrives when the target is another.

        Raises:
            OSError: sending to the target fails, see `refused`.
        """
        shown = shown_address(target)
        self._may_fail(shown)
        self.sent_to_peer.append(SentToPeer(relay.relay_id, shown, data, dont_fragment))
        for other in list(self._rules.relays.values()):
            if other.bound == shown:
                self.datagram_from_peer(other.relay_id, relay.bound, data)

    # What can be asked.

    def is_open(self, leg: Leg) -> bool:
        """Whether a stream, or the listener of a UDP leg, is open."""
        return leg in self._streams if leg.transport.is_stream else leg.listener in self._endpoints

    def bound_of(self, relay: RelayId) -> TransportAddress:
        """Where a relay is bound."""
        return self._rules.relays[relay].bound

    def relay_at(self, bound: TransportAddress) -> RelayId:
        """The relay that is bound at an address; raises KeyError when none is."""
        for relay in self._rules.relays.values():
            if relay.bound == bound:
                return relay.relay_id
        raise KeyError(bound)

    # Within.

    def _assign(self, relay: Relay, client: Client) -> None:
        self._rules.assign(relay, client)
        stream = self._streams.get(client.leg)
        if stream is not None:
            stream.frames.expect_media()

    def _note(self, verb: str, *arguments: Any) -> None:
        self.calls.append(Call(verb, arguments))

    def _wake_up(self) -> None:
        if self._wake is not None and len(self._hand_up):
            self._wake()

    def _with_port(self, endpoint: TransportAddress) -> TransportAddress:
        return endpoint if endpoint.port else endpoint._replace(port=next(self._ports))

    def _client(self, leg: Leg) -> Client | None:
        if not self.is_open(leg):
            return None
        return self._rules.clients.get(leg) or Client(leg, self._deliver_to_client, leg)

    def _may_fail(self, target: TransportAddress) -> None:
        number = self.refused.get(target)
        if number is not None:
            raise OSError(number, os.strerror(number))

    def _deliver_to_client(self, data: bytes, leg: Leg) -> None:
        self._may_fail(leg.client)
        self.sent_to_client.append(SentToClient(leg, data))

    def _from_client(self, leg: Leg, data: bytes) -> None:
        client = self._rules.clients.get(leg)
        if not self._forwarder.from_client(client, data, self._clock()):
            self._hand_up.message(ClientMessage(leg, data))

    def _close_relay(self, relay: RelayId) -> None:
        self._rules.remove(relay)

    def _close_relays_of(self, client: Client) -> None:
        for relay in client.relays:
            self._close_relay(relay.relay_id)

    def _close_stream(self, leg: Leg, reason: CloseReason) -> None:
        if self._streams.pop(leg, None) is None:
            return
        client = self._rules.clients.get(leg)
        if client is not None:
            self._close_relays_of(client)
        self._hand_up.leg_event(LegClosed(leg, reason))
