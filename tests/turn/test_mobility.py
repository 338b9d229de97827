"""What happens when a client shows its ticket from elsewhere, and when its connection ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.turn.harness import (
    OTHER_PEER,
    PEER,
    PEER6,
    REALM,
    SECRET,
    Client,
    StoreOfTests,
    World,
    code_of,
    from_peer,
)
from turnd.allocations.quotas import Quotas
from turnd.auth.chain import CredentialChain
from turnd.auth.credentials import DerivedKeys, Found, Unavailable, UsernameQuery
from turnd.auth.rest import RestSecrets
from turnd.auth.static import StaticUsers
from turnd.engine.base import Drop
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.stun.message import IntegrityAlgorithm, Message, Method, decode_untrusted
from turnd.turn.bandwidth import BandwidthLimits
from turnd.turn.events import AllocationEnded, AllocationMoved, EndReason, RequestRefused
from turnd.turn.mobility import asks_for_ticket, media_waiting, shown_allocation
from turnd.turn.settings import TurnSettings

if TYPE_CHECKING:
    from turnd.stun.addresses import TransportAddress
    from turnd.turn.turn_allocation import TurnAllocation

ASKED = (a.MOBILITY_TICKET, b"")
DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)
MOBILITY = TurnSettings(mobility=True)
NUMBER = 0x4000


def mobile(**options: object) -> World:
    return World(settings=MOBILITY, **options)  # type: ignore[arg-type] # those of `World`


def ticket_of(answer: Message) -> bytes:
    assert code_of(answer) is None, answer
    ticket = answer.get(a.MOBILITY_TICKET)
    assert ticket is not None
    return ticket


def come(
    client: Client,
    ticket: bytes,
    *more: tuple[a.Attribute[Any], Any],
    transaction_id: bytes | None = None,
) -> Message:
    """Refresh with a ticket."""
    attributes = ((a.MOBILITY_TICKET, ticket), *more)
    return client.request(Method.REFRESH, attributes, transaction_id=transaction_id)


class Call:
    """A mobile allocation of alice, with a channel, and a second place where she may be."""

    def __init__(self, world: World | None = None, client: Client | None = None) -> None:
        self.world = world = world or mobile()
        self.client = client or world.client()
        answer = self.client.allocate(ASKED)
        self.ticket = ticket_of(answer)
        relayed = answer.get(a.XOR_RELAYED_ADDRESS)
        assert relayed is not None
        self.relayed: TransportAddress = relayed
        assert code_of(self.client.bind(NUMBER, PEER)) is None
        self.elsewhere = world.client("198.51.100.77", 5555)

    @property
    def allocation(self) -> TurnAllocation:
        """Of the table's, the one that was made here."""
        (allocation,) = self.world.state.table
        return allocation

    def down_to(self) -> Client | None:
        """Who gets what the peer sends."""
        world = self.world
        before = len(world.engine.sent_to_client)
        from_peer(world, self.relayed, PEER, b"down")
        new = world.engine.sent_to_client[before:]
        return next((Client(world, sent.leg, "", "") for sent in new), None)

    def serves(self, client: Client) -> bool:
        """Whether the peer's data comes to this client, and this client's to the peer."""
        receiver = self.down_to()
        sent = self.world.engine.sent_to_peer
        before = len(sent)
        client.channel_data(NUMBER, b"up")
        return (
            receiver is not None
            and receiver.leg == client.leg
            and [each.data for each in sent[before:]] == [b"up"]
        )


