from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import PEER, USERS, Client, World, code_of, from_peer
from tests.turn.tcp import TCP, tcp_client, tcp_world
from turnd.allocations.allocation import RelayedTransport
from turnd.allocations.quotas import Quotas
from turnd.engine.base import RelayError
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.message import IntegrityAlgorithm, Method
from turnd.turn.events import AllocationCreated, RequestRefused
from turnd.turn.settings import TurnSettings


def relayed(answer: Any) -> list[TransportAddress]:
    addresses: list[TransportAddress] = answer.get_all(a.XOR_RELAYED_ADDRESS)
    return addresses


def test_success_has_what_section_7_2_lists_and_is_signed() -> None:
    world = World()
    client = world.client()
    answer = client.allocate()
    assert code_of(answer) is None
    assert relayed(answer)[0].host == "192.0.2.1"
    assert 50_000 <= relayed(answer)[0].port <= 50_099
    assert answer.get(a.LIFETIME) == 600
    assert answer.get(a.XOR_MAPPED_ADDRESS) == client.leg.client
    assert answer.get(a.SOFTWARE) == "turnd"
    listed = (a.XOR_RELAYED_ADDRESS, a.LIFETIME, a.XOR_MAPPED_ADDRESS)
    beside = (a.SOFTWARE, a.MESSAGE_INTEGRITY)
    assert [number for number, _ in answer.attributes] == [each.number for each in listed + beside]
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    (created,) = world.reported(AllocationCreated)
    assert (created.user, created.relayed) == ("alice", tuple(relayed(answer)))


def test_retransmission_gets_the_same_answer_and_no_second_allocation() -> None:
    world = World()
    client = world.client()
    data = client.signed(
        Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17), (a.EVEN_PORT, True), (a.LIFETIME, 900))
    )
    first = client.send(data)
    world.pass_time(5)
    assert client.send(data) == first
    assert len(world.state.table) == 1


def test_another_allocate_on_the_five_tuple_is_437() -> None:
    world = World()
    client = world.client()
    client.allocated()
    assert code_of(client.allocate()) == 437


def test_the_five_tuple_is_free_at_once_after_a_delete() -> None:
    world = World()
    client = world.client()
    client.allocated()
    assert code_of(client.refresh(0)) is None
    assert code_of(client.allocate()) is None


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ((), 400),
        (((a.raw(a.REQUESTED_TRANSPORT.number), b"\x11"),), 400),
        (((a.REQUESTED_TRANSPORT, 6),), 442),
        (((a.REQUESTED_TRANSPORT, 99),), 442),
    ],
)
def test_requested_transport(attributes: Any, code: int) -> None:
    client = World().client()
    answer = client.request(Method.ALLOCATE, attributes)
    assert code_of(answer) == code
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)


@pytest.mark.parametrize(
    ("asked", "granted"), [(None, 600), (0, 600), (10, 600), (700, 700), (99_999, 3600)]
)
def test_lifetime_is_clamped(asked: int | None, granted: int) -> None:
    world = World()
    client = world.client()
    answer = client.allocate(*([] if asked is None else [(a.LIFETIME, asked)]))
    assert answer.get(a.LIFETIME) == granted
    world.pass_time(granted - 0.5)
    assert len(world.state.table) == 1
    world.pass_time(0.5)
    assert len(world.state.table) == 0


def test_lifetimes_are_configurable() -> None:
    client = World(settings=TurnSettings(default_lifetime=60, max_lifetime=120)).client()
    assert client.allocate((a.LIFETIME, 999)).get(a.LIFETIME) == 120


def test_a_malformed_attribute_is_400() -> None:
    client = World().client()
    assert code_of(client.allocate((a.raw(a.LIFETIME.number), b"\x00"))) == 400


def test_unknown_required_attributes_are_420_with_the_list() -> None:
    client = World().client()
    answer = client.allocate((a.raw(0x0003), b"1234"), (a.raw(0x7777), b""), (a.raw(0x8888), b""))
    assert code_of(answer) == 420
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (0x0003, 0x7777)
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)


def test_ipv6_only_when_asked_for() -> None:
    client = World().client()
    answer = client.allocate((a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6))
    assert [each.host for each in relayed(answer)] == ["2001:db8::1"]


