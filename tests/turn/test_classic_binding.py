from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.turn.discovery import QUARTET, DiscoveryWorld
from tests.turn.harness import Client, World
from turnd.engine.base import Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.classic import CHANGED_ADDRESS, SOURCE_ADDRESS
from turnd.stun.message import Message, MessageClass, Method, decode_untrusted, encode_message
from turnd.turn.answers import Elsewhere
from turnd.turn.classic_binding import classic_binding
from turnd.turn.events import BindingAnswered, Dropped, MessageDropped

ID = bytes(range(16))
NO_CHANGE = (a.CHANGE_REQUEST, a.ChangeRequest(False, False))
CHANGE_BOTH = (a.CHANGE_REQUEST, a.ChangeRequest(True, True))
RESPONSE_ADDRESS = a.raw(0x0002)
PRIMARY = TransportAddress("192.0.2.1", 3478)


def request(*attributes: tuple[a.Attribute[Any], Any], method: int = Method.BINDING) -> bytes:
    return encode_message(method, MessageClass.REQUEST, ID, attributes)


def switched_on(world: World) -> World:
    world.state.settings = replace(world.state.settings, rfc3489=True)
    return world


def answered(client: Client, data: bytes) -> Message:
    """Straight to the server, past the engine's first look."""
    answer = client.world.server.receive(client.leg, data, client.world.now)
    assert isinstance(answer, bytes)
    return decode_untrusted(answer, classic=True)


def test_a_client_learns_its_address_in_plain() -> None:
    world = switched_on(World())
    client = world.client()
    answer = answered(client, request(NO_CHANGE))
    assert (answer.message_class, answer.transaction_id) == (MessageClass.SUCCESS, ID)
    assert [number for number, _ in answer.attributes] == [1, 4]
    assert answer.get(a.MAPPED_ADDRESS) == client.leg.client
    assert answer.get(SOURCE_ADDRESS) == client.leg.local
    assert world.reported(BindingAnswered) == [BindingAnswered(client.leg)]


def test_of_a_quartet_it_learns_the_changed_address_and_may_ask_for_it() -> None:
    world = DiscoveryWorld()
    switched_on(world)
    client = world.at(PRIMARY)
    answer = answered(client, request(NO_CHANGE))
    assert answer.get(CHANGED_ADDRESS) == ("192.0.2.2", 3479)
    assert answer.get(SOURCE_ADDRESS) == PRIMARY
    message = decode_untrusted(request(CHANGE_BOTH), classic=True)
    elsewhere = classic_binding(world.state, client.leg, message)
    assert isinstance(elsewhere, Elsewhere)
    assert (elsewhere.leg, elsewhere.from_) == (client.leg, ("192.0.2.2", 3479))
    changed = decode_untrusted(elsewhere.data, classic=True)
    assert changed.get(SOURCE_ADDRESS) == ("192.0.2.2", 3479)


@pytest.mark.parametrize(
    ("attributes", "listed"),
    [
        ([CHANGE_BOTH], (0x0003, 0x0003)),
        ([(RESPONSE_ADDRESS, bytes(8))], (0x0002, 0x0002)),
        ([(RESPONSE_ADDRESS, bytes(8)), (a.raw(0x000C), b"")], (0x0002, 0x000C)),
        ([(a.MESSAGE_INTEGRITY, bytes(20))], (0x0008, 0x0008)),
        ([(a.RESPONSE_PORT, 5000)], (0x0027, 0x0027)),
    ],
)
def test_what_is_not_served_is_420_in_pairs(
    attributes: list[tuple[a.Attribute[Any], Any]], listed: tuple[int, ...]
) -> None:
    client = switched_on(World()).client()
    answer = answered(client, request(*attributes))
    assert (answer.message_class, answer.transaction_id) == (MessageClass.ERROR, ID)
    assert answer.get(a.ERROR_CODE) == (420, "")
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == listed


def test_what_is_known_but_not_expected_and_what_is_optional_change_nothing() -> None:
    client = switched_on(World()).client()
    more: list[tuple[a.Attribute[Any], Any]] = [
        *((a.raw(number), b"four") for number in (1, 4, 5, 6, 7, 9, 10, 11)), (a.raw(0x8020), b"")
    ]  # fmt: skip
    answer = answered(client, request(*more))
    assert answer.get(a.MAPPED_ADDRESS) == client.leg.client


def test_switched_off_it_is_no_message() -> None:
    world = World()
    client = world.client()
    assert client.world.server.receive(client.leg, request(), world.now) is None
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.MALFORMED]


def test_other_methods_streams_and_malformed_ones_are_dropped() -> None:
    world = switched_on(World())
    client, stream = world.client(), world.stream_client()
    for each, data in (
        (client, request(method=Method.ALLOCATE)),
        (client, request((a.raw(a.CHANGE_REQUEST.number), b"xyz"))),
        (stream, request()),
    ):
        assert world.server.receive(each.leg, data, world.now) is None
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.MALFORMED] * 3
    indication = encode_message(Method.BINDING, MessageClass.INDICATION, ID, ())
    assert world.server.receive(client.leg, indication, world.now) is None


def test_strangers_are_answered_from_the_budget() -> None:
    world = switched_on(World())
    world.engine.budget(1)
    client = world.client()
    answered(client, request())
    assert world.server.receive(client.leg, request(), world.now) is None
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.OVER_BUDGET]


_WORLD = switched_on(World())
_WORLD.state.quartets = (QUARTET,)
_CLIENT = _WORLD.client()


@given(st.binary(max_size=64))
def test_any_bytes_behind_the_header_are_handled(rest: bytes) -> None:
    rest = rest[: len(rest) // 4 * 4]
    data = b"\0\1" + len(rest).to_bytes(2, "big") + ID + rest
    answer = _WORLD.server.receive(_CLIENT.leg, data, _WORLD.now)
    sent = answer.data if isinstance(answer, Elsewhere) else answer
    if sent is not None:
        assert isinstance(sent, bytes)
        assert 28 + len(sent) <= 2 * (28 + len(data))


def test_over_dtls_there_is_no_stun_without_cookie() -> None:
    world = switched_on(World())
    client = world.client()
    leg = client.leg._replace(transport=Transport.DTLS)
    assert world.server.receive(leg, request(), world.now) is None
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.MALFORMED]