class TestAsking:
    def test_an_empty_attribute_gets_a_ticket(self) -> None:
        world = mobile()
        client = world.client()
        answer = client.allocate(ASKED)
        assert len(ticket_of(answer)) == 32
        assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)

    def test_who_does_not_ask_gets_none(self) -> None:
        world = mobile()
        assert world.client().allocate().get(a.MOBILITY_TICKET) is None
        assert not len(world.state.tickets)

    def test_without_mobility_it_is_forbidden(self) -> None:
        world = World()
        client = world.client()
        assert code_of(client.allocate(ASKED)) == 405
        assert not len(world.state.table)
        assert not asks_for_ticket(world.state, client_message(client))

    @pytest.mark.parametrize("settings", [MOBILITY, TurnSettings()])
    def test_a_ticket_in_an_allocate_is_a_bad_request(self, settings: TurnSettings) -> None:
        world = World(settings=settings)
        for ticket in (b"x", bytes(32)):
            answer = world.client().allocate((a.MOBILITY_TICKET, ticket))
            assert code_of(answer) == 400
        assert not len(world.state.table)

    def test_a_retransmission_gets_the_same_ticket(self) -> None:
        world = mobile()
        client = world.client()
        request = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17), ASKED))
        assert client.send(request) == client.send(request)
        assert len(world.state.tickets) == 1

    def test_a_refresh_without_ticket_gives_no_ticket(self) -> None:
        call = Call()
        assert call.client.refresh(700).get(a.MOBILITY_TICKET) is None
        assert ticket_of(come(call.elsewhere, call.ticket))


def client_message(client: Client) -> Message:
    """Any answer: a message without MOBILITY-TICKET."""
    return client.allocate()


