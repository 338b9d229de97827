from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.turn.discovery import CLIENTS, HOSTS, PORTS, QUARTET, DiscoveryWorld, Heard
from tests.turn.harness import Client, World, code_of
from turnd.stun import attributes as a
from turnd.stun.addresses import ClientAddress, TransportAddress
from turnd.stun.message import Method
from turnd.turn.behavior_discovery import Host, Quartet
from turnd.turn.events import BindingAnswered, Dropped, MessageDropped

FLAGS = [a.ChangeRequest(*each) for each in product((False, True), repeat=2)]
PRIMARY = TransportAddress("192.0.2.1", 3478)
ALL_FOUR = [TransportAddress(host, port) for host in HOSTS for port in PORTS]
HEADERS = {4: 28, 6: 48}


@pytest.fixture
def world() -> DiscoveryWorld:
    return DiscoveryWorld()


def asked(client: Client, *attributes: tuple[a.Attribute[Any], Any]) -> bytes:
    return client.plain(Method.BINDING, attributes)


def one(heard: list[Heard]) -> Heard:
    (only,) = heard
    return only


def other(here: TransportAddress) -> TransportAddress:
    """The other host with the other port."""
    host = HOSTS[1 - HOSTS.index(here.host)]
    return TransportAddress(host, PORTS[1 - PORTS.index(here.port)])


@pytest.mark.parametrize("local", ALL_FOUR)
def test_an_answer_tells_where_it_comes_from_and_the_endpoint_across(
    world: DiscoveryWorld, local: TransportAddress
) -> None:
    client = world.at(local)
    answer, to, from_ = one(world.heard(client, asked(client)))
    assert (to, from_) == (client.leg.client, local)
    assert answer.get(a.XOR_MAPPED_ADDRESS) == answer.get(a.MAPPED_ADDRESS) == client.leg.client
    assert answer.get(a.RESPONSE_ORIGIN) == local
    assert answer.get(a.OTHER_ADDRESS) == other(local)
    assert not answer.has(a.PADDING)
    assert world.reported(BindingAnswered) == [BindingAnswered(client.leg)]


@pytest.mark.parametrize("local", ALL_FOUR)
@pytest.mark.parametrize("change", FLAGS)
def test_the_answer_comes_from_where_change_request_says(
    world: DiscoveryWorld, local: TransportAddress, change: a.ChangeRequest
) -> None:
    """Table 1 of section 6.1."""
    client = world.at(local)
    answer, to, from_ = one(world.heard(client, asked(client, (a.CHANGE_REQUEST, change))))
    across = other(local)
    expected = TransportAddress(
        across.host if change.change_ip else local.host,
        across.port if change.change_port else local.port,
    )
    assert (to, from_) == (client.leg.client, expected)
    assert answer.get(a.RESPONSE_ORIGIN) == expected
    assert answer.get(a.OTHER_ADDRESS) == across


def test_ipv6_has_a_quartet_of_its_own(world: DiscoveryWorld) -> None:
    client = world.at(TransportAddress("2001:db8::1", 3478), host="2001:db8:c::5")
    asks = asked(client, (a.CHANGE_REQUEST, a.ChangeRequest(True, True)), (a.SOFTWARE, "client"))
    answer, _, from_ = one(world.heard(client, asks))
    assert from_ == ("2001:db8::2", 3479)
    assert answer.get(a.RESPONSE_ORIGIN) == answer.get(a.OTHER_ADDRESS) == from_
    assert answer.get(a.MAPPED_ADDRESS) == client.leg.client


def test_behind_nat_clients_are_told_the_announced_addresses() -> None:
    hosts = Host("192.0.2.1", "198.51.100.1"), Host("192.0.2.2", "198.51.100.2")
    world = DiscoveryWorld((Quartet(hosts, PORTS),))
    client = world.at(PRIMARY)
    asks = asked(client, (a.CHANGE_REQUEST, a.ChangeRequest(True, False)))
    answer, _, from_ = one(world.heard(client, asks))
    assert from_ == ("192.0.2.2", 3478)
    assert answer.get(a.RESPONSE_ORIGIN) == ("198.51.100.2", 3478)
    assert answer.get(a.OTHER_ADDRESS) == ("198.51.100.2", 3479)


@pytest.mark.parametrize("attribute", [a.CHANGE_REQUEST, a.RESPONSE_PORT, a.PADDING])
def test_who_came_elsewhere_is_offered_nothing(attribute: a.Attribute[Any]) -> None:
    world = World()
    world.state.quartets = (QUARTET,)
    client = world.client()
    client.leg = client.leg._replace(
        local=client.leg.local._replace(port=443)  # another endpoint of the same host
    )
    values: dict[a.Attribute[Any], Any] = {
        a.CHANGE_REQUEST: FLAGS[0], a.RESPONSE_PORT: 5000, a.PADDING: b""
    }  # fmt: skip
    answer = client.ask(asked(client, (attribute, values[attribute])))
    assert code_of(answer) == 420
    assert answer.get(a.UNKNOWN_ATTRIBUTES) == (attribute.number,)
    plain = client.ask(asked(client))
    assert [number for number, _ in plain.attributes] == [a.XOR_MAPPED_ADDRESS.number]


