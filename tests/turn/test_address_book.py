from __future__ import annotations

import pytest

from turnd.stun.addresses import AddressFamily
from turnd.turn.address_book import RETRY, AddressBook, Finding, Settled, TroubleKind, why_unfit
from turnd.turn.relay_addresses import AddressPair

HOME, LATER, OTHER = "203.0.113.7", "203.0.113.8", "203.0.113.9"
LAN, LAN_TOO, V6 = "192.168.1.5", "192.168.1.6", "2001:db8::5"
IPV4, IPV6 = AddressFamily.IPV4, AddressFamily.IPV6
EVERY = 60.0


def said(*answers: str, bound: str = LAN, problem: str = "") -> Finding:
    return Finding("dns:home", (bound,), said_untrusted={bound: answers}, problem=problem)


def silent(*bound: str) -> Finding:
    return Finding("dns:home", bound or (LAN,), said_untrusted={}, problem="no answer")


class Book:
    def __init__(self) -> None:
        self.book = AddressBook()
        self.settled = Settled((), frozenset(), ())

    def look(self, *findings: Finding, now: float = 0.0) -> list[str]:
        self.settled = self.book.settle(findings, now, EVERY)
        return [str(pair) for pair in self.settled.pairs]

    @property
    def troubles(self) -> list[tuple[str, TroubleKind]]:
        return [(each.entry, each.kind) for each in self.settled.troubles]


def test_hosts_are_announced_as_they_are_or_as_the_admin_says() -> None:
    book = Book()
    found = book.look(
        Finding("auto", (LAN, V6)),
        Finding(f"{LAN_TOO}=10.1.1.1", (LAN_TOO,), {LAN_TOO: "10.1.1.1"}),
        Finding("interface:x", ("192.168.1.7", "fd00::7"), {"192.168.1.7": OTHER}),
    )
    assert found == [LAN, V6, f"{LAN_TOO}=10.1.1.1", f"192.168.1.7={OTHER}"]
    assert not book.troubles
    assert not book.settled.lacking
    assert book.book.due_at == EVERY


def test_what_others_say_is_announced() -> None:
    book = Book()
    assert book.look(said(HOME)) == [f"{LAN}={HOME}"]
    assert book.look(said(LATER)) == [f"{LAN}={LATER}"]
    assert not book.troubles


def test_who_does_not_answer_has_taken_nothing_back() -> None:
    book = Book()
    book.look(said(HOME))
    for now in (60.0, 1e6):
        assert book.look(silent(), now=now) == [f"{LAN}={HOME}"]
        assert book.troubles == [("dns:home", TroubleKind.KEPT)]
        assert book.settled.troubles[0].why == "no answer"
        assert not book.settled.lacking
        assert book.book.due_at == now + EVERY


def test_who_has_never_answered_leaves_the_server_useless_and_is_asked_again_soon() -> None:
    book = Book()
    assert book.look(silent(), now=100.0) == []
    assert book.troubles == [("dns:home", TroubleKind.UNKNOWN)]
    assert book.settled.lacking == {IPV4}
    assert book.book.due_at == 100.0 + RETRY
    book.look(silent(LAN, V6))
    assert book.settled.lacking == {IPV4, IPV6}
    assert AddressBook().settle([silent()], 0.0, 1.0).lacking
    assert book.look(said(HOME)) == [f"{LAN}={HOME}"]
    assert not book.troubles


def test_of_several_the_one_in_force_stays() -> None:
    book = Book()
    assert book.look(said(LATER, HOME)) == [f"{LAN}={LATER}"]
    assert book.look(said(HOME, LATER)) == [f"{LAN}={LATER}"]
    assert book.look(said(HOME, OTHER)) == [f"{LAN}={HOME}"]


def test_what_is_no_more_said_is_forgotten() -> None:
    book = Book()
    both = {LAN: [HOME], V6: ["2001:db8::7"]}
    finding = Finding("dns:home", (LAN, V6), said_untrusted=both)
    assert book.look(finding) == [f"{LAN}={HOME}", f"{V6}=2001:db8::7"]
    finding = Finding("dns:home", (LAN, V6), said_untrusted={LAN: [HOME], V6: []})
    assert book.look(finding) == [f"{LAN}={HOME}"]
    assert not book.troubles
    assert book.look(silent(LAN, V6)) == [f"{LAN}={HOME}"]


def test_a_name_without_an_address_of_a_family_of_ours() -> None:
    book = Book()
    assert book.look(said()) == []
    assert book.troubles == [("dns:home", TroubleKind.UNKNOWN)]
    assert "of a family" in book.settled.troubles[0].why