class TestMoving:
    def test_old_and_new_path_work_until_media_comes_by_the_new_one(self) -> None:
        call = Call()
        answer = come(call.elsewhere, call.ticket, (a.LIFETIME, 900))
        assert ticket_of(answer) != call.ticket
        assert answer.get(a.LIFETIME) == 900
        assert answer.verify_integrity(call.elsewhere.key(), IntegrityAlgorithm.SHA1)
        assert call.serves(call.client)
        assert code_of(call.client.refresh()) is None
        assert code_of(call.elsewhere.permit(OTHER_PEER)) is None
        assert code_of(call.elsewhere.bind(NUMBER + 1, OTHER_PEER)) is None
        assert not call.world.reported(AllocationMoved)
        call.elsewhere.channel_data(NUMBER, b"here")
        assert call.world.reported(AllocationMoved) == [
            AllocationMoved(call.elsewhere.leg, "alice", REALM, call.client.leg)
        ]
        assert call.serves(call.elsewhere)
        assert code_of(call.client.refresh()) == 437
        assert code_of(call.elsewhere.refresh()) is None
        assert call.world.engine.counters().drops[Drop.NO_ALLOCATION] == 0

    def test_the_first_media_reaches_the_peer(self) -> None:
        call = Call()
        come(call.elsewhere, call.ticket)
        call.elsewhere.send_indication(PEER, b"first")
        assert [each.data for each in call.world.engine.sent_to_peer] == [b"first"]

    def test_the_engine_waits_for_media_before_the_answer_leaves(self) -> None:
        call = Call()
        call.elsewhere.challenge()
        del call.world.engine.calls[:]
        come(call.elsewhere, call.ticket)
        verbs = [each.verb for each in call.world.engine.calls]
        assert verbs == ["extend", "hold_back", "send_to_client"]

    def test_from_transport_to_transport(self) -> None:
        call = Call()
        places = [call.client, call.world.stream_client(), call.world.client("192.0.2.99")]
        ticket = call.ticket
        seen = {ticket}
        for place in (*places[1:], *places[::-1][1:]):
            ticket = ticket_of(come(place, ticket))
            assert ticket not in seen
            seen.add(ticket)
            place.channel_data(NUMBER, b"here")
            assert call.serves(place)
        assert len(call.world.state.tickets) == 2

    def test_both_relays_of_a_dual_allocation_move(self) -> None:
        world = mobile()
        client, elsewhere = world.client(), world.client("198.51.100.77")
        answer = client.allocate(ASKED, DUAL)
        client.permit(PEER, PEER6)
        come(elsewhere, ticket_of(answer))
        elsewhere.send_indication(PEER6, b"here")
        before = len(world.engine.sent_to_client)
        for relayed, peer in zip(answer.get_all(a.XOR_RELAYED_ADDRESS), (PEER, PEER6), strict=True):
            from_peer(world, relayed, peer, b"down")
        legs = [each.leg for each in world.engine.sent_to_client[before:]]
        assert legs == [elsewhere.leg] * 2

    def test_one_family_may_be_refreshed_or_deleted_on_the_way(self) -> None:
        world = mobile()
        client, elsewhere = world.client(), world.client("198.51.100.77")
        ticket = ticket_of(client.allocate(ASKED, DUAL))
        ipv6, gone = (a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6), (a.LIFETIME, 0)
        assert ticket_of(come(elsewhere, ticket, ipv6, gone))
        (allocation,) = world.state.table
        assert [relay.family for relay in allocation.relays] == [AddressFamily.IPV4]
        assert allocation.next_leg == elsewhere.leg

    def test_a_family_without_relay_moves_nothing(self) -> None:
        call = Call()
        ipv6 = (a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6)
        assert code_of(come(call.elsewhere, call.ticket, ipv6)) == 443
        assert call.allocation.next_leg is None
        assert ticket_of(come(call.elsewhere, call.ticket)), "the ticket is as good as before"

    def test_lifetime_0_deletes(self) -> None:
        call = Call()
        answer = come(call.elsewhere, call.ticket, (a.LIFETIME, 0))
        assert code_of(answer) is None
        assert (answer.get(a.LIFETIME), answer.get(a.MOBILITY_TICKET)) == (0, None)
        assert not len(call.world.state.table)
        assert not len(call.world.state.tickets)
        assert code_of(come(call.elsewhere, call.ticket, (a.LIFETIME, 0))) == 437

    def test_a_third_place_takes_the_second_ones_place(self) -> None:
        call = Call()
        third = call.world.client("203.0.113.200")
        ticket = ticket_of(come(call.elsewhere, call.ticket))
        come(third, ticket)
        call.elsewhere.channel_data(NUMBER, b"too late")
        assert not call.world.reported(AllocationMoved)
        assert code_of(call.elsewhere.refresh()) == 437
        assert call.serves(call.client)
        third.channel_data(NUMBER, b"here")
        assert call.serves(third)

    def test_a_client_may_come_back_before_it_has_left(self) -> None:
        call = Call()
        ticket = ticket_of(come(call.elsewhere, call.ticket))
        ticket = ticket_of(come(call.client, ticket))
        call.elsewhere.channel_data(NUMBER, b"too late")
        assert code_of(call.elsewhere.refresh()) == 437
        assert call.serves(call.client)
        assert ticket_of(come(call.elsewhere, ticket))

    def test_what_was_told_too_late_moves_nothing(self) -> None:
        call = Call()
        for leg in (call.client.leg, call.elsewhere.leg):
            media_waiting(call.world.state, leg)
        assert not call.world.reported(AllocationMoved)
        assert call.serves(call.client)

    def test_an_allocation_that_ends_on_the_way_leaves_nothing(self) -> None:
        call = Call()
        come(call.elsewhere, call.ticket)
        assert code_of(call.elsewhere.refresh(0)) is None
        call.elsewhere.channel_data(NUMBER, b"late")
        assert not len(call.world.state.table)
        assert not len(call.world.state.tickets)
        assert not call.world.engine._rules.clients
        assert call.elsewhere.allocated()

    def test_quotas_stay_where_the_allocation_was_made(self) -> None:
        call = Call(mobile(quotas=Quotas(per_client=1)))
        quotas = call.world.realm.quotas
        first, second = (each.leg.client.host for each in (call.client, call.elsewhere))
        come(call.elsewhere, call.ticket)
        call.elsewhere.channel_data(NUMBER, b"here")
        assert (quotas.of_client(first), quotas.of_client(second)) == (1, 0)
        assert code_of(call.client.allocate()) == 486
        call.elsewhere.refresh(0)
        assert (quotas.of_client(first), quotas.in_use) == (0, 0)


