from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.turn.harness import Client, World, code_of
from tests.turn.requests import request
from turnd.allocations.quotas import Quotas
from turnd.engine.base import Transport
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Message, Method
from turnd.turn.events import RequestRefused
from turnd.turn.redirect import Alternate, Redirection, When
from turnd.turn.redirect_memory import LIFETIME, MOST_EACH
from turnd.turn.request import Refused, Request

if TYPE_CHECKING:
    from collections.abc import Callable

IPV4 = TransportAddress("203.0.113.8", 3478)
IPV6 = TransportAddress("2001:db8::8", 443)
ALTERNATES = (Alternate(IPV6), Alternate(TransportAddress("203.0.113.8", 0)))
OTHERS = [TransportAddress(f"203.0.113.{number}", 3478) for number in (1, 2, 3)]


def sent_to(answer: Message) -> list[TransportAddress]:
    assert code_of(answer) == 300
    return answer.get_all(a.ALTERNATE_SERVER)


def with_alternates(world: World, *alternates: Alternate) -> World:
    world.state.redirection.alternates = alternates or ALTERNATES
    return world


def full(*alternates: Alternate) -> World:
    world = with_alternates(World(total=1), *alternates)
    world.client("203.0.113.99").allocated()
    return world


def test_the_alternate_of_the_clients_family_comes_first_and_the_answer_is_signed() -> None:
    world = full()
    client = world.client()
    answer = client.allocate()
    assert sent_to(answer) == [IPV4, IPV6]
    assert answer.verify_integrity(client.key(), client.integrity().algorithm)
    assert sent_to(world.client("2001:db8::5").allocate()) == [IPV6, IPV4]
    refused = world.reported(RequestRefused)
    assert {(each.code, each.why) for each in refused} == {(300, "quota: total")}


def test_without_a_port_it_is_the_one_that_the_client_came_to() -> None:
    assert sent_to(full().stream_client().allocate()) == [IPV4, IPV6]


@pytest.mark.parametrize("host", ["203.0.113.5", "2001:db8::5"])
def test_without_an_alternate_of_the_clients_family_the_error_is_told(host: str) -> None:
    family = AddressFamily.IPV6 if ":" in host else AddressFamily.IPV4
    world = full(*(each for each in ALTERNATES if each.address.family is not family))
    answer = world.client(host).allocate()
    assert code_of(answer) == 486
    assert not answer.has(a.ALTERNATE_SERVER)


def test_without_alternates_that_live_too() -> None:
    world = full()
    world.state.redirection.alternates = ()
    assert code_of(world.client().allocate()) == 486


def test_several_take_turns_whoever_comes_between() -> None:
    world = full(*map(Alternate, OTHERS), Alternate(IPV6))
    told: list[TransportAddress] = []
    for number in range(6):
        told += sent_to(world.client(f"198.51.100.{number}").allocate())[:1]
        sent_to(world.client(f"2001:db8::{number + 10}").allocate())
    assert told == OTHERS * 2


def drained() -> Client:
    world = with_alternates(World())
    world.state.draining = True
    return world.client()


def without_descriptors() -> Client:
    world = with_alternates(World())
    world.engine.descriptors = 0
    return world.client()


def without_an_address_just_now() -> Client:
    world = with_alternates(World())
    world.relays.use([], {AddressFamily.IPV4})
    return world.client()


@pytest.mark.parametrize("made", [drained, without_descriptors, without_an_address_just_now])
@pytest.mark.parametrize("even_port", [False, True])
def test_who_finds_no_room_is_redirected(made: Callable[[], Client], even_port: bool) -> None:
    wish = ((a.EVEN_PORT, True),) if even_port else ()
    assert sent_to(made().allocate(*wish)) == [IPV4, IPV6]


def test_an_admin_may_refuse_those_who_come_while_the_server_ends() -> None:
    client = drained()
    client.world.state.redirection.when = When(draining=False)
    assert code_of(client.allocate()) == 508


def test_from_so_many_allocations_on() -> None:
    world = with_alternates(World())
    world.state.redirection.when = When(allocations=2)
    for number in range(2):
        world.client(port=number + 1).allocated()
    assert sent_to(world.client(port=9).allocate()) == [IPV4, IPV6]
    assert world.reported(RequestRefused)[-1].why == "redirect.when: 2 allocations"
    world.state.redirection.alternates = ()
    world.client(port=10).allocated()


def test_while_so_much_is_relayed() -> None:
    world = with_alternates(World())
    redirection = world.state.redirection
    redirection.when = When(bits_per_second=1_000_000)
    redirection.bits_per_second = 1_000_000.0
    world.client(port=1).allocated()
    redirection.bits_per_second = 1_000_000.4
    assert sent_to(world.client(port=2).allocate())
    assert world.reported(RequestRefused)[-1].why == "redirect.when: 1000000 bit/s"


def test_who_is_over_a_limit_of_his_own_is_not() -> None:
    for quotas in (Quotas(per_user=1), Quotas(per_client=1)):
        world = with_alternates(World(quotas=quotas))
        world.state.redirection.when = When(allocations=1)
        world.client(port=1).allocated()
        assert code_of(world.client(port=2).allocate()) == 486


def test_a_reservation_is_here_alone() -> None:
    client = drained()
    answer = client.allocate((a.RESERVATION_TOKEN, bytes(8)))
    assert code_of(answer) == 508


