from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.turn.harness import OTHER_PEER, PEER, PEER6, code_of
from tests.turn.tcp import (
    TCP,
    ask_to_connect,
    bind,
    bound,
    connected,
    tcp_client,
    tcp_world,
    told,
)
from turnd.allocations.connections import ConnectionState as S
from turnd.allocations.policy import PeerPolicy
from turnd.engine.base import CloseReason
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.stun.message import Method
from turnd.turn.connection_ending import end_connection
from turnd.turn.events import ConnectionEnd, ConnectionEnded

if TYPE_CHECKING:
    from tests.turn.harness import Client, World
    from turnd.stun.addresses import TransportAddress

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


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("allocate", "delete", "connect", "stands", "fails", "arrives", "bind", "bind"),
                *("hang up", "peer ends", "permit", "wait", "policy"),
            ]
        ),
        st.integers(0, 3),
        st.integers(0, 1),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_clients_and_peers_do_nothing_is_left_behind(
    steps: list[tuple[str, int, int]],
) -> None:
    """Four streams, made anew when they have ended, and two peers."""
    world = tcp_world()
    streams = [world.stream_client(f"203.0.113.{each}") for each in range(4)]
    for what, place, which in [("allocate", 0, 0), *steps]:
        happens(world, streams[place], what, which)
        for number, stream in enumerate(streams):
            if not world.engine.is_open(stream.leg):
                streams[number] = world.stream_client(stream.leg.client.host)
        check(world)
    world.server.end_all(world.now)
    world.engine.tick()
    check(world)
    assert not len(world.state.connections)
    assert not world.peer_sockets.listening
    assert world.realm.quotas.in_use == 0


def happens(world: World, client: Client, what: str, which: int) -> None:
    """One step, if it can be."""
    sockets, peer = world.peer_sockets, (PEER, OTHER_PEER)[which]
    pipe = world.engine.pipes.get(client.leg)
    if what == "stands" and sockets.connecting:
        sockets.stands(world.now)
    elif what == "fails" and sockets.connecting:
        sockets.fails("no route", world.now)
    elif what == "arrives" and sockets.listening:
        sockets.arrives(next(iter(sockets.listening.values())), peer, world.now)
    elif what == "wait":
        world.pass_time(20)
    elif what == "policy":
        world.realm.policy = PeerPolicy.build([PEER.host] if which else [])
        world.server.policy_changed(world.now)
    elif what == "hang up":
        world.engine.stream_ended(client.leg)
    elif what == "peer ends" and pipe is not None:
        world.engine.peer_ended(pipe.descriptor)
    elif pipe is None:
        asks(client, what, peer)


def asks(client: Client, what: str, peer: TransportAddress) -> None:
    if what == "allocate":
        client.request(Method.ALLOCATE, (TCP,))
    elif what == "delete":
        client.send(client.signed(Method.REFRESH, ((a.LIFETIME, 0),)))
    elif what == "permit":
        client.permit(peer)
    elif what == "connect":
        ask_to_connect(client, peer)
    elif what == "bind":
        bind(client, min(client.world.peer_sockets.standing, default=7))


def check(world: World) -> None:
    """What the table, the sockets and the engine know is the same."""
    connections = [each for of in world.state.table for each in world.state.connections.of(of)]
    assert len(connections) == len(world.state.connections)
    numbers = {state: {each.number for each in connections if each.state is state} for state in S}
    assert numbers[S.CONNECTING] == set(world.peer_sockets.connecting)
    assert numbers[S.PENDING] == world.peer_sockets.standing
    legs = {each.leg for each in connections if each.state is S.BOUND}
    assert legs == set(world.engine.pipes)
    assert [len(each) for each in numbers.values()] == [world.state.connections.count(s) for s in S]
    relays = {relay.relay_id for each in world.state.table for relay in each.relays}
    assert relays == set(world.peer_sockets.listening) == set(world.state.listening)
    assert not any(world.state.table.get(leg) for leg in legs)