class TestRefusals:
    def test_who_has_not_moved_shows_no_ticket(self) -> None:
        call = Call()
        assert code_of(come(call.client, call.ticket)) == 400
        ticket = ticket_of(come(call.elsewhere, call.ticket))
        assert code_of(come(call.elsewhere, ticket)) == 400
        call.elsewhere.channel_data(NUMBER, b"here")
        assert code_of(come(call.elsewhere, ticket)) == 400
        assert ticket_of(come(call.client, ticket))

    @pytest.mark.parametrize("ticket", [b"", b"x", bytes(31), bytes(33), bytes(200)])
    def test_what_is_no_ticket(self, ticket: bytes) -> None:
        call = Call()
        assert code_of(come(call.elsewhere, ticket)) == 400
        assert code_of(come(call.client, ticket)) == 400

    def test_a_ticket_that_nobody_got(self) -> None:
        call = Call()
        forged = bytes([call.ticket[0] ^ 1]) + call.ticket[1:]
        assert code_of(come(call.elsewhere, forged)) == 437
        assert call.serves(call.client)

    def test_a_ticket_is_good_once(self) -> None:
        call = Call()
        come(call.elsewhere, call.ticket)
        third = call.world.client("203.0.113.200")
        assert code_of(come(third, call.ticket)) == 437
        assert code_of(come(call.elsewhere, call.ticket)) == 437
        call.elsewhere.channel_data(NUMBER, b"here")
        assert code_of(come(third, call.ticket)) == 437
        assert code_of(come(call.client, call.ticket)) == 437
        assert call.serves(call.elsewhere)

    def test_another_user_with_the_ticket(self) -> None:
        call = Call()
        bob = call.world.client("198.51.100.77", user="bob")
        assert code_of(come(bob, call.ticket)) == 441
        assert code_of(come(bob, call.ticket, (a.LIFETIME, 0))) == 441
        assert call.serves(call.client)
        assert ticket_of(come(call.elsewhere, call.ticket)), "the ticket is as good as before"

    def test_an_ended_allocations_ticket(self) -> None:
        call = Call()
        call.world.pass_time(600)
        assert code_of(come(call.elsewhere, call.ticket)) == 437

    def test_a_five_tuple_that_has_an_allocation(self) -> None:
        call = Call()
        call.elsewhere.allocated()
        assert code_of(come(call.elsewhere, call.ticket)) == 437
        call.elsewhere.refresh(0)
        assert ticket_of(come(call.elsewhere, call.ticket))

    def test_mobility_that_was_switched_off_meanwhile(self) -> None:
        call = Call()
        call.world.state.settings = TurnSettings()
        assert code_of(come(call.elsewhere, call.ticket)) == 405
        call.world.state.settings = MOBILITY
        assert ticket_of(come(call.elsewhere, call.ticket))

    def test_a_refusal_is_told(self) -> None:
        call = Call()
        come(call.elsewhere, bytes(32))
        (refused,) = call.world.reported(RequestRefused)
        assert (refused.leg, refused.method, refused.code) == (
            call.elsewhere.leg,
            Method.REFRESH,
            437,
        )

    def test_another_realms_allocation(self) -> None:
        call = Call()
        world = call.world
        world.state.realms = {REALM: world.realm, "other.example": world.realm}
        world.server.realms.by_listener = {world.listener: world.realm}
        call.allocation.realm = "other.example"
        message = call.elsewhere.signed(Method.REFRESH, ((a.MOBILITY_TICKET, call.ticket),))
        decoded = call.elsewhere.ask(message)
        assert code_of(decoded) == 441
        call.allocation.realm = REALM
        shown = shown_allocation(call.world.state, decoded)
        assert shown is None, "no ticket in it"


class TestRetransmission:
    def test_it_gets_the_first_copys_answer(self) -> None:
        call = Call()
        request = call.elsewhere.signed(Method.REFRESH, ((a.MOBILITY_TICKET, call.ticket),))
        first = call.elsewhere.send(request)
        assert call.elsewhere.send(request) == first
        call.elsewhere.channel_data(NUMBER, b"here")
        assert call.elsewhere.send(request) == first
        assert len(call.world.reported(AllocationMoved)) == 1

    def test_it_is_the_same_five_tuples(self) -> None:
        call = Call()
        transaction_id = call.world.transaction_id()
        come(call.elsewhere, call.ticket, transaction_id=transaction_id)
        third = call.world.client("203.0.113.200")
        answer = come(third, call.ticket, transaction_id=transaction_id)
        assert code_of(answer) == 437


