from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.allocations.quotas import QuotaRefusal, Quotas

REALM = "turn.example.org"


def test_without_limits_everybody_is_admitted() -> None:
    quotas = Quotas()
    for _ in range(1000):
        assert quotas.admit(REALM, "alice", "192.0.2.1") is None
        quotas.add(REALM, "alice", "192.0.2.1")
    assert quotas.in_use == 1000


def test_the_total_is_a_limit_for_all() -> None:
    quotas = Quotas(total=2)
    quotas.add(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "bob", "192.0.2.2") is None
    quotas.add(REALM, "bob", "192.0.2.2")
    assert quotas.admit(REALM, "carol", "192.0.2.3") is QuotaRefusal.TOTAL
    quotas.release(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "carol", "192.0.2.3") is None


def test_a_client_address_has_its_limit_whoever_uses_it() -> None:
    quotas = Quotas(per_client=1)
    quotas.add(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "bob", "192.0.2.1") is QuotaRefusal.CLIENT
    assert quotas.admit(REALM, "alice", "192.0.2.2") is None
    quotas.release(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "bob", "192.0.2.1") is None


def test_another_address_of_its_network_gives_an_ipv6_client_no_more() -> None:
    quotas = Quotas(per_client=1)
    quotas.add(REALM, "alice", "2001:db8::1")
    assert quotas.admit(REALM, "alice", "2001:db8::2") is QuotaRefusal.CLIENT
    assert quotas.admit(REALM, "alice", "2001:db8:0:1::1") is None
    quotas.release(REALM, "alice", "2001:db8::1")
    assert quotas.admit(REALM, "alice", "2001:db8::2") is None


def test_a_user_has_his_limit_in_his_realm_wherever_he_is() -> None:
    quotas = Quotas(per_user=1)
    quotas.add(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "alice", "192.0.2.2") is QuotaRefusal.USER
    assert quotas.admit("other.example.org", "alice", "192.0.2.2") is None
    assert quotas.admit(REALM, "bob", "192.0.2.1") is None


@pytest.mark.parametrize(
    ("own_limit", "refusal"),
    [(None, QuotaRefusal.USER), (1, QuotaRefusal.USER), (3, None), (0, None)],
)
def test_a_limit_of_his_own_replaces_that_of_all(
    own_limit: int | None, refusal: QuotaRefusal | None
) -> None:
    quotas = Quotas(per_user=2)
    for _ in range(2):
        quotas.add(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "alice", "192.0.2.1", own_limit) is refusal


def test_a_lower_limit_takes_nothing_away_and_gives_nothing_more() -> None:
    quotas = Quotas(per_user=3)
    for _ in range(3):
        quotas.add(REALM, "alice", "192.0.2.1")
    quotas.per_user = 1
    for left in (2, 1):
        quotas.release(REALM, "alice", "192.0.2.1")
        assert quotas.of_user(REALM, "alice") == left
        assert quotas.admit(REALM, "alice", "192.0.2.1") is QuotaRefusal.USER
    quotas.release(REALM, "alice", "192.0.2.1")
    assert quotas.admit(REALM, "alice", "192.0.2.1") is None


CLIENTS = ("192.0.2.1", "192.0.2.2", "2001:db8::1")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(CLIENTS)), max_size=30))
def test_counts_are_those_of_what_lives_and_leave_nothing_behind(
    added: list[tuple[str, str]],
) -> None:
    quotas = Quotas()
    for user, client in added:
        quotas.add(REALM, user, client)
    for user in "ab":
        assert quotas.of_user(REALM, user) == sum(each == user for each, _ in added)
    for client in CLIENTS:
        assert quotas.of_client(client) == sum(each == client for _, each in added)
    for user, client in reversed(added):
        quotas.release(REALM, user, client)
    assert quotas.in_use == 0
    assert not quotas._by_user
    assert not quotas._by_client


def test_releasing_what_was_never_counted_is_an_error() -> None:
    with pytest.raises(KeyError):
        Quotas().release(REALM, "alice", "192.0.2.1")
