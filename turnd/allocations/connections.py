"""Peers' TCP connections of allocations: peer data connections (RFC 6062 section 5).

Rules
    1.  A connection that is made to a peer (CONNECTING) has 30 s, one that stands has 30 s for the
        client to bind it (PENDING); a BOUND one lasts until either side or its allocation ends.
    2.  An allocation has one connection with a peer, which is a transport address, at most.
    3.  A CONNECTION-ID is random, so that nobody guesses another's, and no other's as long as it
        lives.
    4.  The table calls nobody: what has reached its deadline is returned, and stays until the
        caller removes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.allocations.allocation import Allocation, LegKey
    from turnd.stun.addresses import PeerAddress


class ConnectionState(Enum):
    """How far a connection has come."""

    CONNECTING = auto()
    PENDING = auto()
    BOUND = auto()


class ConnectionRefusal(StrEnum):
    """Why there can be no further connection."""

    EXISTS = "the allocation has a connection with the peer"  # 446
    FULL = "too many connections with peers"  # 508


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds and caps. The seconds are the RFC's; only tests have a reason to change them."""

    connect_timeout: float = 30.0
    bind_timeout: float = 30.0
    per_allocation: int = 64
    total: int = 20_000
    """Over all allocations; 0: no limit."""


@dataclass(slots=True, eq=False, kw_only=True)
class Connection:
    """One peer data connection."""

    number: int
    """Its CONNECTION-ID."""
    allocation: Allocation
    peer: PeerAddress
    opened_at: float
    """When it was asked for, or came in."""
    state: ConnectionState
    leg: LegKey | None = None
    """The client data connection, once there is one."""
    deadline: float = field(default=inf, repr=False)
    """Of its state; the table's own."""


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """The connections that are alive.

    Args:
        random_bytes: so many bytes nobody can guess.
        limits: may be replaced.
    """

    def __init__(
        self, random_bytes: Callable[[int], bytes], limits: ConnectionLimits | None = None
    ) -> None:
        self.random_bytes = random_bytes
        self.limits = limits or ConnectionLimits()
        self._by_number: dict[int, C] = {}
        self._by_leg: dict[LegKey, C] = {}
        self._by_allocation: dict[Allocation, dict[PeerAddress, C]] = {}
        # In the order of their deadlines, as long as nobody changes the seconds.
        self._connecting: dict[int, C] = {}
        self._pending: dict[int, C] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def new_number(self) -> int:
        """A CONNECTION-ID that is nobody's."""
        while True:
            number = int.from_bytes(self.random_bytes(4))
            if number not in self._by_number:
                return number

    def refusal(self, allocation: Allocation, peer: PeerAddress) -> ConnectionRefusal | None:
        """Why an allocation cannot have a connection with a peer; None when it can."""
        limits, others = self.limits, self._by_allocation.get(allocation, {})
        if peer in others:
            return ConnectionRefusal.EXISTS
        if len(others) >= limits.per_allocation or 0 < limits.total <= len(self._by_number):
            return ConnectionRefusal.FULL
        return None

    def add(self, connection: C, now: float) -> None:
        """Enter a connection that is being made or waits for its client; ask `refusal` before."""
        self._by_number[connection.number] = connection
        others = self._by_allocation.setdefault(connection.allocation, {})
        others[connection.peer] = connection
        self._wait(connection, now)

    def connected(self, connection: C, now: float) -> None:
        """It stands, and waits for its client from now on."""
        del self._connecting[connection.number]
        connection.state = ConnectionState.PENDING
        self._wait(connection, now)

    def bind(self, connection: C, leg: LegKey) -> None:
        """The client has come for it, by a leg of its own."""
        del self._pending[connection.number]
        connection.state, connection.leg, connection.deadline = ConnectionState.BOUND, leg, inf
        self._by_leg[leg] = connection

    def remove(self, connection: C) -> bool:
        """Forget it; False when it was forgotten before."""
        number = connection.number
        if self._by_number.get(number) is not connection:
            return False
        del self._by_number[number]
        self._connecting.pop(number, None)
        self._pending.pop(number, None)
        if connection.leg is not None:
            del self._by_leg[connection.leg]
        others = self._by_allocation[connection.allocation]
        del others[connection.peer]
        if not others:
            del self._by_allocation[connection.allocation]
        return True

    def find(self, number: int, state: ConnectionState, now: float) -> C | None:
        """The connection with a CONNECTION-ID, if it is in that state and alive."""
        found = self._by_number.get(number)
        alive = found is not None and found.state is state and now < found.deadline
        return found if alive else None

    def of_leg(self, leg: LegKey) -> C | None:
        """The connection that a client data connection is bound to."""
        return self._by_leg.get(leg)

    def with_peer(self, allocation: Allocation, peer: PeerAddress) -> C | None:
        """An allocation's connection with a peer."""
        return self._by_allocation.get(allocation, {}).get(peer)

    def of(self, allocation: Allocation) -> list[C]:
        """All connections of an allocation."""
        return list(self._by_allocation.get(allocation, {}).values())

    def overdue(self, now: float) -> list[C]:
        """Those whose deadline has passed, for the caller to end."""
        found: list[C] = []
        for waiting in (self._connecting, self._pending):
            for connection in waiting.values():
                if now < connection.deadline:
                    break
                found.append(connection)
        return found

    def count(self, state: ConnectionState) -> int:
        """How many are in a state."""
        waiting = len(self._connecting), len(self._pending)
        match state:
            case ConnectionState.CONNECTING:
                return waiting[0]
            case ConnectionState.PENDING:
                return waiting[1]
            case ConnectionState.BOUND:
                return len(self._by_leg)

    def _wait(self, connection: C, now: float) -> None:
        if connection.state is ConnectionState.CONNECTING:
            connection.deadline = now + self.limits.connect_timeout
            self._connecting[connection.number] = connection
        else:
            connection.deadline = now + self.limits.bind_timeout
            self._pending[connection.number] = connection
