"""All allocations by five-tuple, and when what of them ends (RFC 8656 section 6).

How to use it
    1.  Call `expire(now)` before anything else is decided at `now`; it costs next to nothing when
        nothing has ended. Then `get` is exact: what it returns is alive.
    2.  The table calls nobody. What ends, by time or by `remove`, is returned as plain records;
        the caller closes the engine's relay first and then gives its port back to `RelayPorts`,
        because a port rests from the moment its socket is gone.
    3.  The quota is released with the allocation's last relay, and a reservation's place with
        the reservation.

Every allocation has one valid entry in a heap: when to look at it next. A refresh moves deadlines
away and leaves the entry where it is; only a deadline that is sooner makes a new one. What is no
longer valid is dropped when it comes up, or when the heap has grown to twice its use.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from turnd.allocations.allocation import (
    Allocation,
    AllocationLimits,
    BindRefusal,
    Channel,
    LegKey,
    PermitRefusal,
    Relay,
)
from turnd.stun.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from turnd.allocations.quotas import Quotas
    from turnd.allocations.reservations import Reservation, Reservations
    from turnd.stun.addresses import AddressFamily, ChannelNumber, PeerAddress

A = TypeVar("A", bound=Allocation)

_HEAP_SLACK = 64


class RelayEnded(NamedTuple):
    """A relayed transport address is gone, with its permissions and channels.

    The caller closes the relay and releases its port.
    """

    allocation: Allocation
    relay: Relay


class AllocationEnded(NamedTuple, Generic[A]):
    """The last relay is gone; comes right after its `RelayEnded`."""

    allocation: A


class PermissionEnded(NamedTuple):
    """A permission has run out. The engine knows its deadline."""

    allocation: Allocation
    relay: Relay
    host: str


class ChannelEnded(NamedTuple):
    """A channel is no longer bound. The engine knows its deadline."""

    allocation: Allocation
    relay: Relay
    number: ChannelNumber
    peer: PeerAddress


class ReservationEnded(NamedTuple):
    """Nobody claimed it in time. The caller closes the relay and releases its port."""

    reservation: Reservation


Ended = RelayEnded | AllocationEnded[A] | PermissionEnded | ChannelEnded | ReservationEnded


class AllocationTable(Generic[A]):
    """The allocations that are alive.

    Attributes:
        quotas: asked before an Allocate; counted here.
        reservations: asked by the caller; they expire here.
        limits: lifetimes and caps, may be replaced.
    """

    def __init__(
        self,
        quotas: Quotas,
        reservations: Reservations,
        limits: AllocationLimits | None = None,
    ) -> None:
        self.quotas = quotas
        self.reservations = reservations
        self.limits = limits or AllocationLimits()
        self._by_leg: dict[LegKey, A] = {}
        self._by_next_leg: dict[LegKey, A] = {}
        self._heap: list[tuple[float, int, A]] = []
        self._serial = count()

    def __len__(self) -> int:
        return len(self._by_leg)

    def __iter__(self) -> Iterator[A]:
        return iter(list(self._by_leg.values()))

    def get(self, leg: LegKey) -> A | None:
        """The allocation of a five-tuple, also of one that it is about to move to."""
        return self._by_leg.get(leg) or self._by_next_leg.get(leg)

    def add(self, allocation: A) -> None:
        """Enter a new allocation and count it.

        Raises:
            ValueError: the five-tuple has one (437), or it has no relay.
        """
        if self.get(allocation.leg) is not None:
            raise ValueError("the five-tuple has an allocation")
        if not allocation.relays:
            raise ValueError("an allocation has a relay")
        self._by_leg[allocation.leg] = allocation
        self.quotas.add(allocation.realm, allocation.quota_user, allocation.client_host)
        self._look_at(allocation, allocation.next_deadline())

    def refresh(self, allocation: A, family: AddressFamily | None, deadline: float) -> bool:
        """Set the end of all relays, or of the one of a family; False (443) without such."""
        relays = self._relays(allocation, family)
        for relay in relays:
            relay.deadline = deadline
        if relays:
            self._look_at(allocation, deadline)
        return bool(relays)

    def expect(self, allocation: A, leg: LegKey) -> None:
        """The client may show up at another five-tuple (RFC 8016); both are the allocation's.

        Raises:
            ValueError: that one has an allocation, or another one is expected.
        """
        if self.get(leg) is not None or allocation.next_leg is not None:
            raise ValueError("the five-tuple has an allocation")
        allocation.next_leg = leg
        self._by_next_leg[leg] = allocation

    def expect_no_more(self, allocation: A) -> None:
        """The allocation stays where it is."""
        if allocation.next_leg is not None:
            del self._by_next_leg[allocation.next_leg]
            allocation.next_leg = None

    def move(self, allocation: A) -> None:
        """The five-tuple that was expected is the allocation's only one from now on."""
        leg = allocation.next_leg
        self.expect_no_more(allocation)
        if leg is not None:
            del self._by_leg[allocation.leg]
            allocation.leg = leg
            self._by_leg[leg] = allocation

    def permit(self, allocation: A, hosts: Collection[str], now: float) -> PermitRefusal | None:
        """Install or refresh permissions, all of them or none (RFC 8656 section 10.2).

        Afterwards `relay.permissions[host]` is the deadline for the engine.
        """
        refusal = allocation.permit_refusal(hosts, now, self.limits)
        if refusal is not None:
            return refusal
        deadline = now + self.limits.permission_lifetime
        for host in hosts:
            for relay in self._relays(allocation, family_of(host)):
                relay.permissions[host] = deadline
        if hosts:
            self._look_at(allocation, deadline)
        return None

    def bind(
        self, allocation: A, number: ChannelNumber, peer: PeerAddress, now: float
    ) -> BindRefusal | None:
        """Bind or refresh a channel, and its peer's permission (RFC 8656 section 12.2).

        Afterwards `relay.channels[number].deadline` and `relay.permissions[peer.host]` are the
        deadlines for the engine.
        """
        refusal = allocation.bind_refusal(number, peer, now, self.limits)
        if refusal is not None:
            return refusal
        deadline = now + self.limits.channel_lifetime
        for relay in self._relays(allocation, family_of(peer.host)):
            relay.channels[number] = Channel(peer, deadline)
        self._look_at(allocation, deadline)
        self.permit(allocation, (peer.host,), now)
        return None

    def remove(self, allocation: A, family: AddressFamily | None = None) -> list[Ended[A]]:
        """End an allocation, or its relay of one family. Nothing when it has ended already."""
        ended: list[Ended[A]] = []
        for relay in self._relays(allocation, family):
            self._end_relay(allocation, relay, ended)
        return ended

    def next_deadline(self) -> float:
        """When `expire` may have something to do again; inf when never."""
        heap = self._heap
        while heap and heap[0][0] != heap[0][2].wake_at:
            heappop(heap)
        return min(heap[0][0] if heap else inf, self.reservations.next_deadline())

    def expire(self, now: float) -> list[Ended[A]]:
        """Take out what has ended by `now`; see the records for what the caller does about it."""
        ended: list[Ended[A]] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            wake_at, _, allocation = heappop(heap)
            if allocation.wake_at == wake_at:
                self._sweep(allocation, now, ended)
        if self.reservations:
            ended.extend(map(ReservationEnded, self.reservations.expire(now)))
        return ended

    def _sweep(self, allocation: A, now: float, ended: list[Ended[A]]) -> None:
        for relay in allocation.relays:
            if relay.deadline <= now:
                self._end_relay(allocation, relay, ended)
                continue
            for host in [host for host, end in relay.permissions.items() if end <= now]:
                del relay.permissions[host]
                ended.append(PermissionEnded(allocation, relay, host))
            for number in [n for n, each in relay.channels.items() if each.deadline <= now]:
                peer = relay.channels.pop(number).peer
                ended.append(ChannelEnded(allocation, relay, number, peer))
        allocation.wake_at = inf
        self._look_at(allocation, allocation.next_deadline())

    def _end_relay(self, allocation: A, relay: Relay, ended: list[Ended[A]]) -> None:
        allocation.relays = tuple([each for each in allocation.relays if each is not relay])
        ended.append(RelayEnded(allocation, relay))
        if allocation.relays:
            return
        del self._by_leg[allocation.leg]
        self._by_next_leg.pop(allocation.next_leg, None)
        allocation.wake_at = inf
        self.quotas.release(allocation.realm, allocation.quota_user, allocation.client_host)
        ended.append(AllocationEnded(allocation))
        self._tidy_heap()

    def _look_at(self, allocation: A, deadline: float) -> None:
        """See to it that the allocation comes up at a deadline at the latest."""
        if deadline < allocation.wake_at:
            allocation.wake_at = deadline
            heappush(self._heap, (deadline, next(self._serial), allocation))
            self._tidy_heap()

    def _tidy_heap(self) -> None:
        if len(self._heap) <= 2 * len(self._by_leg) + _HEAP_SLACK:
            return
        # In place: `expire` may be at work on the list.
        self._heap[:] = [(each.wake_at, next(self._serial), each) for each in self._by_leg.values()]
        heapify(self._heap)

    @staticmethod
    def _relays(allocation: Allocation, family: AddressFamily | None) -> tuple[Relay, ...]:
        if family is None:
            return allocation.relays
        return tuple(relay for relay in allocation.relays if relay.family is family)
