"""Forwarding tables: which packet may go where, until when. Pure; every engine in Python uses them.

Rules of the house
    1.  An address that may be one of our own has two faces: the *shown* one that clients use
        (announced) and the *raw* one that sockets take and give (bound). Tables that packets meet
        are keyed by the raw one, so that a packet costs no translation.
    2.  A channel remembers whether its target needs a look per packet (`guarded`): a port that is
        protected somewhere, or an address of ours. All others never meet that code.
    3.  Deadlines are compared with `now < deadline` where the packet is; `tidy` only saves memory.
    4.  A relay keeps the shown host that was in force when it was opened: its client has told
        others of that one, and their permissions name it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from turnd.engine.base import (
    FORMER_LEG_GRACE,
    FORMER_LEGS,
    BucketId,
    Drop,
    EngineCounters,
    Leg,
    RelayCounters,
    RelayId,
    RelayReport,
)
from turnd.engine.buckets import Bucket, Buckets
from turnd.engine.fields import SYSTEM, Fields
from turnd.engine.heldback import HeldBack
from turnd.engine.sockaddr import SockAddr, raw_address, shown_address
from turnd.engine.tally import Tally
from turnd.stun.addresses import (
    WILDCARDS,
    AddressFamily,
    ChannelNumber,
    PeerAddress,
    TransportAddress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from turnd.engine.icmp import IcmpRate


class Transmit(Protocol):
    """Sends bytes to an address of the transmitter's own kind; raises OSError when it cannot."""

    def __call__(self, data: bytes, address: Any, fields: Fields = ..., /) -> object:
        """`fields`: what the IP header says beside; it is nothing to a connection."""
        ...


_TIDY_BATCH = 2_000


class Channel:
    """One channel binding (RFC 8656 section 12), with what a packet needs precomputed."""

    __slots__ = ("deadline", "guarded", "header", "number", "peer", "relay", "target")

    def __init__(
        self, number: ChannelNumber, peer: PeerAddress, relay: Relay, deadline: float
    ) -> None:
        self.number = number
        self.header = number.to_bytes(2, "big")
        self.peer = peer
        self.relay = relay
        self.deadline = deadline
        self.target: SockAddr = peer
        self.guarded = True


class Client:
    """One five-tuple that has relays, had them a moment ago, or is held back until it has."""

    __slots__ = ("address", "channels", "held", "leg", "relays", "successor", "transmit", "until")

    def __init__(self, leg: Leg, transmit: Transmit, address: Any) -> None:
        self.leg = leg
        self.transmit = transmit
        self.address = address
        self.channels: dict[int, Channel] = {}
        self.relays: tuple[Relay, ...] = ()
        self.held: HeldBack | None = None
        self.successor: Client | None = None
        """Whom its relays were handed over to: its media is for them while `now < until`."""
        self.until = -inf

    def relay_for(self, family: AddressFamily) -> Relay | None:
        """The relayed transport address of a family."""
        for relay in self.relays:
            if relay.bound.family is family:
                return relay
        return None


class Relay:
    """One relayed transport address and what it lets pass."""

    __slots__ = (
        "bound",
        "buckets",
        "channels",
        "client",
        "counters",
        "deadline",
        "drops",
        "face",
        "icmp_rate",
        "last_from_client",
        "last_to_client",
        "permissions",
        "relay_id",
        "transmit",
    )

    def __init__(
        self,
        relay_id: RelayId,
        bound: TransportAddress,
        deadline: float,
        transmit: Transmit,
    ) -> None:
        self.relay_id = relay_id
        self.bound = bound
        self.deadline = deadline
        self.transmit = transmit
        self.face = bound.host
        """The shown host that was in force when it was opened."""
        self.client: Client | None = None
        self.permissions: dict[str, float] = {}
        """Deadlines by shown host."""
        self.channels: dict[SockAddr, Channel] = {}
        """By raw address of the peer."""
        self.buckets: tuple[Bucket, ...] = ()
        """Where every packet has to find room."""
        self.counters = RelayCounters()
        self.last_from_client = self.last_to_client = 0.0
        self.drops: dict[Drop, int] | None = None
        self.icmp_rate: IcmpRate | None = None
        """Of a relay that has met with one."""

    def report(self) -> RelayReport:
        """What was counted here, a snapshot."""
        return RelayReport(
            replace(self.counters),
            self.last_from_client,
            self.last_to_client,
            dict(self.drops or ()),
        )

    def transmit_unfragmented(self, data: bytes, target: SockAddr, fields: Fields = SYSTEM) -> None:
        """Send to a raw address with the Don't Fragment bit; raises OSError when it cannot."""
        self.transmit(data, target, fields)