@pytest.mark.parametrize(
    "bad",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.5", "100.64.0.1",
        "169.254.1.1", "224.0.0.1", "0.1.2.3", "240.0.0.1", "255.255.255.255", "2001:db8::7",
        "home", "",
    ],
)  # fmt: skip
def test_what_no_client_elsewhere_could_reach_is_refused(bad: str) -> None:
    book = Book()
    assert book.look(said(bad)) == []
    assert book.troubles == [("dns:home", TroubleKind.UNKNOWN)]
    assert book.settled.troubles[0].why.startswith(f"{bad} is ")
    assert book.look(said(bad, HOME)) == [f"{LAN}={HOME}"]
    assert not book.troubles
    assert book.look(said(bad)) == [f"{LAN}={HOME}"]
    assert book.troubles == [("dns:home", TroubleKind.KEPT)]


@pytest.mark.parametrize(
    "bad",
    [
        "::1", "::", "fd00::1", "fec0::1", "fe80::1", "ff02::1", "::ffff:203.0.113.7",
        "64:ff9b::cb00:7107", "64:ff9b:1::7",
    ],
)  # fmt: skip
def test_the_same_of_ipv6(bad: str) -> None:
    assert why_unfit(bad, V6)
    assert why_unfit("2001:db8::7", V6) is None


def test_who_is_on_loopback_is_seen_there() -> None:
    assert why_unfit("127.0.0.1", "127.0.0.2") is None
    assert why_unfit("::1", "::1") is None
    assert why_unfit("10.0.0.1", "127.0.0.1")


def test_an_address_that_is_gone() -> None:
    book = Book()
    book.look(Finding("interface:ppp0", (V6,)), Finding(LAN, (LAN,)))
    gone = Finding("interface:ppp0", (), problem="no such interface")
    assert book.look(gone, Finding(LAN, (LAN,))) == [LAN]
    assert book.troubles == [("interface:ppp0", TroubleKind.NOT_HERE)]
    assert book.settled.lacking == {IPV6}
    assert book.look(Finding("interface:ppp0", (V6,))) == [V6]


def test_a_family_that_is_gone_is_wanting() -> None:
    """A line that is down for a minute: its clients are told to come again, not to stay away."""
    book = Book()
    book.look(Finding("auto", (LAN, V6)))
    assert book.look(Finding("auto", (V6,)), now=60.0) == [V6]
    assert book.settled.lacking == {IPV4}
    assert book.book.due_at == 60.0 + RETRY
    assert book.troubles == [("auto", TroubleKind.NOT_HERE)]
    assert book.settled.troubles[0].why == "it had an IPv4 address, and has none now"
    assert book.look(Finding("auto", (LAN, V6)), now=65.0) == [LAN, V6]
    assert not book.troubles
    assert book.book.due_at == 65.0 + EVERY


def test_where_another_entry_has_that_family_nothing_is_wanting() -> None:
    book = Book()
    book.look(Finding("interface:x", (LAN, V6)), Finding(LAN_TOO, (LAN_TOO,)))
    book.look(Finding("interface:x", (V6,)), Finding(LAN_TOO, (LAN_TOO,)))
    assert not book.settled.lacking
    assert book.troubles == [("interface:x", TroubleKind.NOT_HERE)]


def makeshift() -> Finding:
    return Finding("auto", ("127.0.0.1",), problem="this host has no route", is_makeshift=True)


def test_a_makeshift_is_for_who_has_never_had_better() -> None:
    book = Book()
    for _ in range(2):
        assert book.look(makeshift()) == ["127.0.0.1"]
        assert not book.troubles
        assert not book.settled.lacking
    assert book.look(Finding("auto", (LAN,))) == [LAN]
    assert not book.troubles
    assert book.look(makeshift(), now=60.0) == []
    assert book.troubles == [("auto", TroubleKind.NOT_HERE)]
    assert book.settled.troubles[0].why == "this host has no route"
    assert book.settled.lacking == {IPV4}
    assert book.book.due_at == 60.0 + RETRY


def test_where_nobody_could_look_all_stays_as_it_is() -> None:
    book = Book()
    book.look(Finding("auto", (LAN,)))
    book.book.postpone(60.0)
    assert book.book.due_at == 60.0 + RETRY


def test_one_that_was_never_here_may_be_of_either_family() -> None:
    book = Book()
    book.look(Finding("interface:ppp0", (), problem="no such interface"), Finding(LAN, (LAN,)))
    assert book.settled.lacking == {IPV6}


def test_nothing_is_used_twice() -> None:
    book = Book()
    found = book.look(
        Finding("one", (LAN,), {LAN: HOME}),
        Finding("two", (LAN, V6)),
        Finding("three", (LAN_TOO,), said_untrusted={LAN_TOO: [HOME]}),
        Finding("four", (V6,)),
    )
    assert found == [f"{LAN}={HOME}", V6]
    # Who is left with nothing is told of; that somebody says the same once more is no trouble.
    assert book.troubles == [("three", TroubleKind.UNKNOWN)]
    assert book.settled.troubles[0].why == f"another entry has {LAN_TOO} or {HOME}"
    assert not book.settled.lacking
    assert book.settled.pairs == (AddressPair(LAN, HOME), AddressPair(V6, V6))