class TestCredentials:
    def test_the_allocations_own_one_does_while_redis_is_away(self) -> None:
        store = StoreOfTests()
        world = World(settings=MOBILITY, users={"alice": "wonderland"}, store=store)
        call = Call(world)
        rest = RestSecrets(REALM, (), lambda: world.wall)
        world.realm.credentials = CredentialChain(REALM, StaticUsers(REALM, {}), rest, store)
        store.known[UsernameQuery("alice")] = Unavailable()
        assert code_of(world.client("203.0.113.200").allocate()) == 500
        assert ticket_of(come(call.elsewhere, call.ticket))

    def test_of_two_that_wait_for_redis_with_one_ticket_the_first_moves(self) -> None:
        call = Call()
        world = call.world
        users, none = StaticUsers(REALM, {}), RestSecrets(REALM, (), lambda: world.wall)
        world.realm.credentials = CredentialChain(REALM, users, none, StoreOfTests())
        known = call.allocation.credential
        former = DerivedKeys("alice", REALM, "changed meanwhile")
        call.allocation.credential = replace(known, keys=former)
        third = world.client("203.0.113.200")
        for client in (call.elsewhere, third, call.elsewhere):
            request = client.signed(Method.REFRESH, ((a.MOBILITY_TICKET, call.ticket),))
            assert client.send(request) == []
        codes = []
        while world.pending:
            answer = world.resume(Found((known,)))
            assert answer is not None
            codes.append(code_of(decode_untrusted(answer)))
        assert codes == [None, 437, 437]
        assert call.allocation.next_leg == call.elsewhere.leg
        assert len(world.state.tickets) == 2

    @pytest.mark.parametrize("strict", [False, True])
    def test_one_that_has_expired(self, strict: bool) -> None:
        world = World(settings=MOBILITY, secrets=[SECRET])
        world.realm.strict_expiry = strict
        call = Call(world, world.rest_client(100))
        world.pass_time(101)
        elsewhere = world.client(port=7, user=call.client.user)
        elsewhere.password = call.client.password
        answer = come(elsewhere, call.ticket)
        assert code_of(answer) == (401 if strict else None)

    def test_a_ticket_without_credentials_is_worth_nothing(self) -> None:
        call = Call()
        attributes = ((a.MOBILITY_TICKET, call.ticket),)
        bare = call.elsewhere.plain(Method.REFRESH, attributes)
        assert code_of(call.elsewhere.ask(bare)) == 401
        call.elsewhere.password = "wrong"
        assert code_of(call.elsewhere.request(Method.REFRESH, attributes)) == 401
        assert call.allocation.next_leg is None


