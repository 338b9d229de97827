from __future__ import annotations

import pytest

from tests.turn.harness import PEER, PEER6, World, code_of
from tests.turn.tcp import tcp_client, tcp_world
from tests.turn.tokens import token_client, token_world
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.stun.message import IntegrityAlgorithm, Method
from turnd.turn.events import AllocationEnded, EndReason
from turnd.turn.settings import TurnSettings

CHANNEL = ((a.CHANNEL_NUMBER, 0x4000), (a.XOR_PEER_ADDRESS, PEER))
DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)


@pytest.mark.parametrize(("asked", "granted"), [(None, 600), (10, 600), (700, 700), (99_999, 3600)])
def test_it_sets_the_end_counted_from_now(asked: int | None, granted: int) -> None:
    world = World()
    client = world.client()
    client.allocated()
    world.pass_time(500)
    answer = client.refresh(asked)
    assert answer.get(a.LIFETIME) == granted
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    world.pass_time(granted - 0.5)
    assert len(world.state.table) == world.engine.counters().relays == 1
    world.pass_time(0.5)
    assert len(world.state.table) == world.engine.counters().relays == 0


def test_it_may_shorten_what_is_left() -> None:
    world = World()
    client = world.client()
    client.allocated((a.LIFETIME, 3600))
    assert client.refresh(600).get(a.LIFETIME) == 600
    world.pass_time(600)
    assert len(world.state.table) == 0


def test_the_engine_knows_the_new_end_before_the_answer() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    del world.engine.calls[:]
    client.refresh(900)
    calls = [(call.verb, call.arguments[-1]) for call in world.engine.calls[:2]]
    assert calls == [("extend", world.now + 900)] * 2
    assert [call.verb for call in world.engine.calls[2:]] == ["send_to_client"]


def test_lifetime_0_deletes_before_the_answer() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    del world.engine.calls[:]
    answer = client.refresh(0)
    assert code_of(answer) is None
    assert answer.get(a.LIFETIME) == 0
    assert [call.verb for call in world.engine.calls] == [
        "close_relay",
        "close_relay",
        "send_to_client",
    ]
    (ended,) = world.reported(AllocationEnded)
    assert ended.reason is EndReason.DELETED


def test_a_retransmitted_delete_is_437_which_clients_take_for_success() -> None:
    world = World()
    client = world.client()
    client.allocated()
    data = client.signed(Method.REFRESH, ((a.LIFETIME, 0),))
    assert code_of(client.ask(data)) is None
    assert code_of(client.ask(data)) == 437


def test_a_family_deletes_its_relay_alone() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    assert client.refresh(0, AddressFamily.IPV4).get(a.LIFETIME) == 0
    assert code_of(client.permit(PEER)) == 443
    assert code_of(client.permit(PEER6)) is None
    assert code_of(client.refresh(600, AddressFamily.IPV4)) == 443
    assert client.refresh(0, AddressFamily.IPV6).get(a.LIFETIME) == 0
    assert code_of(client.refresh()) == 437


def test_a_family_prolongs_its_relay_alone() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    client.refresh(1200, AddressFamily.IPV6)
    world.pass_time(600)
    (allocation,) = world.state.table
    assert [relay.family for relay in allocation.relays] == [AddressFamily.IPV6]
    world.pass_time(600)
    assert len(world.state.table) == 0


@pytest.mark.parametrize("family", [AddressFamily.IPV6, 7])
@pytest.mark.parametrize("lifetime", [0, 600])
def test_a_family_that_the_allocation_lacks_is_443(family: AddressFamily, lifetime: int) -> None:
    world = World()
    client = world.client()
    client.allocated()
    assert code_of(client.refresh(lifetime, family)) == 443
    assert len(world.state.table) == 1


@pytest.mark.parametrize("attribute", [a.LIFETIME, a.REQUESTED_ADDRESS_FAMILY])
def test_a_malformed_attribute_is_400_and_changes_nothing(attribute: a.Attribute[int]) -> None:
    world = World()
    client = world.client()
    client.allocated()
    world.pass_time(100)
    assert code_of(client.request(Method.REFRESH, ((a.raw(attribute.number), b"\x00"),))) == 400
    world.pass_time(500)
    assert len(world.state.table) == 0


class TestWithATicket:
    """See `test_mobility` for what becomes of the five-tuples."""

    def test_it_sets_the_end_and_gives_another_ticket(self) -> None:
        world = World(settings=TurnSettings(mobility=True))
        client, elsewhere = world.client(), world.client(port=4001)
        ticket = client.allocate((a.MOBILITY_TICKET, b"")).get(a.MOBILITY_TICKET)
        request = elsewhere.signed(Method.REFRESH, ((a.MOBILITY_TICKET, ticket), (a.LIFETIME, 900)))
        answer = elsewhere.ask(request)
        assert answer.get(a.LIFETIME) == 900
        assert answer.get(a.MOBILITY_TICKET) not in (None, ticket)
        assert elsewhere.ask(request).attributes == answer.attributes
        world.pass_time(899)
        assert len(world.state.table) == 1

    def test_it_may_delete(self) -> None:
        world = World(settings=TurnSettings(mobility=True))
        client, elsewhere = world.client(), world.client(port=4001)
        ticket = client.allocate((a.MOBILITY_TICKET, b"")).get(a.MOBILITY_TICKET)
        attributes = ((a.MOBILITY_TICKET, ticket), (a.LIFETIME, 0))
        answer = elsewhere.request(Method.REFRESH, attributes)
        assert answer.get(a.MOBILITY_TICKET) is None
        assert len(world.state.table) == 0


def test_a_newer_token_takes_the_place_of_the_allocations() -> None:
    world = token_world()
    client = token_client(world, lifetime=300)
    answer = client.allocate()
    assert answer.get(a.LIFETIME) == 300
    (allocation,) = world.state.table
    quota_user = allocation.quota_user
    world.pass_time(200)
    newer = client.renewed(user="south")
    assert newer.request(Method.REFRESH, ((a.LIFETIME, 900),)).get(a.LIFETIME) == 900
    assert allocation.quota_user == quota_user
    newer.shows = False
    client.shows = False
    assert code_of(newer.request(Method.CHANNEL_BIND, CHANNEL)) is None
    assert code_of(client.request(Method.CHANNEL_BIND, CHANNEL)) == 401


def test_without_a_token_the_lifetime_is_what_is_left_of_the_last_one() -> None:
    world = token_world()
    client = token_client(world, lifetime=700)
    client.allocated()
    client.shows = False
    world.pass_time(500)
    assert client.request(Method.REFRESH).get(a.LIFETIME) == 205
    world.pass_time(204.5)
    answer = client.request(Method.REFRESH)
    assert code_of(answer) == 401
    assert answer.verify_integrity(*client.integrity())
    assert client.request(Method.REFRESH, ((a.LIFETIME, 0),)).get(a.LIFETIME) == 0


def test_a_password_keeps_its_place_when_it_refreshes() -> None:
    world = World()
    client = world.client()
    client.allocated()
    (allocation,) = world.state.table
    before = allocation.credential
    assert code_of(client.request(Method.REFRESH)) is None
    assert allocation.credential is before


def test_a_tcp_allocation_is_prolonged_by_the_table_alone() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    world.now += 500
    assert code_of(client.refresh(900)) is None
    (allocation,) = world.state.table
    assert allocation.deadline == world.now + 900
    assert "extend" not in [call.verb for call in world.engine.calls]
