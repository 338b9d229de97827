from __future__ import annotations

from tests.turn.harness import REALM, StoreOfTests, World, code_of
from turnd.auth.credentials import (
    Credential,
    DerivedKeys,
    Found,
    Unavailable,
    Unknown,
    UsernameQuery,
)
from turnd.engine.base import Leg, ListenerId, Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message
from turnd.turn.events import AuthenticationFailed, Dropped, FailureReason, MessageDropped
from turnd.turn.waiting import NeedKey, WaitingRequests

DAVE = Credential("dave", "dave", DerivedKeys("dave", REALM, "davit"), source="redis")
FOUND = Found((DAVE,))


def need(
    host: str = "203.0.113.5", port: int = 1, transaction: int = 1, stream: int = 0
) -> NeedKey:
    server = ServerAddress(TransportAddress("192.0.2.1", 3478))
    transport = Transport.TCP if stream else Transport.UDP
    client = ClientAddress(TransportAddress(host, port))
    transaction_id = transaction.to_bytes(12)
    data = encode_message(Method.REFRESH, MessageClass.REQUEST, transaction_id, ())
    leg = Leg(ListenerId(1), transport, server, client, stream)
    return NeedKey(UsernameQuery("dave"), leg, decode_untrusted(data), "example.org")


def test_a_copy_joins_and_another_transaction_or_leg_does_not() -> None:
    waiting = WaitingRequests()
    first = need()
    assert waiting.add(first)
    assert waiting.joins(first.leg, first.message.transaction_id)
    assert not waiting.joins(first.leg, bytes(12))
    assert not waiting.joins(need(port=2).leg, first.message.transaction_id)


def test_a_client_address_has_its_bound_whatever_its_ports() -> None:
    waiting = WaitingRequests(per_client=2, total=10)
    requests = [need(port=port) for port in (1, 2)]
    assert all(waiting.add(each) for each in requests)
    assert not waiting.add(need(port=3))
    assert waiting.add(need(host="203.0.113.6"))
    assert waiting.remove(requests[0])
    assert waiting.add(need(port=3))


def test_the_addresses_of_one_ipv6_network_have_one_bound() -> None:
    waiting = WaitingRequests(per_client=2, total=10)
    added = [waiting.add(need(host=f"2001:db8::{number}")) for number in (1, 2, 3)]
    assert added == [True, True, False]
    assert waiting.add(need(host="2001:db8:0:1::1"))


def test_all_together_have_theirs() -> None:
    waiting = WaitingRequests(per_client=2, total=3)
    added = [waiting.add(need(host=f"203.0.113.{number}")) for number in range(5)]
    assert added == [True, True, True, False, False]
    assert len(waiting) == 3


def test_a_wait_ends_once() -> None:
    waiting = WaitingRequests()
    request = need()
    waiting.add(request)
    assert waiting.remove(request)
    assert not waiting.remove(request)
    assert len(waiting) == 0


def test_a_closed_stream_takes_its_requests_with_it() -> None:
    waiting = WaitingRequests(per_client=3)
    gone = [need(stream=7, transaction=number) for number in (1, 2)]
    stays = need(stream=8)
    for each in (*gone, stays):
        waiting.add(each)
    waiting.forget_leg(gone[0].leg)
    assert len(waiting) == 1
    assert not waiting.remove(gone[0])
    assert waiting.add(gone[0])
    assert waiting.add(gone[1])
    assert waiting.remove(stays)


def store_world(waiting: WaitingRequests | None = None) -> World:
    return World(store=StoreOfTests(), waiting=waiting)


def test_the_store_is_asked_and_the_request_goes_on() -> None:
    world = store_world()
    client = world.client(user="dave")
    client.password = "davit"
    data = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    assert client.send(data) == []
    (asked,) = world.pending
    assert asked.query == UsernameQuery("dave")
    assert client.send(data) == []  # a retransmission joins
    assert len(world.pending) == 1
    answer = world.resume(FOUND)
    assert answer is not None
    assert code_of(decode_untrusted(answer)) is None
    assert len(world.state.table) == 1
    assert len(world.server.waiting) == 0


def test_what_the_store_says_decides() -> None:
    for outcome, code, reason in (
        (Unknown(), 401, FailureReason.UNKNOWN_USER),
        (Unavailable("down"), 500, FailureReason.STORE_UNAVAILABLE),
    ):
        world = store_world()
        client = world.client(user="dave")
        client.password = "davit"
        client.send(client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),)))
        answer = world.resume(outcome)
        assert answer is not None
        assert code_of(decode_untrusted(answer)) == code
        (failed,) = world.reported(AuthenticationFailed)
        assert failed.reason is reason
        assert len(world.state.table) == 0


def test_a_flood_of_names_is_bounded_and_counted() -> None:
    world = store_world(WaitingRequests(per_client=2, total=3))
    for number in range(4):
        client = world.client(port=1000 + number, user=f"nobody{number}")
        client.password = "x"
        assert client.send(client.signed(Method.REFRESH)) == []
    assert len(world.pending) == 2
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.WAITING_FULL] * 2
