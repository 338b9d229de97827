"""An allocation: who it belongs to, its relayed transport addresses, and what each may reach.

Rules
    1.  A permission lasts 300 s and a channel 600 s, each from its last refresh; a channel's
        ChannelBind refreshes the permission too, for its 300 s (RFC 8656 sections 9 and 12).
    2.  Whatever has the deadline d is gone at `now >= d`, swept or not.
    3.  Permissions and channels belong to the relay of their address family. The caps count those
        of all relays of the allocation that are alive.
    4.  Changes go through `AllocationTable`, which has to know of every new deadline.

The five-tuple and the engine's handle are opaque here; what handlers remember of an allocation
beside this is theirs to add, in a class of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from math import inf

from turnd.stun.addresses import (
    AddressFamily,
    ChannelNumber,
    PeerAddress,
    RelayedAddress,
    TransportAddress,
    family_of,
)

LegKey = Hashable
"""The five-tuple: a value of the engine that is unique as long as it has an allocation."""


class RelayedTransport(IntEnum):
    """What an allocation relays by: the protocol numbers that REQUESTED-TRANSPORT names."""

    TCP = 6
    UDP = 17


MIN_CHANNEL_NUMBER = 0x4000
MAX_CHANNEL_NUMBER = 0x4FFF


class PermitRefusal(StrEnum):
    """Why a permission cannot be installed."""

    FAMILY_MISMATCH = "no relayed transport address of the peer's family"  # 443
    FULL = "too many permissions"  # 508


class BindRefusal(StrEnum):
    """Why a channel cannot be bound (RFC 8656 section 12.2)."""

    INVALID_NUMBER = "a channel number is 0x4000 to 0x4FFF"  # 400
    NUMBER_TAKEN = "the channel number is bound to another peer"  # 400
    PEER_TAKEN = "the peer is bound to another channel number"  # 400
    FAMILY_MISMATCH = "no relayed transport address of the peer's family"  # 443
    FULL = "too many channels or permissions"  # 508


@dataclass(frozen=True, slots=True)
class AllocationLimits:
    """Lifetimes in seconds and caps per allocation.

    The lifetimes are the RFC's constants; only tests have a reason to change them.
    """

    permission_lifetime: float = 300.0
    channel_lifetime: float = 600.0
    max_permissions: int = 256
    max_channels: int = 256


@dataclass(slots=True)
class Channel:
    """A channel binding."""

    peer: PeerAddress
    deadline: float


@dataclass(slots=True, eq=False)
class Relay:
    """One relayed transport address of an allocation."""

    relay_id: int
    """The engine's handle."""
    bound: TransportAddress
    """Where the socket is; its port goes back to the `RelayPorts` of its host."""
    announced: RelayedAddress
    deadline: float
    permissions: dict[str, float] = field(default_factory=dict)
    """Deadline by peer's host."""
    channels: dict[ChannelNumber, Channel] = field(default_factory=dict)

    @property
    def family(self) -> AddressFamily:
        """Of the relayed transport address, hence of its peers."""
        return family_of(self.announced.host)

    def next_deadline(self) -> float:
        """When the first of the relay, its permissions and its channels ends."""
        first = self.deadline
        for deadline in self.permissions.values():
            first = min(first, deadline)
        for channel in self.channels.values():
            first = min(first, channel.deadline)
        return first


@dataclass(slots=True, eq=False, kw_only=True)
class Allocation:
    """An allocation with one relay, or a dual one with one of each family."""

    leg: LegKey
    client_host: str
    realm: str
    user: str
    """Whose requests are obeyed; those of others get 441."""
    quota_user: str
    """Who it is counted for: many REST user names may stand for one user."""
    created_at: float
    relays: tuple[Relay, ...]
    """One or two; none once the allocation has ended."""
    next_leg: LegKey | None = None
    """Another five-tuple that the client may be at already; the table's own."""
    transport: RelayedTransport = RelayedTransport.UDP
    wake_at: float = field(default=inf, repr=False)
    """When the table looks at it next; the table's own."""

    def relay(self, family: AddressFamily) -> Relay | None:
        """The relay of a family, if there is one."""
        for relay in self.relays:
            if relay.family is family:
                return relay
        return None

    def relay_for(self, host: str) -> Relay | None:
        """The relay that can reach a host, if there is one."""
        return self.relay(family_of(host))

    @property
    def deadline(self) -> float:
        """When its last relay ends; -inf once the allocation has ended."""
        return max((relay.deadline for relay in self.relays), default=-inf)

    def next_deadline(self) -> float:
        """When the first of all that belongs to it ends; inf once it has ended."""
        first = inf
        for relay in self.relays:
            first = min(first, relay.next_deadline())
        return first

    def permits(self, host: str, now: float) -> bool:
        """Whether a permission for the host is alive."""
        relay = self.relay_for(host)
        return relay is not None and relay.permissions.get(host, -inf) > now

    def channel_of(self, peer: PeerAddress, now: float) -> ChannelNumber | None:
        """The channel bound to a peer, if one is alive."""
        relay = self.relay_for(peer.host)
        if relay is None:
            return None
        # A search, since only ChannelBind asks and a second dict per relay costs 230 bytes.
        for number, channel in relay.channels.items():
            if channel.peer == peer and channel.deadline > now:
                return number
        return None

    def peer_of(self, number: ChannelNumber, now: float) -> PeerAddress | None:
        """The peer a channel number is bound to, if it is."""
        for relay in self.relays:
            channel = relay.channels.get(number)
            if channel is not None and channel.deadline > now:
                return channel.peer
        return None

    def permit_refusal(
        self, hosts: Iterable[str], now: float, limits: AllocationLimits
    ) -> PermitRefusal | None:
        """Why these hosts cannot all be given a permission; None when they can."""
        new: set[str] = set()
        for host in hosts:
            if self.relay_for(host) is None:
                return PermitRefusal.FAMILY_MISMATCH
            if not self.permits(host, now):
                new.add(host)
        if new and self.live_permissions(now) + len(new) > limits.max_permissions:
            return PermitRefusal.FULL
        return None

    def bind_refusal(
        self, number: ChannelNumber, peer: PeerAddress, now: float, limits: AllocationLimits
    ) -> BindRefusal | None:
        """Why a channel cannot be bound or refreshed, in the RFC's order; None when it can."""
        if not MIN_CHANNEL_NUMBER <= number <= MAX_CHANNEL_NUMBER:
            return BindRefusal.INVALID_NUMBER
        bound_peer = self.peer_of(number, now)
        if bound_peer not in {None, peer}:
            return BindRefusal.NUMBER_TAKEN
        if self.channel_of(peer, now) not in {None, number}:
            return BindRefusal.PEER_TAKEN
        if self.relay_for(peer.host) is None:
            return BindRefusal.FAMILY_MISMATCH
        full = bound_peer is None and self.live_channels(now) >= limits.max_channels
        if full or self.permit_refusal((peer.host,), now, limits) is not None:
            return BindRefusal.FULL
        return None

    def live_permissions(self, now: float) -> int:
        """How many permissions are alive."""
        return sum(
            deadline > now for relay in self.relays for deadline in relay.permissions.values()
        )

    def live_channels(self, now: float) -> int:
        """How many channels are bound."""
        return sum(
            channel.deadline > now for relay in self.relays for channel in relay.channels.values()
        )