def test_the_living_go_on() -> None:
    world = with_alternates(World())
    client = world.client()
    data = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    first = client.send(data)
    world.state.draining = True
    world.state.redirection.when = When(allocations=1)
    assert client.send(data) == first
    assert code_of(client.refresh()) is None


def test_strangers_are_told_nothing() -> None:
    client = drained()
    answer = client.challenge()
    assert code_of(answer) == 401
    assert not answer.has(a.ALTERNATE_SERVER)
    client.password = "wrong"
    assert code_of(client.allocate()) == 401


def test_who_comes_back_is_refused_where_there_is_no_room() -> None:
    client = drained()
    assert sent_to(client.allocate())
    assert code_of(client.allocate()) == 508
    client.world.pass_time(LIFETIME)
    assert sent_to(client.allocate()), "it is a new attempt"


def test_who_comes_back_is_served_where_there_is_only_much_to_do() -> None:
    world = with_alternates(World())
    world.state.redirection.when = When(allocations=1)
    world.client(port=1).allocated()
    client = world.client(port=2)
    assert sent_to(client.allocate())
    client.allocated()


def test_a_retransmission_gets_the_answer_that_was_lost() -> None:
    world = with_alternates(World(), *map(Alternate, OTHERS))
    world.state.draining = True
    client = world.client()
    data = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    first = client.send(data)
    world.state.redirection.alternates = ALTERNATES
    assert client.send(data) == first
    assert sent_to(client.ask(data)) == OTHERS[:1]


def test_who_goes_round_by_ever_other_ports_comes_to_an_end() -> None:
    world = with_alternates(World())
    world.state.draining = True
    codes = [code_of(world.client(port=port).allocate()) for port in range(1, MOST_EACH + 3)]
    assert codes == [300] * MOST_EACH + [508] * 2
    assert sent_to(world.client(port=99, user="bob").allocate())


def test_who_is_sent_elsewhere_need_not_ask_there_for_a_nonce() -> None:
    """libwebrtc takes that of the 300 along, and gives up on a 438."""
    client = drained()
    nonce = client.allocate().get(a.NONCE)
    there = World().client()
    there.nonce = nonce
    there.allocated()
    client.nonce = nonce
    assert code_of(client.refresh()) == 438


def test_who_was_redirected_elsewhere_is_served_or_gets_the_error() -> None:
    first, second = with_alternates(World()), with_alternates(World())
    for world in (first, second):
        world.client(port=1).allocated()
        world.state.redirection.when = When(allocations=1)
    answer = first.client(port=2).allocate()
    assert sent_to(answer)
    sent = second.client(port=2)
    sent.nonce = answer.get(a.NONCE)
    second.state.draining = True
    assert code_of(sent.allocate()) == 508
    second.state.draining = False
    second.pass_time(LIFETIME)
    sent.allocated()
    assert sent_to(second.client(port=3).allocate())


NAMED = Alternate(OTHERS[0], "b.example")
NAMED_IPV6 = Alternate(IPV6, "b.example")


def told(asked: Request, *alternates: Alternate) -> list[tuple[str, object]]:
    refused = Redirection(alternates).no_room(asked, ErrorCode.INSUFFICIENT_CAPACITY, "full")
    assert refused.code is ErrorCode.TRY_ALTERNATE
    return [(attribute.name, value) for attribute, value in refused.attributes]


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.DTLS])
def test_a_client_that_checks_a_certificate_is_told_the_name_in_it(transport: Transport) -> None:
    asked = request(transport=transport, sha256=True)
    found = told(asked, NAMED, Alternate(TransportAddress("2001:db8::9", 0)), NAMED_IPV6)
    assert found == [
        ("ALTERNATE-SERVER", OTHERS[0]),
        ("ALTERNATE-SERVER", IPV6),
        ("ALTERNATE-DOMAIN", "b.example"),
    ]


@pytest.mark.parametrize(
    ("transport", "sha256"),
    [(Transport.TLS, False), (Transport.UDP, True), (Transport.TCP, True)],
)
def test_nobody_else_is(transport: Transport, sha256: bool) -> None:
    found = told(request(transport=transport, sha256=sha256), NAMED)
    assert found == [("ALTERNATE-SERVER", OTHERS[0])]


def test_nor_is_there_a_name_where_the_certificate_is_the_same() -> None:
    asked = request(transport=Transport.TLS, sha256=True)
    assert told(asked, Alternate(OTHERS[0]), NAMED_IPV6) == [("ALTERNATE-SERVER", OTHERS[0])]


@pytest.mark.parametrize("transport", Transport)
def test_where_there_is_room_browsers_by_tls_are_served_since_they_cannot_follow(
    transport: Transport,
) -> None:
    def relieved(*, sha256: bool) -> bool:
        try:
            Redirection((NAMED,), When(allocations=1)).relieve(
                request(transport=transport, sha256=sha256), 1
            )
        except Refused:
            return True
        return False

    assert relieved(sha256=True)
    assert relieved(sha256=False) is (transport in {Transport.UDP, Transport.TCP})


def test_with_little_to_do_nobody_is_redirected() -> None:
    Redirection((NAMED,), When(allocations=5, bits_per_second=5)).relieve(request(), 4)
    Redirection((NAMED,)).relieve(request(), 1_000_000)