def test_by_a_proxy_there_is_nothing_to_be_found_out() -> None:
    leg = DiscoveryWorld().at(PRIMARY).leg
    assert QUARTET.serves(leg)
    proxy = ClientAddress(TransportAddress("198.51.100.7", 3478))
    assert not QUARTET.serves(leg._replace(via=proxy))


class TestPadding:
    @pytest.mark.parametrize("size", [0, 1, 4, 100, 1499, 1500])
    def test_a_padded_request_gets_as_much_back(self, world: DiscoveryWorld, size: int) -> None:
        client = world.at(PRIMARY)
        answer = one(world.heard(client, asked(client, (a.PADDING, bytes(size))))).message
        assert answer.get(a.PADDING) == bytes(size)
        assert answer.get(a.OTHER_ADDRESS) == other(PRIMARY)

    def test_but_no_more_than_an_mtu(self, world: DiscoveryWorld) -> None:
        client = world.at(PRIMARY)
        asks = asked(client, (a.PADDING, bytes(9000)))
        assert one(world.heard(client, asks)).message.get(a.PADDING) == bytes(1500)

    def test_with_a_credential_it_is_always_an_mtu(self, world: DiscoveryWorld) -> None:
        client = world.at(PRIMARY)
        signed = client.signed(Method.BINDING, [(a.PADDING, b"little")])
        assert one(world.heard(client, signed)).message.get(a.PADDING) == bytes(1500)

    def test_it_goes_with_change_request(self, world: DiscoveryWorld) -> None:
        client = world.at(PRIMARY)
        both = (a.CHANGE_REQUEST, a.ChangeRequest(False, True)), (a.PADDING, bytes(1500))
        answer, _, from_ = one(world.heard(client, asked(client, *both)))
        assert (answer.get(a.PADDING), from_) == (bytes(1500), ("192.0.2.1", 3479))


class TestResponsePort:
    @pytest.mark.parametrize("port", [1024, 4000, 65535])
    def test_the_answer_goes_to_that_port_of_the_same_host(
        self, world: DiscoveryWorld, port: int
    ) -> None:
        client = world.at(PRIMARY)
        answer, to, from_ = one(world.heard(client, asked(client, (a.RESPONSE_PORT, port))))
        assert (to, from_) == (("203.0.113.5", port), PRIMARY)
        assert answer.get(a.XOR_MAPPED_ADDRESS) == client.leg.client

    def test_it_goes_with_change_request(self, world: DiscoveryWorld) -> None:
        client = world.at(PRIMARY)
        both = (a.RESPONSE_PORT, 5000), (a.CHANGE_REQUEST, a.ChangeRequest(True, True))
        _, to, from_ = one(world.heard(client, asked(client, *both)))
        assert (to, from_) == (("203.0.113.5", 5000), other(PRIMARY))

    @pytest.mark.parametrize("port", [1, 53, 1023])
    def test_services_of_a_stranger_are_not_reached(self, world: DiscoveryWorld, port: int) -> None:
        client = world.at(PRIMARY)
        answer, to, _ = one(world.heard(client, asked(client, (a.RESPONSE_PORT, port))))
        assert (code_of(answer), to) == (403, client.leg.client)

    def test_unless_he_sends_from_there_himself(self, world: DiscoveryWorld) -> None:
        client = world.at(PRIMARY, port=500)
        answer, to, _ = one(world.heard(client, asked(client, (a.RESPONSE_PORT, 500))))
        assert (code_of(answer), to) == (None, client.leg.client)

    def test_who_has_a_credential_may_name_any(self, world: DiscoveryWorld) -> None:
        client = world.at(PRIMARY)
        signed = client.signed(Method.BINDING, [(a.RESPONSE_PORT, 53)])
        answer, to, _ = one(world.heard(client, signed))
        assert to == ("203.0.113.5", 53)
        assert answer.has_integrity

    @pytest.mark.parametrize("signed", [True, False])
    def test_port_0_is_400(self, world: DiscoveryWorld, signed: bool) -> None:
        client = world.at(PRIMARY)
        make = client.signed if signed else client.plain
        answer, to, _ = one(world.heard(client, make(Method.BINDING, [(a.RESPONSE_PORT, 0)])))
        assert (code_of(answer), to) == (400, client.leg.client)

    @pytest.mark.parametrize("signed", [True, False])
    def test_together_with_padding_it_is_400(self, world: DiscoveryWorld, signed: bool) -> None:
        client = world.at(PRIMARY)
        make = client.signed if signed else client.plain
        both: list[tuple[a.Attribute[Any], Any]] = [
            (a.RESPONSE_PORT, 5000), (a.PADDING, bytes(1500))
        ]  # fmt: skip
        answer, to, _ = one(world.heard(client, make(Method.BINDING, both)))
        assert (code_of(answer), to) == (400, client.leg.client)


