"""The door between those who decide and what moves packets: `RelayEngine`.

Rules of the house
    1.  No verb blocks, and none raises for what the network did. What can fail says so in its
        return value (`RelayError`) or later as a counted drop.
    2.  What a verb says is in force when it returns: a packet handled afterwards meets the new
        rule, and an answer sent afterwards cannot overtake it.
    3.  Every rule carries its own deadline (seconds of the engine's monotonic clock) that is
        compared per packet; nobody has to tidy up for expiry to be exact.
    4.  A UDP leg is a plain value. The engine remembers a UDP client only from `open_relay` on.
        Handles (`RelayId`, `Leg.stream`, `ListenerId`) are never used twice.
    5.  Every queue has a bound; at the bound a packet is dropped and counted by reason.

The engine relays by itself what needs no decision: ChannelData and Send indications from a client
to its peers, peers' datagrams to their client as ChannelData or Data indications. All else that a
client sends is handed up by `poll`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType, Protocol

from turnd.stun.addresses import (
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    RelayedAddress,
    ServerAddress,
    TransportAddress,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping, Sequence

ListenerId = NewType("ListenerId", int)
RelayId = NewType("RelayId", int)


class Transport(StrEnum):
    """What a client talks to us by."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"

    @property
    def is_stream(self) -> bool:
        """Whether messages arrive framed in a byte stream."""
        return self is not Transport.UDP


class Leg(NamedTuple):
    """The client's side of a five-tuple; hashable and the key of an allocation.

    `stream` is 0 for UDP. For streams it tells this connection from a later one with the same
    addresses.
    """

    listener: ListenerId
    transport: Transport
    local: ServerAddress
    client: ClientAddress
    stream: int = 0


class RelayError(Enum):
    """Why `open_relay` could not bind."""

    PORT_TAKEN = "the port is in use"
    NO_SUCH_ADDRESS = "the address is not one of this host"
    NO_DESCRIPTORS = "out of file descriptors"
    OTHER = "the system refused"


class Drop(StrEnum):
    """Why a packet went no further; the label of `turnd_packets_dropped_total`."""

    NOT_STUN = "not_stun"  # neither STUN nor ChannelData, or a length that lies
    NO_ALLOCATION = "no_allocation"  # ChannelData or Send from a five-tuple without allocation
    NO_CHANNEL = "no_channel"  # ChannelData on a number that is not bound, or no longer
    NO_PERMISSION = "no_permission"  # a peer, or a Send towards one, without permission
    FORBIDDEN_PEER = "forbidden_peer"  # a protected endpoint, or a port of ours not relayed now
    MALFORMED_INDICATION = "malformed_indication"  # Send without peer or data, or unknown required
    TOO_BIG = "too_big"  # EMSGSIZE: the path's MTU, or over what fits a datagram
    REFUSED = "refused"  # the host's firewall, no route, ICMP errors
    QUEUE_FULL = "queue_full"  # the kernel's or our queue towards the receiver is full
    HAND_UP_FULL = "hand_up_full"  # more messages waiting for a decision than the bound allows
    EXPIRED = "expired"  # the allocation has ended, its relay is about to close


class CloseReason(StrEnum):
    """Why a stream leg ended; the label of `turnd_streams_closed_total`."""

    CLIENT = "client"  # the client closed or reset the connection
    GARBAGE = "garbage"  # neither STUN nor ChannelData where a frame begins
    FRAME_TIMEOUT = "frame_timeout"  # a frame trickled in for longer than the deadline
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    HANDSHAKE_FAILED = "handshake_failed"
    UNAUTHENTICATED = "unauthenticated"  # no authenticated request within the deadline
    SERVER = "server"  # shutdown or an admin's order


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What holds for one endpoint and the streams that came in by it."""

    receive_buffer: int = 4 << 20
    """SO_RCVBUF of the listener's and its relays' UDP sockets, in bytes; 0: the system's."""
    send_buffer: int = 4 << 20
    stream_backlog: int = 256 << 10
    """Bytes that wait for a slow stream client at most; beyond, its newest media is dropped."""
    handshake_timeout: float = 10.0
    frame_timeout: float = 10.0
    """Seconds from a frame's first byte to its last."""
    tls: ssl.SSLContext | None = None
    """Needed to adopt TLS streams; chooses certificates by SNI itself."""


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A STUN message (by its first two bits) for Python to decide on. Untrusted."""

    leg: Leg
    data: bytes


@dataclass(frozen=True, slots=True)
class LegOpened:
    """A stream is ready: at once for TCP, after the handshake for TLS."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class LegClosed:
    """A stream has ended; its relays are closed already. Comes also for a failed handshake."""

    leg: Leg
    reason: CloseReason


Event = ClientMessage | LegOpened | LegClosed


@dataclass(slots=True)
class RelayCounters:
    """Packets and payload bytes of one relay, by direction."""

    packets_from_client: int = 0
    bytes_from_client: int = 0
    packets_to_client: int = 0
    bytes_to_client: int = 0


