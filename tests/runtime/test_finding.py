"""What one look finds, with a STUN server that says what a test scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import FAST, PATIENT, Exchange, answer, scripted
from turnd.config.relay_addresses import parse_relay_address
from turnd.runtime import finding
from turnd.runtime.finding import find
from turnd.runtime.names import Names, UnknownNameError
from turnd.stun import attributes as a
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import MessageClass, decode_untrusted
from turnd.system import RouteAddresses

if TYPE_CHECKING:
    from turnd.client.transactions import Timing
    from turnd.turn.address_book import Finding

HOME = TransportAddress("203.0.113.7", 40000)


class Told(Names):
    """Names with answers of the test's."""

    def __init__(self, **answers: tuple[str, ...]) -> None:
        super().__init__()
        self.answers = answers

    async def look_up(self, name: str) -> tuple[str, ...]:
        if name in self.answers:
            return self.answers[name]
        if name.endswith(".example"):
            raise UnknownNameError(f"{name}: not known")
        return await super().look_up(name)


@pytest.fixture(autouse=True)
def this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = RouteAddresses("127.0.0.1", "::1")
    monkeypatch.setattr("turnd.system.default_route_addresses", lambda: routes)
    monkeypatch.setattr(finding, "STUN_TIMING", PATIENT)


async def look(text: str, **answers: tuple[str, ...]) -> Finding:
    (found,) = await find([parse_relay_address(text)], Told(**answers))
    return found