class Rules:
    """All relays of an engine and what is protected from them."""

    def __init__(self, is_local: Callable[[str], bool]) -> None:
        """`is_local` says whether a host in canonical text is an address of this machine."""
        self.tally = Tally()
        self.buckets = Buckets()
        self.clients: dict[Leg, Client] = {}
        self.former: dict[Leg, Client] = {}
        """Those whose relays were handed over a moment ago."""
        self.relays: dict[RelayId, Relay] = {}
        self._relayed: dict[TransportAddress, Relay] = {}
        self._is_local = is_local
        self._endpoints: frozenset[TransportAddress] = frozenset()
        self._endpoint_ports: frozenset[int] = frozenset()
        self._wildcard_ports: frozenset[int] = frozenset()
        self._bound_of: dict[str, str] = {}
        self._announced_of: dict[str, str] = {}
        self._untidied: list[RelayId] = []

    def add(self, relay: Relay, buckets: Iterable[BucketId] = ()) -> None:
        """A relayed transport address is bound."""
        relay.face = self._announced_of.get(relay.bound.host, relay.bound.host)
        self.relays[relay.relay_id] = relay
        self._relayed[relay.bound] = relay
        self.name_buckets(relay, buckets)

    def name_buckets(self, relay: Relay, buckets: Iterable[BucketId]) -> None:
        """Where the relay's packets have to find room from now on."""
        relay.buckets = self.buckets.named(buckets)

    def assign(self, relay: Relay, client: Client) -> Client | None:
        """Give a relay to a client. Returns the client that lost its last relay by that."""
        former = relay.client
        if former is not None:
            former = self._leave(relay, former)
        self.tally.resume(client.leg, relay.counters)
        self.former.pop(client.leg, None)
        relay.client = client
        self.clients[client.leg] = client
        client.relays = (*client.relays, relay)
        for channel in relay.channels.values():
            client.channels[channel.number] = channel
        return former

    def remove(self, relay_id: RelayId) -> tuple[Relay | None, Client | None]:
        """Forget a relay. Returns it, and its client when that was the client's last relay."""
        relay = self.relays.pop(relay_id, None)
        if relay is None:
            return None, None
        del self._relayed[relay.bound]
        relay.deadline = -inf
        client = relay.client
        if client is not None:
            client = self._leave(relay, client)
        return relay, client

    def abandon(self, client: Client) -> None:
        """A client's connection has ended: its relays, if it has any, serve nobody."""
        for relay in client.relays:
            self._leave(relay, client)
        self.clients.pop(client.leg, None)
        self.former.pop(client.leg, None)
        for _ in self.let_in(client):
            self.tally.drop(Drop.NO_ALLOCATION)

    def follow(self, former: Client, client: Client, now: float) -> bool:
        """A client's last relay was handed over to another: what it has under way follows.

        False: it was not the last, or too many are followed already.
        """
        if former.relays or len(self.former) >= FORMER_LEGS:
            return False
        former.successor, former.until = client, now + FORMER_LEG_GRACE
        self.former[former.leg] = former
        return True

    def forget_former(self, now: float) -> list[Client]:
        """Nothing more is expected of these clients, whose relays were handed over."""
        gone = [former for former in self.former.values() if now >= former.until]
        for former in gone:
            del self.former[former.leg]
        return gone

    def hold_back(self, client: Client, tell: Callable[[], object]) -> None:
        """Keep what a client without relays sends; `tell` is called for the first of it."""
        if not client.relays and client.held is None:
            client.held = HeldBack(tell)
            self.clients[client.leg] = client
            self.former.pop(client.leg, None)

    def let_in(self, client: Client) -> Sequence[tuple[bytes, Fields | None]]:
        """Hold a client back no longer. Returns what waits; forgets who has no relays."""
        held, client.held = client.held, None
        if not client.relays:
            self.clients.pop(client.leg, None)
        return () if held is None else held.messages

    def _leave(self, relay: Relay, client: Client) -> Client | None:
        self.tally.retire(client.leg, relay.counters)
        relay.client = None
        for channel in relay.channels.values():
            client.channels.pop(channel.number, None)
        client.relays = tuple(other for other in client.relays if other is not relay)
        if client.relays:
            return None
        del self.clients[client.leg]
        return client

    def permit(self, relay_id: RelayId, peer_host: str, deadline: float, now: float) -> None:
        """Install, extend or, with a deadline that has passed, remove a permission."""
        relay = self.relays.get(relay_id)
        if relay is None:
            return
        if now < deadline:
            relay.permissions[peer_host] = deadline
        else:
            relay.permissions.pop(peer_host, None)

    def bind_channel(
        self,
        relay_id: RelayId,
        number: ChannelNumber,
        peer: PeerAddress,
        deadline: float,
        now: float,
    ) -> None:
        """Install, extend or, with a deadline that has passed, remove a channel binding."""
        relay = self.relays.get(relay_id)
        if relay is None:
            return
        target = self._target(peer)
        channel = relay.channels.get(target)
        if channel is not None:
            if channel.number == number and now < deadline:
                channel.deadline = deadline
                return
            self._unbind(channel)
        # A number has one peer and a peer one number (section 12): what stood in the way is gone.
        holders = (relay,) if relay.client is None else relay.client.relays
        for other in [c for holder in holders for c in holder.channels.values()]:
            if other.number == number:
                self._unbind(other)
        if now < deadline:
            self._bind(Channel(number, peer, relay, deadline))

    def _bind(self, channel: Channel) -> None:
        relay = channel.relay
        channel.target = self._target(channel.peer)
        channel.guarded = self._is_guarded(channel.peer)
        namesake = relay.channels.get(channel.target)
        if namesake is not None:
            # Two peers have become one: the same port by its announced and its bound host.
            self._unbind(namesake)
        relay.channels[channel.target] = channel
        if relay.client is not None:
            relay.client.channels[channel.number] = channel

    def _unbind(self, channel: Channel) -> None:
        relay = channel.relay
        if relay.channels.get(channel.target) is channel:
            del relay.channels[channel.target]
        if relay.client is not None and relay.client.channels.get(channel.number) is channel:
            del relay.client.channels[channel.number]

    def extend(self, relay_id: RelayId, deadline: float) -> None:
        """Set a relay's end."""
        relay = self.relays.get(relay_id)
        if relay is not None:
            relay.deadline = deadline

    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None:
        """What may never be reached; see `RelayEngine.protect`."""
        self._endpoints = frozenset(TransportAddress(*endpoint) for endpoint in endpoints)
        self._endpoint_ports = frozenset(endpoint.port for endpoint in self._endpoints)
        self._wildcard_ports = frozenset(
            endpoint.port for endpoint in self._endpoints if endpoint.host in WILDCARDS
        )
        self._announced_of = {bound: announced for announced, bound in own_addresses.items()}
        # Who addresses a bound host directly is held to the same ports.
        self._bound_of = {bound: bound for bound in own_addresses.values()} | dict(own_addresses)
        for relay in self.relays.values():
            channels = list(relay.channels.values())
            relay.channels.clear()
            for channel in channels:
                self._bind(channel)

    def _is_guarded(self, peer: PeerAddress) -> bool:
        host, port = peer
        return port in self._endpoint_ports or host in self._bound_of or host in WILDCARDS

    def _target(self, peer: PeerAddress) -> SockAddr:
        bound = self._bound_of.get(peer.host)
        return raw_address(peer if bound is None else TransportAddress(bound, peer.port))

    def is_forbidden(self, peer: PeerAddress, now: float) -> bool:
        """Whether a peer is a protected endpoint, or a port of ours that is not relayed now."""
        if self.is_protected(peer):
            return True
        bound = self._bound_of.get(peer.host)
        if bound is None:
            return False
        relay = self._relayed.get(TransportAddress(bound, peer.port))
        return relay is None or now >= relay.deadline

    def is_protected(self, peer: TransportAddress) -> bool:
        """Whether a peer is a protected endpoint."""
        host, port = peer
        if host in WILDCARDS:
            return True  # the system takes it for the address that the relay sends from
        bound = self._bound_of.get(host)
        if port in self._endpoint_ports:
            hosts = {host.partition("%")[0], bound or host}
            if any(TransportAddress(each, port) in self._endpoints for each in hosts):
                return True
            if port in self._wildcard_ports and (bound is not None or self._is_local(host)):
                return True
        return False

    def send_target(self, peer: PeerAddress, now: float) -> SockAddr | None:
        """Where a Send indication's data goes; None: it may not."""
        if self._is_guarded(peer) and self.is_forbidden(peer, now):
            return None
        return self._target(peer)

    def peer_of(self, source: SockAddr) -> PeerAddress:
        """The sender of a peer's datagram as clients know it."""
        shown = shown_address(source)
        announced = self._announced_of.get(shown.host)
        if announced is None:
            return PeerAddress(shown)
        relay = self._relayed.get(shown)
        return PeerAddress(shown._replace(host=announced if relay is None else relay.face))

    def tidy(self, now: float) -> None:
        """Drop expired permissions and channels of a bounded number of relays."""
        if not self._untidied:
            self._untidied = list(self.relays)
        batch = self._untidied[-_TIDY_BATCH:]
        del self._untidied[-_TIDY_BATCH:]
        for relay in filter(None, map(self.relays.get, batch)):
            for host in [h for h, end in relay.permissions.items() if now >= end]:
                del relay.permissions[host]
            for channel in [c for c in relay.channels.values() if now >= c.deadline]:
                self._unbind(channel)

    def counters(
        self, streams: int, pipes: Iterable[tuple[Leg, RelayCounters]] = ()
    ) -> EngineCounters:
        """A snapshot over all relays and pipes, those that are gone included."""
        relays = (
            (relay.client.leg, relay.counters)
            for relay in self.relays.values()
            if relay.client is not None
        )
        totals, by_transport, by_listener = self.tally.sums(chain(relays, pipes))
        return EngineCounters(
            totals,
            by_transport,
            by_listener,
            dict(self.tally.drops),
            relays=len(self.relays),
            streams=streams,
            icmp_errors=self.tally.icmp_errors,
        )