@dataclass(slots=True)
class EngineCounters:
    """A snapshot; sums never go down, also when relays close."""

    totals: RelayCounters = field(default_factory=RelayCounters)
    by_transport: dict[Transport, RelayCounters] = field(default_factory=dict)
    drops: dict[Drop, int] = field(default_factory=dict)
    relays: int = 0
    streams: int = 0


class RelayEngine(Protocol):
    """What moves packets. One event loop's thread calls all verbs."""

    name: str
    """`portable`, `native`, `fake`: for the first line, the metric and `turnd check`."""

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to move packets. `wake` is called in the loop's thread when `poll` has events."""
        ...

    def stop(self) -> None:
        """Close everything. Handles are dead afterwards."""
        ...

    def listen(
        self, endpoint: TransportAddress, settings: ListenerSettings, fd: int | None = None
    ) -> ListenerId:
        """Serve UDP at an endpoint, or on an inherited, bound descriptor (then owned by us).

        Raises:
            OSError: the endpoint cannot be bound. This one verb runs at start, where an admin
                waits for the reason.
        """
        ...

    def stream_listener(self, settings: ListenerSettings) -> ListenerId:
        """A handle under which streams of one accepting endpoint are adopted."""
        ...

    def configure(self, listener: ListenerId, settings: ListenerSettings) -> None:
        """New settings for the listener; open streams keep their TLS session."""
        ...

    def close_listener(self, listener: ListenerId) -> None:
        """No new clients by this listener. UDP legs with relays end with it, streams stay."""
        ...

    def endpoint(self, listener: ListenerId) -> TransportAddress:
        """Where a UDP listener is bound (port 0 resolved)."""
        ...

    def adopt(
        self,
        fd: int,
        listener: ListenerId,
        transport: Transport,
        client: ClientAddress,
        local: ServerAddress,
        first_bytes: bytes = b"",
    ) -> Leg:
        """Take over a connected stream (the descriptor is ours from now on).

        `first_bytes` were read from the socket already and come before all else. `LegOpened`
        follows, or `LegClosed` when the handshake fails.
        """
        ...

    def close_leg(self, leg: Leg, reason: CloseReason) -> None:
        """End a stream (after what waits to be sent, as far as the socket takes it at once)."""
        ...

    def open_relay(
        self, leg: Leg | None, bound: TransportAddress, deadline: float
    ) -> RelayId | RelayError:
        """Bind a relayed transport address for a leg; without a leg it is a reservation.

        A leg has one relay a family at most.
        """
        ...

    def move(self, relay: RelayId, leg: Leg, deadline: float) -> None:
        """Give a reserved relay to the leg that claimed it."""
        ...

    def permit(self, relay: RelayId, peer_host: str, deadline: float) -> None:
        """Install or extend a permission. A deadline that has passed removes it."""
        ...

    def bind_channel(
        self, relay: RelayId, number: ChannelNumber, peer: PeerAddress, deadline: float
    ) -> None:
        """Install or extend a channel binding. A deadline that has passed removes it."""
        ...

    def extend(self, relay: RelayId, deadline: float) -> None:
        """Set the relay's end: sooner or later than before."""
        ...

    def close_relay(self, relay: RelayId) -> None:
        """Close the socket and forget all its rules, now. Unknown handles are fine."""
        ...

    def protect(
        self, endpoints: Iterable[TransportAddress], own_addresses: Mapping[str, str]
    ) -> None:
        """What may never be reached, whatever permission is held; replaces what was said before.

        `endpoints`: our listeners, Redis, admin; a wildcard host stands for every address of this
        host. `own_addresses`: announced host → bound host of every relay address that clients may
        address each other at. There only ports that are relayed at that moment are reachable;
        packets to an announced host go to its bound host, and what comes from a bound host is
        shown as from the announced one.
        """
        ...

    def send_to_client(self, leg: Leg, data: bytes) -> None:
        """Send a STUN message to a client, from the address it came to."""
        ...

    def poll(self) -> Sequence[Event]:
        """All events since the last call, oldest first, a bounded batch."""
        ...

    def tick(self) -> None:
        """Time has passed: close streams over their deadlines, drop expired rules.

        Called about once a second; exactness does not depend on it.
        """
        ...

    def counters(self) -> EngineCounters:
        """Totals over all relays."""
        ...

    def relay_counters(self, relay: RelayId) -> RelayCounters | None:
        """One relay's counters; None when it is closed."""
        ...


__all__ = [
    "ClientMessage",
    "CloseReason",
    "Drop",
    "EngineCounters",
    "Event",
    "Leg",
    "LegClosed",
    "LegOpened",
    "ListenerId",
    "ListenerSettings",
    "RelayCounters",
    "RelayEngine",
    "RelayError",
    "RelayId",
    "RelayedAddress",
    "Transport",
]
