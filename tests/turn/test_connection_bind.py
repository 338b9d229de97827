from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import (
    OTHER_PEER,
    PEER,
    REALM,
    USERS,
    Client,
    StoreOfTests,
    code_of,
)
from tests.turn.tcp import ask_to_connect, bind, bound, connected, tcp_client, tcp_world, told
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import Credential, DerivedKeys, Found, Unavailable
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.stun import attributes as a
from turnd.stun.message import (
    IntegrityAlgorithm,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)
from turnd.turn.connection_bind import allocation_to_bind
from turnd.turn.events import ConnectionEnd, ConnectionEnded


def test_both_ends_become_one_and_the_answer_is_signed() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    data = world.stream_client()
    answer = bind(data, number)
    assert (answer.method, answer.message_class) == (Method.CONNECTION_BIND, MessageClass.SUCCESS)
    assert answer.verify_integrity(data.key(), IntegrityAlgorithm.SHA1)
    (call,) = (call for call in world.engine.calls if call.verb == "splice")
    (allocation,) = world.state.table
    assert call.arguments[:2] == (data.leg, number)
    assert call.arguments[3] == allocation.buckets
    assert world.peer_sockets.standing == set()
    world.engine.stream_bytes(data.leg, b"up")
    world.engine.peer_bytes(number, b"down")
    assert world.engine.pipes[data.leg].to_peer == b"up"
    assert world.engine.sent_to_client[-1][:2] == (data.leg, b"down")


def test_bytes_right_behind_the_request_are_the_peers() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    data = world.stream_client()
    request = data.signed(Method.CONNECTION_BIND, ((a.CONNECTION_ID, number),))
    (answer,) = data.send(request + b"\xff early")
    assert code_of(decode_untrusted(answer)) is None
    assert world.engine.pipes[data.leg].to_peer == b"\xff early"


@pytest.mark.parametrize(
    "attributes", [(), ((a.CONNECTION_ID, 0),), ((a.raw(a.CONNECTION_ID.number), b"\x01"),)]
)
def test_no_connection_or_an_unknown_one_is_400(attributes: Any) -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    connected(client)
    data = world.stream_client()
    assert code_of(data.request(Method.CONNECTION_BIND, attributes)) == 400
    assert code_of(data.request(Method.REFRESH)) == 437, "the stream goes on"


def test_a_connection_is_bound_once_and_only_when_it_stands() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    ask_to_connect(client)
    (number,) = world.peer_sockets.connecting
    stream = world.stream_client()
    assert code_of(bind(stream, number)) == 400
    world.peer_sockets.stands(world.now)
    assert code_of(bind(stream, number)) is None
    assert code_of(bind(world.stream_client(), number)) == 400


def test_nobody_binds_anothers_connection() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    assert code_of(bind(world.stream_client(user="bob"), number)) == 441
    assert code_of(bind(world.stream_client(), number)) is None


def test_nobody_binds_another_realms_connection() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    (allocation,) = world.state.table
    world.state.realms = {REALM: world.realm, "other.example": world.realm}
    world.server.realms.by_listener = {world.streams: world.realm}
    allocation.realm = "other.example"
    assert code_of(bind(world.stream_client(), number)) == 441
    allocation.realm = REALM
    assert code_of(bind(world.stream_client(), number)) is None


def test_only_a_stream_without_an_allocation_is_bound() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    assert code_of(bind(world.client(), number)) == 400
    assert code_of(bind(client, number)) == 400
    other = world.stream_client()
    other.allocated()
    assert code_of(bind(other, number)) == 400


def test_thirty_seconds_are_the_limit() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    data = world.stream_client()
    data.challenge()
    world.now += 30
    assert code_of(bind(data, number)) == 400
    assert world.peer_sockets.dropped == [number]


def test_the_allocations_key_is_good_while_the_store_is_away() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    none = RestSecrets(REALM, (), lambda: world.wall)
    chain = CredentialChain(REALM, StaticUsers(REALM, {}), none, StoreOfTests())
    world.realm.credentials = chain
    assert code_of(bind(world.stream_client(), number)) is None
    number = connected(client, OTHER_PEER)
    mallory = world.stream_client()
    mallory.password = "wrong"
    data = mallory.signed(Method.CONNECTION_BIND, ((a.CONNECTION_ID, number),))
    assert mallory.send(data) == []
    world.resume(Unavailable("away"))
    assert code_of(told(mallory)) == 500


def test_whose_connection_it_is_is_known_for_a_bind_alone() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    (allocation,) = world.state.table

    def found(method: Method, *attributes: tuple[a.Attribute[Any], Any]) -> Any:
        data = encode_message(method, MessageClass.REQUEST, bytes(12), attributes)
        return allocation_to_bind(world.state, decode_untrusted(data), world.now)

    assert found(Method.CONNECTION_BIND, (a.CONNECTION_ID, number)) is allocation
    assert found(Method.CONNECTION_BIND, (a.CONNECTION_ID, number + 1)) is None
    assert found(Method.CONNECTION_BIND, (a.raw(a.CONNECTION_ID.number), b"")) is None
    assert found(Method.CONNECTION_BIND) is None
    assert found(Method.CONNECT, (a.CONNECTION_ID, number)) is None


def test_a_stream_whose_end_was_told_before_binds_nothing_for_ever() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    data = world.stream_client()
    request = data.signed(Method.CONNECTION_BIND, ((a.CONNECTION_ID, number),))
    world.engine.stream_ended(data.leg)
    assert world.server.receive(data.leg, request, world.now) is None
    assert len(world.state.connections) == 0
    assert [each.reason for each in world.reported(ConnectionEnded)] == [ConnectionEnd.CLIENT]
    assert connected(client) != number, "the peer can be connected to again"


def test_what_the_stream_has_asked_for_before_comes_to_nothing() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    number = connected(client)
    users = StaticUsers(REALM, {"alice": USERS["alice"]})
    none = RestSecrets(REALM, (), lambda: world.wall)
    world.realm.credentials = CredentialChain(REALM, users, none, StoreOfTests())
    data = world.stream_client(user="bob")
    assert data.send(data.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))) == []
    alice = Client(world, data.leg, "alice", USERS["alice"], nonce=data.nonce)
    assert code_of(bind(alice, number)) is None
    bob = Credential("bob", "bob", DerivedKeys("bob", REALM, USERS["bob"]), source="redis")
    assert world.resume(Found((bob,))) is None
    assert len(world.state.table) == 1
    assert world.engine.counters().relays == 0


def test_many_connections_are_bound_side_by_side() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    one, first = bound(client)
    other, second = bound(client, PEER._replace(port=7))
    assert first != second
    world.engine.stream_bytes(one.leg, b"1")
    world.engine.stream_bytes(other.leg, b"2")
    assert [pipe.to_peer for pipe in world.engine.pipes.values()] == [b"1", b"2"]
