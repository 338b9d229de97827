from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.turn.harness import Client, World, code_of
from turnd.allocations.quotas import Quotas
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import Message, Method
from turnd.turn.events import RequestRefused
from turnd.turn.settings import TurnSettings

if TYPE_CHECKING:
    from collections.abc import Callable

IPV4 = TransportAddress("203.0.113.8", 3478)
IPV6 = TransportAddress("2001:db8::8", 443)
SETTINGS = TurnSettings(alternates=(IPV6, TransportAddress("203.0.113.8", 0)))


def sent_to(answer: Message) -> list[TransportAddress]:
    assert code_of(answer) == 300
    return answer.get_all(a.ALTERNATE_SERVER)


def full(settings: TurnSettings = SETTINGS) -> World:
    world = World(total=1, settings=settings)
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
    alternates = tuple(each for each in SETTINGS.alternates if (":" in each.host) != (":" in host))
    world = full(TurnSettings(alternates=alternates))
    answer = world.client(host).allocate()
    assert code_of(answer) == 486
    assert not answer.has(a.ALTERNATE_SERVER)


def test_several_share_the_clients() -> None:
    hosts = [TransportAddress(f"203.0.113.{number}", 3478) for number in (1, 2, 3)]
    world = full(TurnSettings(alternates=tuple(hosts)))
    client = world.client()
    answers = [client.allocate() for _ in range(3)]
    assert sorted(address for answer in answers for address in sent_to(answer)) == hosts


def drained() -> Client:
    world = World(settings=SETTINGS)
    world.state.draining = True
    return world.client()


def without_descriptors() -> Client:
    world = World(settings=SETTINGS)
    world.engine.descriptors = 0
    return world.client()


@pytest.mark.parametrize("made", [drained, without_descriptors])
@pytest.mark.parametrize("even_port", [False, True])
def test_who_finds_no_room_is_redirected(made: Callable[[], Client], even_port: bool) -> None:
    wish = ((a.EVEN_PORT, True),) if even_port else ()
    assert sent_to(made().allocate(*wish)) == [IPV4, IPV6]


def test_who_is_over_a_limit_of_his_own_is_not() -> None:
    for quotas in (Quotas(per_user=1), Quotas(per_client=1)):
        world = World(settings=SETTINGS, quotas=quotas)
        world.client(port=1).allocated()
        assert code_of(world.client(port=2).allocate()) == 486


def test_a_reservation_is_here_alone() -> None:
    client = drained()
    answer = client.allocate((a.RESERVATION_TOKEN, bytes(8)))
    assert code_of(answer) == 508


def test_the_living_go_on() -> None:
    world = World(settings=SETTINGS)
    client = world.client()
    data = client.signed(Method.ALLOCATE, ((a.REQUESTED_TRANSPORT, 17),))
    first = client.send(data)
    world.state.draining = True
    assert client.send(data) == first
    assert code_of(client.refresh()) is None