def hurry(monkeypatch: pytest.MonkeyPatch, timing: Timing = FAST) -> None:
    monkeypatch.setattr(finding, "STUN_TIMING", timing)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "bound"),
    [
        ("192.0.2.1", "2001:db8::1", ("192.0.2.1", "2001:db8::1")),
        ("192.0.2.1", None, ("192.0.2.1",)),
        (None, "2001:db8::1", ("2001:db8::1",)),
    ],
)
async def test_what_the_routes_prefer(
    ipv4: str | None, ipv6: str | None, bound: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = RouteAddresses(ipv4, ipv6)
    monkeypatch.setattr("turnd.system.default_route_addresses", lambda: routes)
    found = await look("auto")
    assert (found.bound, found.announced, found.said_untrusted) == (bound, None, None)
    assert not found.is_makeshift


async def test_without_routes_loopback_is_a_makeshift(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = RouteAddresses(None, None)
    monkeypatch.setattr("turnd.system.default_route_addresses", lambda: routes)
    found = await look("auto")
    assert (found.bound, found.is_makeshift) == (("127.0.0.1",), True)
    assert found.problem == "this host has no route"


async def test_without_routes_there_is_nothing_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = RouteAddresses(None, None)
    monkeypatch.setattr("turnd.system.default_route_addresses", lambda: routes)
    found = await look("dns:home.example")
    assert (found.bound, found.problem) == ((), "this host has no route")


async def test_addresses_that_are_here_and_that_are_not() -> None:
    assert (await look("127.0.0.1")).bound == ("127.0.0.1",)
    gone = await look("198.51.100.9=203.0.113.7")
    assert gone.bound == ()
    assert "bound=announced" in gone.problem
    assert (await look("127.0.0.1=203.0.113.7")).announced == {"127.0.0.1": "203.0.113.7"}


async def test_interfaces() -> None:
    assert "127.0.0.1" in (await look("interface:lo")).bound
    found = await look("interface:lo=203.0.113.7")
    assert found.announced == {"127.0.0.1": "203.0.113.7"}
    assert (await look("interface:none")).problem.startswith("no such interface")


async def test_an_announced_address_is_for_its_family() -> None:
    found = await look("auto=2001:db8::7")
    assert (found.bound, found.announced) == (("::1",), {"::1": "2001:db8::7"})


async def test_an_announced_address_without_one_to_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = RouteAddresses("127.0.0.1", None)
    monkeypatch.setattr("turnd.system.default_route_addresses", lambda: routes)
    assert "no address of its family" in (await look("auto=2001:db8::7")).problem


async def test_names_of_both_families() -> None:
    answers = ("2001:db8::7", "203.0.113.7", "203.0.113.8")
    found = await look("dns:home", home=answers)
    assert found.bound == ("127.0.0.1", "::1")
    assert found.said_untrusted == {
        "127.0.0.1": ["203.0.113.7", "203.0.113.8"],
        "::1": ["2001:db8::7"],
    }
    assert (await look("127.0.0.1=dns:home", home=answers)).bound == ("127.0.0.1",)


async def test_a_name_that_nobody_knows() -> None:
    found = await look("dns:home.example")
    assert found.said_untrusted == {}
    assert found.problem == "home.example: not known"


async def test_as_whom_a_stun_server_sees_us() -> None:
    async with scripted(lambda e: e.succeed((a.XOR_MAPPED_ADDRESS, HOME))) as stun:
        found = await look(f"auto=stun:stun:{stun.server.port}", stun=("127.0.0.1",))
    assert found.said_untrusted == {"127.0.0.1": ["203.0.113.7"]}
    assert (found.bound, found.problem) == (("127.0.0.1", "::1"), "")
    (asked,) = stun.seen
    assert asked.client.host == "127.0.0.1"
    assert not asked.message.has(a.USERNAME)


async def test_of_both_families_each_for_itself() -> None:
    ipv6 = TransportAddress("2001:db8::7", 40000)
    async with (
        scripted(lambda e: e.succeed((a.XOR_MAPPED_ADDRESS, HOME))) as one,
        scripted(lambda e: e.succeed((a.XOR_MAPPED_ADDRESS, ipv6)), host="::1") as other,
    ):
        found = await look(f"stun:stun:{other.server.port}", stun=("::1",))
        assert found.said_untrusted == {"::1": ["2001:db8::7"]}
        found = await look(f"stun:stun:{one.server.port}", stun=("127.0.0.1",))
        assert found.said_untrusted == {"127.0.0.1": ["203.0.113.7"]}
    assert other.seen[0].client.host == "::1"


async def test_it_is_asked_from_the_address_that_is_bound() -> None:
    async with scripted(lambda e: e.succeed((a.XOR_MAPPED_ADDRESS, e.client))) as stun:
        found = await look(f"127.0.0.9=stun:127.0.0.1:{stun.server.port}")
    assert found.said_untrusted == {"127.0.0.9": ["127.0.0.9"]}


async def test_stun_servers_that_nobody_knows_or_of_the_other_family() -> None:
    assert (await look("stun:stun.example")).problem == "stun.example: not known"
    found = await look("127.0.0.1=stun:stun", stun=("::1",))
    assert found.problem == "stun has no address of a family that this host has"
    assert found.said_untrusted == {}


def another_transaction(exchange: Exchange) -> None:
    frame = bytearray(exchange.frame)
    frame[8] ^= 1
    forged = decode_untrusted(bytes(frame))
    exchange.send(answer(forged, MessageClass.SUCCESS, [(a.XOR_MAPPED_ADDRESS, HOME)]))


def refused(exchange: Exchange) -> None:
    exchange.fail(400)


def nonsense(exchange: Exchange) -> None:
    exchange.send(b"\x00")


def without_address(exchange: Exchange) -> None:
    exchange.succeed()


@pytest.mark.parametrize("bad", [another_transaction, refused, nonsense, without_address])
async def test_bad_answers_are_none(bad: object, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    async with scripted(bad) as stun:  # type: ignore[arg-type] # a script
        found = await look(f"127.0.0.1=stun:127.0.0.1:{stun.server.port}")
    assert found.said_untrusted == {}
    assert found.problem.startswith(f"127.0.0.1:{stun.server.port} asked from 127.0.0.1: ")


async def test_an_answer_from_elsewhere_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever guesses our port cannot say who we are, not even with the right transaction."""
    hurry(monkeypatch)
    async with scripted(lambda _: None) as other:

        def sent_by_another(exchange: Exchange) -> None:
            reply = answer(exchange.message, MessageClass.SUCCESS, [(a.XOR_MAPPED_ADDRESS, HOME)])
            other.send_to(exchange.client, reply)

        async with scripted(sent_by_another) as stun:
            found = await look(f"127.0.0.1=stun:127.0.0.1:{stun.server.port}")
    assert found.said_untrusted == {}
    assert "no answer" in found.problem