@pytest.mark.parametrize("family", [AddressFamily.IPV6, 7])
def test_a_family_that_is_not_served_is_440(family: int) -> None:
    client = World(addresses={"192.0.2.1": "192.0.2.1"}).client()
    assert code_of(client.allocate((a.REQUESTED_ADDRESS_FAMILY, family))) == 440


def test_without_ipv4_an_allocate_that_names_no_family_is_440() -> None:
    client = World(addresses={"2001:db8::1": "2001:db8::1"}).client()
    assert code_of(client.allocate()) == 440


@pytest.mark.parametrize(
    ("family", "relays", "client", "expected"),
    [
        (AddressFamily.IPV6, ["192.0.2.1", "2001:db8::1"], "198.51.100.1", "2001:db8::1"),
        (None, ["192.0.2.1", "2001:db8::1"], "2001:db8::99", "2001:db8::1"),
        (None, ["192.0.2.1", "2001:db8::1"], "198.51.100.1", "192.0.2.1"),
        (None, ["192.0.2.1"], "2001:db8::99", "192.0.2.1"),
    ],
)
def test_the_default_family_is_for_the_admin_to_say(
    family: AddressFamily | None, relays: list[str], client: str, expected: str
) -> None:
    settings = TurnSettings(default_family=family)
    world = World(addresses={host: host for host in relays}, settings=settings)
    answer = world.client(client).allocate()
    assert [each.host for each in relayed(answer)] == [expected]


