"""What `/metrics` tells, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.base import EngineCounters, RelayCounters
from turnd.listeners.passthrough import Passed

if TYPE_CHECKING:
    from collections.abc import Mapping


class AllocationLabels(NamedTuple):
    """What live allocations are told apart by."""

    transport: str
    """`udp`, `tcp`, `tls`: what the client talks to us by."""
    family: str
    """`ipv4`, `ipv6`, `dual` (one allocation with both)."""
    realm: str


class RefusalLabels(NamedTuple):
    """What refused requests are told apart by."""

    method: str
    """`allocate`, `refresh`, …"""
    code: str
    """The STUN error code."""


class AddressLabels(NamedTuple):
    """A relay address."""

    bound: str
    announced: str


class PortUse(NamedTuple):
    """Ports of one relay address."""

    in_use: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Reload:
    """How the last reading of the configuration went; the start counts as the first."""

    successful: bool
    at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `/metrics` tells. Sums since the start, by label value, never go down."""

    version: str
    engine_name: str
    engine_reason: str
    """Why this engine runs, in words."""
    engine: EngineCounters = field(default_factory=EngineCounters)
    engine_details: Mapping[str, str] = field(default_factory=dict)
    """How the engine works, see `RelayEngine.details`."""
    listeners: Mapping[str, RelayCounters] = field(default_factory=dict)
    """What was relayed for the clients of each of the server's own endpoints."""
    allocations: Mapping[AllocationLabels, int] = field(default_factory=dict)
    allocation_results: Mapping[str, int] = field(default_factory=dict)
    """Allocate requests by what came of them: `created`, or the reason of the refusal."""
    allocations_moved: int = 0
    """Times that an allocation has followed its client to another five-tuple."""
    allocations_ended: Mapping[str, int] = field(default_factory=dict)
    """By `EndReason`."""
    requests_refused: Mapping[RefusalLabels, int] = field(default_factory=dict)
    """Authenticated requests that got an error response."""
    messages_dropped: Mapping[str, int] = field(default_factory=dict)
    """Messages without an answer, by `Dropped`."""
    auth_failures: Mapping[str, int] = field(default_factory=dict)
    """By `FailureReason`; a client's first 401 is no failure."""
    challenges: int = 0
    """401 answers that asked for credentials."""
    binding_requests: int = 0
    unauthenticated_dropped: int = 0
    """Unauthenticated answers that the budget of their source prefix held back."""
    relay_ports: Mapping[str, PortUse] = field(default_factory=dict)
    """By the server's own relay address."""
    relay_addresses: Mapping[AddressLabels, int] = field(default_factory=dict)
    """Those that new allocations get, each with 1."""
    relay_address_changes: int = 0
    relay_addresses_missing: int = 0
    """Entries of the configuration that give less than they should."""
    alternates: Mapping[str, bool] = field(default_factory=dict)
    """Whether other servers live, by address."""
    certificates: Mapping[str, float] = field(default_factory=dict)
    """Path of each certificate → unix second of its end."""
    reload: Reload | None = None
    streams_opened: Mapping[str, int] = field(default_factory=dict)
    """By transport."""
    streams_closed: Mapping[str, int] = field(default_factory=dict)
    """By `CloseReason`."""
    streams_refused: Mapping[str, int] = field(default_factory=dict)
    """By `StreamRefusal`."""
    passed: Passed = field(default_factory=Passed)
    """What went through to the web server behind."""
    peer_connections: Mapping[str, int] = field(default_factory=dict)
    """With peers (RFC 6062), by how far they have come: `connecting`, `pending`, `bound`."""
    peer_connections_opened: Mapping[str, int] = field(default_factory=dict)
    """By who made them: `incoming`, `outgoing`."""
    peer_connections_ended: Mapping[str, int] = field(default_factory=dict)
    """By `ConnectionEnd`."""
    peer_connections_refused: Mapping[str, int] = field(default_factory=dict)
    """Incoming ones, by `PeerRefusal`."""
    log_records_dropped: int = 0
    redis_available: bool | None = None
    """None: no Redis is configured."""
    user_allocations: Mapping[str, int] | None = None
    """Live allocations by user; None unless an admin opted in."""
