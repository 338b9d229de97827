from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.turn.harness import OTHER_PEER, PEER, PEER6, code_of
from tests.turn.tcp import ask_to_connect, bound, connected, tcp_client, tcp_world, told
from turnd.allocations.policy import PeerPolicy
from turnd.engine.base import CloseReason
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.stun.message import Method
from turnd.turn.connection_ending import end_connection
from turnd.turn.events import ConnectionEnd, ConnectionEnded

if TYPE_CHECKING:
    from tests.turn.harness import World

DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)


def ends(world: World) -> list[ConnectionEnd]:
    return [event.reason for event in world.reported(ConnectionEnded)]


@pytest.mark.parametrize("first", [CloseReason.CLIENT, CloseReason.PEER])
def test_it_ends_with_either_side(first: CloseReason) -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    data, number = bound(client)
    world.now += 5
    if first is CloseReason.CLIENT:
        world.engine.stream_ended(data.leg)
        world.engine.peer_ended(number)
    else:
        world.engine.peer_ended(number)
        world.engine.stream_ended(data.leg)
    (event,) = world.reported(ConnectionEnded)
    assert (event.leg, event.peer, event.reason, event.duration) == (client.leg, PEER, first, 5)
    assert len(world.state.connections) == 0
    assert len(world.state.table) == 1, "the allocation goes on"
    assert connected(client), "and so may connections with the peer"


def test_what_the_engine_gives_up_is_the_servers_doing() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    data, _ = bound(client)
    world.engine.close_leg(data.leg, CloseReason.SERVER)
    world.engine.tick()
    assert ends(world) == [ConnectionEnd.SERVER]


def test_what_nobody_binds_ends_after_thirty_seconds() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    world.pass_time(29.9)
    assert ends(world) == []
    world.pass_time(0.1)
    assert ends(world) == [ConnectionEnd.UNBOUND]
    assert world.peer_sockets.dropped == [number]


@pytest.mark.parametrize("how", ["deleted", "expired", "disconnected"])
def test_all_end_with_their_allocation(how: str) -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    data, _ = bound(client)
    waiting = connected(client, OTHER_PEER)
    ask_to_connect(client, PEER._replace(port=9))
    (connecting,) = world.peer_sockets.connecting
    if how == "deleted":
        client.send(client.signed(Method.REFRESH, ((a.LIFETIME, 0),)))
    elif how == "expired":
        world.now += 600
        world.server.expire(world.now)
    else:
        world.engine.stream_ended(client.leg)
    # After 600 s only the one that is bound was still there.
    assert ends(world)[-1] is ConnectionEnd.ALLOCATION
    assert world.peer_sockets.dropped[-2:] in ([waiting, connecting], [connecting, waiting])
    assert not world.engine.is_open(data.leg)
    assert world.peer_sockets.listening == {}
    assert len(world.state.connections) == 0
    assert world.state.listening == {}
    assert world.engine.pipes == {}


def test_a_connect_that_waits_is_answered_when_its_allocation_is_deleted() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    ask_to_connect(client)
    answers = client.send(client.signed(Method.REFRESH, ((a.LIFETIME, 0),)))
    assert len(answers) == 2
    assert ends(world) == [], "it never stood"


def test_a_relay_takes_its_own_connections_along() -> None:
    world = tcp_world()
    client, _ = tcp_client(world, DUAL)
    connected(client)
    number = connected(client, PEER6)
    assert code_of(client.refresh(0, AddressFamily.IPV4)) is None
    assert [each.number for each in world.state.connections.of(next(iter(world.state.table)))] == [
        number
    ]


def test_a_new_policy_ends_what_it_refuses_and_nothing_else() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    data, _ = bound(client)
    waiting = connected(client, PEER._replace(port=7))
    stays, _ = bound(client, OTHER_PEER)
    ask_to_connect(client, PEER._replace(port=8))
    world.realm.policy = PeerPolicy.build([PEER.host])
    world.server.policy_changed(world.now)
    world.engine.tick()
    assert ends(world) == [ConnectionEnd.FORBIDDEN] * 2
    assert code_of(told(client)) == 403
    assert waiting in world.peer_sockets.dropped
    assert not world.engine.is_open(data.leg)
    assert world.engine.is_open(stays.leg)


def test_an_end_is_told_once() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    bound(client)
    (connection,) = world.state.connections.of(next(iter(world.state.table)))
    for _ in range(2):
        end_connection(world.state, connection, ConnectionEnd.FORBIDDEN, world.now)
    world.engine.tick()
    assert ends(world) == [ConnectionEnd.FORBIDDEN]