def test_a_dual_allocation_has_an_address_of_each_family() -> None:
    world = World()
    answer = world.client().allocate((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
    assert [each.family for each in relayed(answer)] == [AddressFamily.IPV4, AddressFamily.IPV6]
    assert answer.get(a.ADDRESS_ERROR_CODE) is None
    assert world.state.table.quotas.in_use == 1


@pytest.mark.parametrize(
    ("host", "missing"),
    [("192.0.2.1", AddressFamily.IPV6), ("2001:db8::1", AddressFamily.IPV4)],
)
def test_where_one_family_is_to_be_had_no_second_address_is_made_up(
    host: str, missing: AddressFamily
) -> None:
    client = World(addresses={host: host}).client()
    answer = client.allocate((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
    assert [each.host for each in relayed(answer)] == [host]
    error = answer.get(a.ADDRESS_ERROR_CODE)
    assert error is not None
    assert (error.family, error.code) == (missing, 440)


def test_a_family_without_ports_left_is_508_in_address_error_code() -> None:
    world = World(ports=(50_000, 50_001))
    for port in (1, 2):
        world.client(port=port).allocated((a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6))
    answer = world.client(port=3).allocate((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
    error = answer.get(a.ADDRESS_ERROR_CODE)
    assert error is not None
    assert (error.family, error.code) == (AddressFamily.IPV6, 508)


@pytest.mark.parametrize(
    "attributes",
    [
        ((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV4),),
        (
            (a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV4),
            (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6),
        ),
        ((a.EVEN_PORT, True), (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)),
        ((a.RESERVATION_TOKEN, bytes(8)), (a.EVEN_PORT, False)),
        ((a.RESERVATION_TOKEN, bytes(8)), (a.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV4)),
        ((a.RESERVATION_TOKEN, bytes(8)), (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)),
    ],
)
def test_contradictions_are_400(attributes: Any) -> None:
    assert code_of(World().client().allocate(*attributes)) == 400


def test_even_port_without_reservation() -> None:
    answer = World().client().allocate((a.EVEN_PORT, False))
    assert relayed(answer)[0].port % 2 == 0
    assert answer.get(a.RESERVATION_TOKEN) is None


def test_reserved_port_is_claimed_by_its_token_and_keeps_what_arrived() -> None:
    world = World()
    first, second = world.client(port=1), world.client(port=2)
    answer = first.allocate((a.EVEN_PORT, True))
    port = relayed(answer)[0].port
    token = answer.get(a.RESERVATION_TOKEN)
    claimed = second.allocated((a.RESERVATION_TOKEN, token))
    assert port % 2 == 0
    assert claimed.port == port + 1
    assert code_of(second.permit(PEER)) is None
    assert from_peer(world, claimed, PEER, b"hello")


def test_a_token_is_good_once() -> None:
    world = World()
    token = world.client(port=1).allocate((a.EVEN_PORT, True)).get(a.RESERVATION_TOKEN)
    world.client(port=2).allocated((a.RESERVATION_TOKEN, token))
    assert code_of(world.client(port=3).allocate((a.RESERVATION_TOKEN, token))) == 508


def test_a_token_is_bound_to_the_user() -> None:
    world = World()
    token = world.client(port=1).allocate((a.EVEN_PORT, True)).get(a.RESERVATION_TOKEN)
    other = world.client(port=2, user="bob")
    assert code_of(other.allocate((a.RESERVATION_TOKEN, token))) == 508


def test_a_token_lasts_30_seconds() -> None:
    world = World()
    one, other = (
        world.client(port=port).allocate((a.EVEN_PORT, True)).get(a.RESERVATION_TOKEN)
        for port in (1, 2)
    )
    ports = next(iter(world.relays)).ports
    world.pass_time(29.999)
    assert code_of(world.client(port=3).allocate((a.RESERVATION_TOKEN, one))) is None
    assert ports.in_use == 4
    world.pass_time(0.001)
    assert code_of(world.client(port=4).allocate((a.RESERVATION_TOKEN, other))) == 508
    assert ports.in_use == 3


def test_too_many_reservations_of_a_user_are_508() -> None:
    world = World()
    world.state.table.reservations.per_user = 1
    world.client(port=1).allocated((a.EVEN_PORT, True))
    assert code_of(world.client(port=2).allocate((a.EVEN_PORT, True))) == 508


def test_no_pair_left_is_508_and_nothing_stays_open() -> None:
    world = World(ports=(50_000, 50_001))
    world.client(port=1).allocated()
    assert code_of(world.client(port=2).allocate((a.EVEN_PORT, True))) == 508
    assert world.engine.counters().relays == 1


def test_no_port_left_is_508_and_rest_never_causes_it() -> None:
    world = World(ports=(50_000, 50_000))
    client, other = world.client(port=1), world.client(port=2)
    client.allocated()
    assert code_of(other.allocate()) == 508
    client.refresh(0)
    assert code_of(other.allocate()) is None


def test_out_of_descriptors_is_508_and_says_why() -> None:
    world = World()
    world.engine.descriptors = 0
    assert code_of(world.client().allocate()) == 508
    (refused,) = world.reported(RequestRefused)
    assert refused.why == "out of file descriptors"
    assert len(world.state.table) == 0


def test_quotas_are_486_and_released_with_the_last_relay() -> None:
    world = World(quotas=Quotas(per_user=1))
    client, other = world.client(port=1), world.client(port=2)
    client.allocated((a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
    assert code_of(other.allocate()) == 486
    client.refresh(0, AddressFamily.IPV4)
    assert code_of(other.allocate()) == 486
    client.refresh(0, AddressFamily.IPV6)
    assert code_of(other.allocate()) is None


def test_the_servers_total_is_486_for_everybody() -> None:
    world = World(total=1)
    world.client(port=1).allocated()
    assert code_of(world.client(port=2, user="bob").allocate()) == 486


def test_quota_per_client_address() -> None:
    world = World(quotas=Quotas(per_client=1))
    world.client("203.0.113.5", 1).allocated()
    assert code_of(world.client("203.0.113.5", 2, "bob").allocate()) == 486
    assert code_of(world.client("203.0.113.6", 2, "bob").allocate()) is None


def test_draining_is_508() -> None:
    world = World()
    world.state.draining = True
    assert code_of(world.client().allocate()) == 508


def test_a_retransmission_is_answered_while_draining() -> None:
    world = World()
    client: Client = world.client()
    data = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    first = client.send(data)
    world.state.draining = True
    assert client.send(data) == first


def test_users_of_the_tests_are_who_they_seem() -> None:
    assert code_of(World(users=USERS).client(user="bob").allocate()) is None


def test_a_mobility_ticket_comes_with_the_answer_for_who_asks() -> None:
    world = World(settings=TurnSettings(mobility=True))
    client = world.client()
    answer = client.allocate((a.MOBILITY_TICKET, b""))
    ticket = answer.get(a.MOBILITY_TICKET)
    assert ticket is not None
    (allocation,) = world.state.table
    claim = world.state.tickets.find(ticket)
    assert claim is not None
    assert claim.allocation is allocation


@pytest.mark.parametrize("host", ["2002:c000:201::5", "2001:0:4136:e378::5"])
def test_a_client_behind_a_tunnel_is_403(host: str) -> None:
    client = World().client(host)
    assert code_of(client.allocate()) == 403


def test_tcp_is_relayed_by_tcp_where_it_is_on() -> None:
    world = tcp_world()
    client, relayed = tcp_client(world)
    (allocation,) = world.state.table
    assert allocation.transport is RelayedTransport.TCP
    assert list(world.peer_sockets.listening.values()) == [relayed]
    assert world.engine.counters().relays == 0
    assert allocation.buckets is not None, "for connections, when a limit comes"
    assert code_of(client.refresh(0)) is None
    assert world.peer_sockets.listening == {}
    assert next(iter(world.relays)).ports.in_use == 0


def test_tcp_is_asked_for_by_a_stream_and_without_what_only_datagrams_have() -> None:
    world = tcp_world()
    assert code_of(world.client().request(Method.ALLOCATE, (TCP,))) == 400
    for attribute in (
        (a.DONT_FRAGMENT, True),
        (a.EVEN_PORT, False),
        (a.RESERVATION_TOKEN, bytes(8)),
    ):
        stream = world.stream_client()
        assert code_of(stream.request(Method.ALLOCATE, (TCP, attribute))) == 400
    assert (
        code_of(world.stream_client().request(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 99),)))
        == 442
    )
    assert len(world.state.table) == 0


def test_a_tcp_allocation_without_a_port_leaves_nothing() -> None:
    world = tcp_world()
    world.peer_sockets.error = RelayError.NO_DESCRIPTORS
    assert code_of(world.stream_client().request(Method.ALLOCATE, (TCP,))) == 508
    assert world.state.listening == {}
    assert next(iter(world.relays)).ports.in_use == 0


@pytest.mark.parametrize(
    ("host", "families", "code"),
    [
        ("203.0.113.5", [(a.REQUESTED_ADDRESS_FAMILY, 2)], 420),
        ("203.0.113.5", [(a.ADDITIONAL_ADDRESS_FAMILY, 2)], None),
        ("203.0.113.5", [], None),
        ("2001:db8:c::5", [(a.REQUESTED_ADDRESS_FAMILY, 2)], None),
    ],
)
def test_dont_fragment_is_unknown_where_ipv4_becomes_ipv6(
    host: str, families: list[Any], code: int | None
) -> None:
    answer = World().client(host).allocate((a.DONT_FRAGMENT, True), *families)
    assert code_of(answer) == code
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (None if code is None else (a.DONT_FRAGMENT.number,))


@pytest.mark.parametrize("default", [AddressFamily.IPV4, AddressFamily.IPV6])
@pytest.mark.parametrize(("reserved", "code"), [(1, None), (2, 420)])
def test_with_a_token_the_reserved_ports_family_decides(
    default: AddressFamily, reserved: int, code: int | None
) -> None:
    world = World(settings=TurnSettings(default_family=default))
    answer = world.client(port=1).allocate(
        (a.EVEN_PORT, True), (a.REQUESTED_ADDRESS_FAMILY, reserved)
    )
    token = (a.RESERVATION_TOKEN, answer.get(a.RESERVATION_TOKEN))
    client = world.client(port=2)
    assert code_of(client.allocate(token, (a.DONT_FRAGMENT, True))) == code
    if code is not None:  # the token is still good
        assert code_of(client.allocate(token)) is None


def test_by_tcp_it_counts_for_ipv6_too() -> None:
    client = World().stream_client()
    answer = client.allocate((a.DONT_FRAGMENT, True), (a.REQUESTED_ADDRESS_FAMILY, 2))
    assert code_of(answer) is None


def test_an_allocation_of_connections_does_not_move() -> None:
    client = World(settings=TurnSettings(tcp=True, mobility=True)).stream_client()
    wanted: list[tuple[a.Attribute[Any], Any]] = [
        (a.REQUESTED_TRANSPORT, 6),
        (a.MOBILITY_TICKET, b""),
    ]
    assert code_of(client.request(Method.ALLOCATE, wanted)) == 405
