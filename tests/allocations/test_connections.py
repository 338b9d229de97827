from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from tests.allocations.builders import allocation_of, peer
from tests.allocations.test_reservations import Dice
from turnd.allocations.connections import (
    Connection,
    ConnectionLimits,
    ConnectionRefusal,
    Connections,
    ConnectionState,
)

if TYPE_CHECKING:
    from turnd.allocations.allocation import Allocation
    from turnd.stun.addresses import PeerAddress

CONNECTING, PENDING, BOUND = ConnectionState


def table(*numbers: int, per_allocation: int = 64, total: int = 0) -> Connections[Connection]:
    limits = ConnectionLimits(per_allocation=per_allocation, total=total)
    return Connections(Dice(*numbers or range(1, 100)), limits)


def add(
    connections: Connections[Connection],
    allocation: Allocation,
    to: PeerAddress | None = None,
    now: float = 0.0,
    state: ConnectionState = CONNECTING,
) -> Connection:
    connection = Connection(
        number=connections.new_number(),
        allocation=allocation,
        peer=to or peer(),
        opened_at=now,
        state=state,
    )
    connections.add(connection, now)
    return connection


def test_a_number_is_nobody_elses() -> None:
    connections = table(7, 7, 7, 8)
    allocation = allocation_of()
    assert add(connections, allocation).number == 7
    assert add(connections, allocation, peer(port=9001)).number == 8


def test_a_connection_is_made_then_waits_then_is_bound() -> None:
    connections = table()
    connection = add(connections, allocation_of(), now=10.0)
    assert connections.find(1, CONNECTING, 39.999) is connection
    assert connections.find(1, CONNECTING, 40.0) is None
    assert connections.find(1, PENDING, 11.0) is None
    connections.connected(connection, 20.0)
    assert connections.find(1, PENDING, 49.999) is connection
    assert connections.find(1, PENDING, 50.0) is None
    connections.bind(connection, "leg")
    assert connections.find(1, BOUND, 1e9) is connection
    assert (connection.state, connection.leg, connection.deadline) == (BOUND, "leg", inf)
    assert connections.of_leg("leg") is connection
    assert connections.overdue(1e9) == []
    assert connections.find(2, BOUND, 0.0) is None


def test_each_state_is_counted() -> None:
    connections = table()
    allocation = allocation_of()
    add(connections, allocation, peer(port=1))
    waiting = [add(connections, allocation, peer(port=n), state=PENDING) for n in (2, 3, 4)]
    connections.bind(waiting[0], "leg")
    assert [connections.count(state) for state in ConnectionState] == [1, 2, 1]
    assert len(connections) == 4


def test_one_connection_with_a_peer_and_each_allocation_for_itself() -> None:
    connections = table()
    one, other = allocation_of("one"), allocation_of("other")
    connection = add(connections, one)
    assert connections.refusal(one, peer()) is ConnectionRefusal.EXISTS
    assert connections.refusal(one, peer(port=9001)) is None
    assert connections.refusal(other, peer()) is None
    assert connections.with_peer(one, peer()) is connection
    assert connections.with_peer(other, peer()) is None
    assert connections.remove(connection)
    assert connections.refusal(one, peer()) is None


def test_caps_count_all_states() -> None:
    connections = table(per_allocation=2, total=3)
    one, other = allocation_of("one"), allocation_of("other")
    add(connections, one)
    add(connections, one, peer(port=2), state=PENDING)
    assert connections.refusal(one, peer(port=3)) is ConnectionRefusal.FULL
    add(connections, other)
    assert connections.refusal(other, peer(port=3)) is ConnectionRefusal.FULL
    connections.limits = ConnectionLimits(per_allocation=3, total=0)
    assert connections.refusal(one, peer(port=3)) is None


def test_what_took_too_long_is_told_until_it_is_removed() -> None:
    connections = table()
    allocation = allocation_of()
    first = add(connections, allocation, peer(port=1), now=0.0)
    second = add(connections, allocation, peer(port=2), now=1.0)
    waits = add(connections, allocation, peer(port=3), now=0.5, state=PENDING)
    assert connections.overdue(29.999) == []
    assert connections.overdue(30.5) == [first, waits]
    assert connections.remove(first)
    assert connections.remove(waits)
    assert connections.overdue(31.0) == [second]
    assert connections.of(allocation) == [second]


def test_what_is_removed_is_gone_everywhere_and_once() -> None:
    connections = table(1, 1)
    allocation = allocation_of()
    connection = add(connections, allocation, state=PENDING)
    connections.bind(connection, "leg")
    assert connections.remove(connection)
    assert connections.of_leg("leg") is None
    assert connections.of(allocation) == []
    successor = add(connections, allocation)
    assert successor.number == connection.number
    assert not connections.remove(connection)
    assert connections.of(allocation) == [successor]