class TestConnections:
    def test_an_allocation_with_a_ticket_waits_for_its_client(self) -> None:
        world = mobile()
        call = Call(world, world.stream_client())
        world.engine.stream_ended(call.client.leg)
        waiting = call.allocation
        assert not waiting.connected
        assert call.down_to() is None
        assert world.engine.counters().drops[Drop.NO_CLIENT] == 1
        ticket = ticket_of(come(call.elsewhere, call.ticket))
        assert call.down_to() == Client(world, call.elsewhere.leg, "", "")
        assert call.allocation.connected
        assert call.serves(call.elsewhere)
        assert world.reported(AllocationMoved)[0].former == call.client.leg
        again = world.stream_client()
        assert ticket_of(come(again, ticket))

    def test_until_its_lifetime_ends(self) -> None:
        world = mobile()
        call = Call(world, world.stream_client())
        world.engine.stream_ended(call.client.leg)
        world.pass_time(599.9)
        assert len(world.state.table) == world.realm.quotas.in_use == 1
        world.pass_time(0.1)
        assert len(world.state.table) == world.realm.quotas.in_use == 0
        assert world.engine.counters().relays == 0
        assert [event.reason for event in world.reported(AllocationEnded)] == [EndReason.EXPIRED]

    def test_one_without_a_ticket_ends(self) -> None:
        world = mobile()
        client = world.stream_client()
        client.allocated()
        world.engine.stream_ended(client.leg)
        assert len(world.state.table) == world.engine.counters().relays == 0

    def test_one_ends_also_when_mobility_was_switched_off(self) -> None:
        world = mobile()
        call = Call(world, world.stream_client())
        world.state.settings = TurnSettings()
        world.engine.stream_ended(call.client.leg)
        assert len(world.state.table) == world.engine.counters().relays == 0

    def test_the_old_ones_end_moves_the_allocation(self) -> None:
        world = mobile()
        call = Call(world, world.stream_client())
        come(call.elsewhere, call.ticket)
        world.engine.stream_ended(call.client.leg)
        assert call.down_to() == Client(world, call.elsewhere.leg, "", "")
        assert len(world.reported(AllocationMoved)) == 1
        assert call.serves(call.elsewhere)

    def test_the_new_ones_end_moves_nothing(self) -> None:
        call = Call()
        new = call.world.stream_client()
        ticket = ticket_of(come(new, call.ticket))
        call.world.engine.stream_ended(new.leg)
        assert call.allocation.next_leg is None
        assert call.serves(call.client)
        assert ticket_of(come(call.elsewhere, ticket))

    def test_bandwidth_that_was_limited_meanwhile_is_limited(self) -> None:
        world = mobile()
        call = Call(world, world.stream_client())
        world.engine.stream_ended(call.client.leg)
        world.realm.bandwidth = BandwidthLimits(per_allocation=8_000)
        world.state.bandwidth.set_limits(0, [world.realm], world.state.table)
        come(call.elsewhere, call.ticket)
        for _ in range(80):
            call.elsewhere.channel_data(NUMBER, bytes(1_000))
        assert world.engine.counters().drops[Drop.BANDWIDTH] > 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["allocate", "come", "media", "hang up", "delete", "refresh", "wait"]),
        st.integers(0, 4),
        st.integers(0, 2),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_clients_do_nothing_is_left_behind(steps: list[tuple[str, int, int]]) -> None:
    """Five places, two of them connections that are made anew when they were hung up."""
    world = mobile()
    places = [world.client(port=port) for port in (1, 2, 3)]
    places += [world.stream_client("203.0.113.6"), world.stream_client("203.0.113.7")]
    tickets: list[bytes] = [b"x" * 32]
    for what, place, ticket in steps:
        client = places[place]
        if what == "allocate":
            answer = client.allocate(ASKED)
        elif what == "come":
            answer = come(client, tickets[-1 - ticket % len(tickets)])
        elif what == "refresh":
            answer = client.refresh()
        elif what == "delete":
            answer = client.refresh(0)
        else:
            answer = None
        if what == "media":
            client.send_indication(PEER, b"media")
        elif what == "wait":
            world.pass_time(200)
        elif what == "hang up" and place >= 3:
            world.engine.stream_ended(client.leg)
            places[place] = world.stream_client(client.leg.client.host)
        if answer is not None and code_of(answer) is None and answer.has(a.MOBILITY_TICKET):
            tickets.append(ticket_of(answer))
        allocations = list(world.state.table)
        legs = [leg for each in allocations for leg in (each.leg, each.next_leg) if leg]
        assert len(legs) == len(set(legs))
        assert all(world.state.table.get(leg) in allocations for leg in legs)
        assert world.realm.quotas.in_use == len(allocations) == world.engine.counters().relays
        assert len(world.state.tickets) <= 2 * len(allocations)
        assert world.engine._rules.clients.keys() <= set(legs)
    world.server.end_all(world.now)
    assert not len(world.state.table)
    assert not len(world.state.tickets)
    assert not world.engine._rules.clients
    assert world.engine.counters().relays == world.realm.quotas.in_use == 0
