"""What the engine counts: packets and bytes by direction, drops by reason, the time inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.engine.events import ListenerId, Transport


class Drop(StrEnum):
    """Why a packet went no further; the label of `turnd_packets_dropped_total`."""

    NOT_STUN = "not_stun"  # neither STUN nor ChannelData, or a length that lies
    NO_ALLOCATION = "no_allocation"  # ChannelData or Send from a five-tuple without allocation
    NO_CLIENT = "no_client"  # from a peer, while the client's connection is gone
    NO_CHANNEL = "no_channel"  # ChannelData on a number that is not bound, or no longer
    NO_PERMISSION = "no_permission"  # a peer, or a Send towards one, without permission
    FORBIDDEN_PEER = "forbidden_peer"  # a protected endpoint, or a port of ours not relayed now
    MALFORMED_INDICATION = "malformed_indication"  # Send without peer or data, or unknown required
    TOO_BIG = "too_big"  # EMSGSIZE: the path's MTU, or over what fits a datagram
    REFUSED = "refused"  # the host's firewall, no route, ICMP errors
    QUEUE_FULL = "queue_full"  # the kernel's or our queue towards the receiver is full
    HAND_UP_FULL = "hand_up_full"  # more messages waiting for a decision than the bound allows
    EXPIRED = "expired"  # the allocation has ended, its relay is about to close
    PROXY_HEADER = "proxy_header"  # a trusted proxy's datagram without a header, or with a bad one
    DTLS_RECORD = "dtls_record"  # of no session; or no record where only DTLS is served
    DTLS_HANDSHAKE = "dtls_handshake"  # beyond the bound of handshakes, or what one keeps
    BANDWIDTH = "bandwidth"  # over the rate of its allocation, of its user or of the server
    HOP_LIMIT = "hop_limit"  # its TTL or hop limit has run out
    ICMP_RATE = "icmp_rate"  # an ICMP error beyond those that a client is told of


@dataclass(slots=True)
class RelayCounters:
    """Relayed packets and payload bytes by direction: of one relay, or sums over many."""

    packets_from_client: int = 0
    bytes_from_client: int = 0
    packets_to_client: int = 0
    bytes_to_client: int = 0


@dataclass(frozen=True, slots=True)
class RelayReport:
    """One relay by itself."""

    counters: RelayCounters
    last_from_client: float
    """When the last packet of this direction was relayed, in monotonic seconds; 0.0: never."""
    last_to_client: float
    drops: Mapping[Drop, int]
    """Packets that met this relay's rules or its sockets' and went no further; reasons that never
    came up may be missing."""


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """How long relayed packets spend inside, of those that were measured."""

    bounds: tuple[float, ...]
    """Seconds, ascending."""
    counts: tuple[int, ...]
    """Packets that took at most so long and longer than the bound before; one count more than
    there are bounds, for what took longer than all."""
    total: float
    """The sum of all times in seconds."""


@dataclass(slots=True)
class EngineCounters:
    """A snapshot; sums never go down, also when relays close and listeners do."""

    totals: RelayCounters = field(default_factory=RelayCounters)
    by_transport: dict[Transport, RelayCounters] = field(default_factory=dict)
    """By the transport of the client's leg."""
    by_listener: dict[ListenerId, RelayCounters] = field(default_factory=dict)
    """By the listener of the client's leg; one that has relayed nothing may be missing."""
    drops: dict[Drop, int] = field(default_factory=dict)
    relays: int = 0
    streams: int = 0
    """Connections: streams and DTLS sessions, those in their handshake included."""
    bindings_answered: int = 0
    """Plain Binding requests that the engine answered itself."""
    challenges: int = 0
    """First requests that the engine challenged itself."""
    icmp_errors: int = 0
    """ICMP errors for packets to peers that clients were told of."""
    over_budget: int = 0
    """Requests of either kind, and hellos of DTLS, that it left without an answer, since the budget
    was used up."""
    faults: int = 0
    """Faults of the engine's own that it survived; each cost what it had just received."""
    latency: LatencyHistogram | None = None
    """None: the engine does not measure."""
