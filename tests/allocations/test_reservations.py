from __future__ import annotations

from math import inf

from turnd.allocations.reservations import TOKEN_LENGTH, Holder, Reservation, Reservations
from turnd.stun.addresses import RelayedAddress, TransportAddress

REALM = "turn.example.org"


class Dice:
    """Random bytes that are known beforehand."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def __call__(self, length: int) -> bytes:
        return self.numbers.pop(0).to_bytes(length)


def holder(user: str, realm: str = REALM) -> Holder:
    return Holder(realm, user, user)


def reservations(*, per_user: int = 16, total: int = 1024) -> Reservations:
    return Reservations(Dice(*range(100)), per_user=per_user, total=total)


def reserve(
    kept: Reservations, now: float = 0.0, user: str = "alice", relay: int = 1
) -> Reservation:
    bound = TransportAddress("198.51.100.7", 50000 + relay)
    return kept.add(holder(user), relay, bound, RelayedAddress(bound), now)


def test_a_token_is_eight_bytes_and_good_once() -> None:
    kept = reservations()
    made = reserve(kept, now=10.0)
    assert len(made.token) == TOKEN_LENGTH == 8
    assert made.deadline == 40.0
    assert kept.claim(made.token, holder("alice"), 11.0) == made
    assert kept.claim(made.token, holder("alice"), 11.0) is None
    assert len(kept) == 0


def test_a_token_ends_on_its_second() -> None:
    kept = reservations()
    made = reserve(kept, now=10.0)
    assert kept.find(made.token, holder("alice"), 39.999) == made
    assert kept.find(made.token, holder("alice"), 40.0) is None
    assert kept.claim(made.token, holder("alice"), 40.0) is None
    assert kept.expire(39.999) == []
    assert kept.expire(40.0) == [made]
    assert kept.expire(40.0) == []


def test_another_users_token_is_as_good_as_unknown_and_stays_good() -> None:
    kept = reservations()
    made = reserve(kept)
    assert kept.claim(made.token, holder("mallory"), 1.0) is None
    assert kept.claim(made.token, holder("alice", "other.example.org"), 1.0) is None
    assert kept.claim(b"unknown!", holder("alice"), 1.0) is None
    assert kept.claim(made.token, holder("alice"), 1.0) == made


def test_the_cap_of_a_user_is_his_alone_and_freed_by_claim_and_expiry() -> None:
    kept = reservations(per_user=2)
    first, _ = reserve(kept), reserve(kept, now=5.0, relay=2)
    assert not kept.has_room(holder("alice"))
    assert kept.has_room(holder("bob"))
    assert kept.has_room(holder("alice", "other.example.org"))
    kept.claim(first.token, holder("alice"), 6.0)
    assert kept.has_room(holder("alice"))
    reserve(kept, now=6.0, relay=3)
    assert not kept.has_room(holder("alice"))
    kept.expire(35.0)
    assert kept.has_room(holder("alice"))


def test_who_owns_and_who_is_counted_may_be_two() -> None:
    kept = reservations(per_user=1)
    made = kept.add(
        Holder(REALM, "", "token 1"),
        1,
        TransportAddress("198.51.100.7", 50000),
        RelayedAddress(TransportAddress("198.51.100.7", 50000)),
        0.0,
    )
    assert not kept.has_room(Holder(REALM, "", "token 1"))
    assert kept.has_room(Holder(REALM, "", "token 2"))
    assert kept.find(made.token, Holder(REALM, "alice", "token 1"), 1.0) is None
    assert kept.claim(made.token, Holder(REALM, "", "token 2"), 1.0) == made
    assert kept.has_room(Holder(REALM, "", "token 1"))


def test_the_total_is_a_cap_for_all() -> None:
    kept = reservations(total=2)
    reserve(kept)
    reserve(kept, user="bob")
    assert not kept.has_room(holder("carol"))


def test_a_token_that_is_in_use_is_not_given_twice() -> None:
    kept = Reservations(Dice(7, 7, 7, 8))
    assert reserve(kept).token == (7).to_bytes(8)
    assert reserve(kept, relay=2).token == (8).to_bytes(8)
    assert len(kept) == 2


def test_the_next_deadline_is_the_soonest() -> None:
    kept = reservations()
    assert kept.next_deadline() == inf
    first = reserve(kept, now=1.0)
    reserve(kept, now=2.0, relay=2)
    assert kept.next_deadline() == 31.0
    kept.claim(first.token, holder("alice"), 3.0)
    assert kept.next_deadline() == 32.0


def test_clearing_gives_back_all() -> None:
    kept = reservations()
    made = [reserve(kept), reserve(kept, user="bob", relay=2)]
    assert kept.clear() == made
    assert len(kept) == 0
    assert not kept._of_user
