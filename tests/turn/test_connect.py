from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import OTHER_PEER, PEER, PEER6, SERVER, World, code_of
from tests.turn.tcp import TCP, ask_to_connect, bound, connected, tcp_client, tcp_world, told
from turnd.allocations.connections import ConnectionLimits, ConnectionState
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.message import IntegrityAlgorithm, MessageClass, Method
from turnd.turn.events import ConnectionOpened, RequestRefused

ANOTHER = bytes(range(12))


def test_the_answer_comes_when_the_connection_stands() -> None:
    world = tcp_world()
    client, relayed = tcp_client(world)
    assert ask_to_connect(client) == []
    ((number, (relay, target)),) = world.peer_sockets.connecting.items()
    assert (world.peer_sockets.listening[relay], target) == (relayed, PEER)
    world.now += 29.9
    world.peer_sockets.stands(world.now)
    answer = told(client)
    assert (answer.method, answer.message_class) == (Method.CONNECT, MessageClass.SUCCESS)
    assert answer.get(a.CONNECTION_ID) == number
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    (event,) = world.reported(ConnectionOpened)
    assert (event.peer, event.user, event.is_incoming) == (PEER, "alice", False)


def test_a_failure_is_447_and_leaves_room() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    ask_to_connect(client)
    world.peer_sockets.fails("Connection refused", world.now)
    answer = told(client)
    assert code_of(answer) == 447
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    (refused,) = world.reported(RequestRefused)
    assert (refused.method, refused.why) == (Method.CONNECT, "Connection refused")
    assert len(world.peer_sockets.dropped) == 1
    assert connected(client)


def test_nothing_for_thirty_seconds_is_447() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    ask_to_connect(client)
    (number,) = world.peer_sockets.connecting
    world.pass_time(29.9)
    assert told(client).method == Method.ALLOCATE
    world.pass_time(0.1)
    assert code_of(told(client)) == 447
    assert world.peer_sockets.dropped == [number]
    world.server.peer_connected(number, None, world.now)  # a moment too late
    assert len(world.state.connections) == 0


def test_a_connection_in_any_state_is_446() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    ask_to_connect(client)
    assert code_of(ask_to_connect(client)[0]) == 446
    world.peer_sockets.stands(world.now)
    assert code_of(ask_to_connect(client)[0]) == 446
    bound(client, OTHER_PEER)
    assert code_of(ask_to_connect(client, OTHER_PEER)[0]) == 446
    other_port = TransportAddress(PEER.host, PEER.port + 1)
    assert ask_to_connect(client, other_port) == []


def test_a_copy_of_a_request_makes_no_second_connection() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    for _ in range(2):
        assert ask_to_connect(client, transaction_id=ANOTHER) == []
    assert len(world.peer_sockets.connecting) == 1
    number = world.peer_sockets.stands(world.now)
    (answer,) = ask_to_connect(client, transaction_id=ANOTHER)
    assert answer.get(a.CONNECTION_ID) == number
    assert answer.transaction_id == ANOTHER


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        ((a.XOR_PEER_ADDRESS, TransportAddress(PEER.host, 0)),),
        ((a.raw(a.XOR_PEER_ADDRESS.number), b"\x00\x01\x00"),),
    ],
)
def test_no_or_a_malformed_peer_is_400(attributes: Any) -> None:
    client, _ = tcp_client(tcp_world())
    assert code_of(client.request(Method.CONNECT, attributes)) == 400


def test_no_tcp_allocation_is_437_and_anothers_is_441() -> None:
    world = tcp_world()
    stream = world.stream_client()
    assert code_of(ask_to_connect(stream)[0]) == 437
    stream.allocated()
    assert code_of(ask_to_connect(stream)[0]) == 437
    client, _ = tcp_client(world)
    client.user, client.password = "bob", "builder"
    assert code_of(ask_to_connect(client)[0]) == 441


def test_another_family_is_443() -> None:
    client, _ = tcp_client(tcp_world())
    assert code_of(ask_to_connect(client, PEER6)[0]) == 443
    six, _ = tcp_client(tcp_world(), (a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6))
    assert code_of(ask_to_connect(six)[0]) == 443
    assert ask_to_connect(six, PEER6) == []


def test_the_policy_applies_also_to_what_is_our_own() -> None:
    world = tcp_world(deny=[PEER.host])
    client, _ = tcp_client(world)
    assert code_of(ask_to_connect(client)[0]) == 403
    assert code_of(ask_to_connect(client, SERVER)[0]) == 403
    nobody = TransportAddress(SERVER.host, 50_099)
    assert code_of(ask_to_connect(client, nobody)[0]) == 403
    udp = world.client().allocated()
    assert code_of(ask_to_connect(client, udp)[0]) == 403
    assert world.peer_sockets.connecting == {}
    _, relayed = tcp_client(world)
    assert ask_to_connect(client, relayed) == []


def test_an_announced_address_is_reached_at_the_bound_one() -> None:
    world = tcp_world(addresses={"10.0.0.1": "198.51.100.1"})
    client, relayed = tcp_client(world)
    assert relayed.host == "198.51.100.1"
    ask_to_connect(client, relayed)
    ((_, target),) = world.peer_sockets.connecting.values()
    assert target == TransportAddress("10.0.0.1", relayed.port)


def test_too_many_connections_are_508() -> None:
    world = tcp_world()
    world.state.connections.limits = ConnectionLimits(per_allocation=1)
    client, _ = tcp_client(world)
    ask_to_connect(client)
    assert code_of(ask_to_connect(client, OTHER_PEER)[0]) == 508


def test_an_answer_for_nobody_is_dropped() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    ask_to_connect(client)
    world.peer_sockets.stands(world.now)
    sent = len(world.engine.sent_to_client)
    world.server.peer_connected(77, "refused", world.now)
    assert len(world.engine.sent_to_client) == sent
    assert world.state.connections.count(ConnectionState.PENDING) == 1


def test_without_tcp_relaying_there_is_nothing_to_connect_from() -> None:
    stream = World().stream_client()
    assert code_of(stream.request(Method.ALLOCATE, (TCP,))) == 442
    assert code_of(ask_to_connect(stream)[0]) == 437