def test_a_signed_request_gets_it_all_signed(world: DiscoveryWorld) -> None:
    client = world.at(PRIMARY)
    signed = client.signed(Method.BINDING, [(a.CHANGE_REQUEST, a.ChangeRequest(True, True))])
    answer, _, from_ = one(world.heard(client, signed))
    assert from_ == other(PRIMARY) == answer.get(a.RESPONSE_ORIGIN)
    assert answer.verify_integrity(client.key(), client.integrity().algorithm)


@pytest.mark.parametrize("attribute", [a.CHANGE_REQUEST, a.RESPONSE_PORT, a.PADDING])
def test_they_are_known_with_binding_alone(
    world: DiscoveryWorld, attribute: a.Attribute[Any]
) -> None:
    client = world.at(PRIMARY)
    signed = client.signed(
        Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17), (attribute, _any(attribute))]
    )
    answer = one(world.heard(client, signed)).message
    assert (code_of(answer), answer.get(a.UNKNOWN_ATTRIBUTES)) == (420, (attribute.number,))


def _any(attribute: a.Attribute[Any]) -> Any:
    return {a.CHANGE_REQUEST: FLAGS[1], a.RESPONSE_PORT: 5000, a.PADDING: b"x"}[attribute]


class TestStreams:
    def test_they_learn_of_the_other_endpoint_too(self, world: DiscoveryWorld) -> None:
        client = world.stream_client()
        answer = client.ask(asked(client))
        assert answer.get(a.RESPONSE_ORIGIN) == PRIMARY
        assert answer.get(a.OTHER_ADDRESS) == other(PRIMARY)
        assert answer.get(a.MAPPED_ADDRESS) == client.leg.client

    @pytest.mark.parametrize("attribute", [a.CHANGE_REQUEST, a.RESPONSE_PORT, a.PADDING])
    def test_an_answer_has_no_other_way_than_back(
        self, world: DiscoveryWorld, attribute: a.Attribute[Any]
    ) -> None:
        client = world.stream_client()
        answer = client.ask(asked(client, (attribute, _any(attribute))))
        assert code_of(answer) == 420

    def test_where_only_udp_has_four_endpoints_they_are_told_nothing(self) -> None:
        world = DiscoveryWorld((Quartet(QUARTET.hosts, PORTS),))
        client = world.stream_client()
        assert not client.ask(asked(client)).has(a.OTHER_ADDRESS)


@pytest.mark.parametrize("malformed", [a.CHANGE_REQUEST, a.RESPONSE_PORT])
def test_a_malformed_attribute_is_400(world: DiscoveryWorld, malformed: a.Attribute[Any]) -> None:
    client = world.at(PRIMARY)
    answer, to, _ = one(world.heard(client, asked(client, (a.raw(malformed.number), b"xyz"))))
    assert (code_of(answer), to) == (400, client.leg.client)


REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just(a.CHANGE_REQUEST), st.sampled_from(FLAGS)),
        st.tuples(st.just(a.PADDING), st.binary(max_size=1600)),
        st.tuples(st.just(a.RESPONSE_PORT), st.integers(0, 65535)),
        st.tuples(st.just(a.SOFTWARE), st.text("x", max_size=60)),
        st.tuples(st.just(a.raw(0x7FFF)), st.binary(max_size=8)),
    ),
    max_size=4,
)
_WORLD = DiscoveryWorld()


@pytest.mark.parametrize("host", CLIENTS)
@given(attributes=REQUESTS)
def test_no_answer_to_a_stranger_is_over_twice_its_request_nor_for_another_host(
    host: str, attributes: list[tuple[a.Attribute[Any], Any]]
) -> None:
    client = _WORLD.at(TransportAddress(host, 3478), host=CLIENTS[host])
    data = asked(client, *attributes)
    answer, to, _ = one(_WORLD.heard(client, data))
    headers = HEADERS[6 if ":" in host else 4]
    assert headers + answer.size <= 2 * (headers + len(data))
    assert to.host == client.leg.client.host
    assert code_of(answer) is not None or answer.has(a.XOR_MAPPED_ADDRESS)


def test_a_bare_request_by_ipv6_has_no_room_for_all(world: DiscoveryWorld) -> None:
    client = world.at(TransportAddress("2001:db8::1", 3478), host="2001:db8:c::5")
    answer = one(world.heard(client, asked(client))).message
    told = [number for number, _ in answer.attributes]
    assert told == [a.XOR_MAPPED_ADDRESS.number, a.OTHER_ADDRESS.number]


def test_answers_to_strangers_are_drawn_from_the_budget(world: DiscoveryWorld) -> None:
    world.engine.budget(1)
    client = world.at(PRIMARY)
    asks = asked(client, (a.RESPONSE_PORT, 5000), (a.CHANGE_REQUEST, FLAGS[3]))
    assert [len(world.heard(client, asks)) for _ in range(3)] == [1, 0, 0]
    assert [each.reason for each in world.reported(MessageDropped)] == [Dropped.OVER_BUDGET] * 2
