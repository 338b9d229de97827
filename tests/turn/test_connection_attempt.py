from __future__ import annotations

from tests.turn.harness import OTHER_PEER, PEER, SERVER, code_of
from tests.turn.tcp import bind, tcp_client, tcp_world, told
from turnd.allocations.connections import ConnectionLimits
from turnd.allocations.policy import PeerPolicy
from turnd.engine.base import RelayId
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import MessageClass, Method
from turnd.turn.events import (
    ConnectionEnd,
    ConnectionEnded,
    ConnectionOpened,
    ConnectionRefused,
    PeerRefusal,
)


def test_the_client_is_told_of_a_permitted_peer_and_may_bind_it() -> None:
    world = tcp_world()
    client, relayed = tcp_client(world)
    assert code_of(client.permit(PEER)) is None
    number = world.peer_sockets.arrives(relayed, PEER, world.now)
    indication = told(client)
    assert indication.method == Method.CONNECTION_ATTEMPT
    assert indication.message_class == MessageClass.INDICATION
    assert (indication.get(a.CONNECTION_ID), indication.get(a.XOR_PEER_ADDRESS)) == (number, PEER)
    assert number is not None
    assert code_of(bind(world.stream_client(), number)) is None
    (event,) = world.reported(ConnectionOpened)
    assert (event.peer, event.is_incoming) == (PEER, True)


def refusal(world: object) -> list[PeerRefusal]:
    return [event.reason for event in world.reported(ConnectionRefused)]  # type: ignore[attr-defined]


def test_without_a_permission_nobody_is_told() -> None:
    world = tcp_world()
    client, relayed = tcp_client(world)
    sent = len(world.engine.sent_to_client)
    assert world.peer_sockets.arrives(relayed, PEER, world.now) is None
    assert len(world.engine.sent_to_client) == sent
    client.permit(PEER)
    world.now += 300
    assert world.peer_sockets.arrives(relayed, PEER, world.now) is None
    assert refusal(world) == [PeerRefusal.NO_PERMISSION] * 2
    assert world.peer_sockets.standing == set()


def test_the_policy_is_asked_as_well() -> None:
    world = tcp_world()
    client, relayed = tcp_client(world)
    client.permit(PEER)
    world.realm.policy = PeerPolicy.build([PEER.host])
    assert world.peer_sockets.arrives(relayed, PEER, world.now) is None
    assert refusal(world) == [PeerRefusal.FORBIDDEN]


def test_one_too_many_is_refused() -> None:
    world = tcp_world()
    world.state.connections.limits = ConnectionLimits(per_allocation=1)
    client, relayed = tcp_client(world)
    client.permit(PEER, OTHER_PEER)
    assert world.peer_sockets.arrives(relayed, PEER, world.now) is not None
    assert world.peer_sockets.arrives(relayed, OTHER_PEER, world.now) is None
    assert refusal(world) == [PeerRefusal.FULL]


def test_who_comes_again_from_the_same_address_has_begun_anew() -> None:
    world = tcp_world()
    world.state.connections.limits = ConnectionLimits(per_allocation=1)
    client, relayed = tcp_client(world)
    client.permit(PEER)
    first = world.peer_sockets.arrives(relayed, PEER, world.now)
    again = world.peer_sockets.arrives(relayed, PEER, world.now)
    assert again is not None
    assert first != again
    assert told(client).get(a.CONNECTION_ID) == again
    assert world.peer_sockets.dropped == [first]
    assert world.peer_sockets.standing == {again}
    assert [each.reason for each in world.reported(ConnectionEnded)] == [ConnectionEnd.PEER]
    assert refusal(world) == []
    assert code_of(bind(world.stream_client(), again)) is None
    assert world.peer_sockets.arrives(relayed, PEER, world.now) is None, "what was bound may live"
    assert refusal(world) == [PeerRefusal.FULL]


def test_a_peer_behind_a_relay_of_ours_is_shown_as_announced() -> None:
    world = tcp_world(addresses={"10.0.0.1": "198.51.100.1"})
    client, relayed = tcp_client(world)
    _, other = tcp_client(world)
    client.permit(other)
    source = TransportAddress("10.0.0.1", other.port)
    assert world.peer_sockets.arrives(relayed._replace(host="10.0.0.1"), source, world.now)
    assert told(client).get(a.XOR_PEER_ADDRESS) == other


def test_what_comes_for_a_relay_that_is_gone_is_refused() -> None:
    world = tcp_world()
    assert world.server.peer_arrived(RelayId(99), SERVER, world.now) is None
    assert refusal(world) == []
