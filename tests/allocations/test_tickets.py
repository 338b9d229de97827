from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.allocations.builders import allocation_of
from turnd.allocations.allocation import Allocation
from turnd.allocations.tickets import TICKET_LENGTH, Claim, Tickets

if TYPE_CHECKING:
    from collections.abc import Callable


def counted() -> Callable[[int], bytes]:
    numbers = count()
    return lambda length: next(numbers).to_bytes(length)


def test_a_ticket_is_random_and_long() -> None:
    asked: list[int] = []

    def random_bytes(length: int) -> bytes:
        asked.append(length)
        return bytes(length)

    ticket = Tickets[Allocation](random_bytes).issue(allocation_of())
    assert ticket == b"A" * 32, "text, without a zero"
    assert len(ticket) == TICKET_LENGTH
    assert asked == [24], "no one guesses it"


def test_it_stands_for_its_allocation_until_another_takes_its_place() -> None:
    tickets = Tickets[Allocation](counted())
    one, other = allocation_of("one"), allocation_of("other")
    first, foreign = tickets.issue(one), tickets.issue(other)
    assert tickets.find(first) == Claim(one, used=False)
    second = tickets.issue(one)
    assert first != second
    assert tickets.find(first) == Claim(one, used=True)
    assert tickets.find(second) == Claim(one, used=False)
    third = tickets.issue(one)
    assert tickets.find(first) is None
    assert tickets.find(second) == Claim(one, used=True)
    assert tickets.find(third) == Claim(one, used=False)
    assert tickets.find(foreign) == Claim(other, used=False)
    assert len(tickets) == 3


def test_what_was_never_issued_stands_for_nothing() -> None:
    tickets = Tickets[Allocation](counted())
    ticket = tickets.issue(allocation_of())
    for other in (b"", ticket[:-1], ticket + b"\0", bytes([ticket[0] ^ 1]) + ticket[1:]):
        assert tickets.find(other) is None


def test_it_dies_with_its_allocation() -> None:
    tickets = Tickets[Allocation](counted())
    one, other, bare = (allocation_of(name) for name in ("one", "other", "bare"))
    of_one = [tickets.issue(one) for _ in range(3)]
    kept = tickets.issue(other)
    assert tickets.has(one)
    assert not tickets.has(bare)
    tickets.forget(one)
    tickets.forget(bare)
    assert not tickets.has(one)
    assert [tickets.find(each) for each in of_one] == [None] * 3
    assert tickets.find(kept) == Claim(other, used=False)
    assert len(tickets) == 1


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["issue", "forget"]), st.integers(0, 3))))
def test_there_are_never_more_than_two_of_an_allocation(steps: list[tuple[str, int]]) -> None:
    tickets = Tickets[Allocation](counted())
    allocations = [allocation_of(str(number)) for number in range(4)]
    issued: dict[int, int] = {}
    for what, number in steps:
        if what == "issue":
            tickets.issue(allocations[number])
            issued[number] = issued.get(number, 0) + 1
        else:
            tickets.forget(allocations[number])
            issued.pop(number, None)
        assert len(tickets) == sum(min(2, times) for times in issued.values())
