from __future__ import annotations

import tracemalloc
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.allocations.builders import (
    IPV4_HOST,
    IPV6_HOST,
    allocation_of,
    channel,
    dual,
    peer,
    relay_of,
    table_of,
)
from turnd.allocations.allocation import Allocation, AllocationLimits, BindRefusal, PermitRefusal
from turnd.allocations.quotas import QuotaRefusal, Quotas
from turnd.allocations.reservations import Holder
from turnd.allocations.table import (
    AllocationEnded,
    AllocationTable,
    ChannelEnded,
    PermissionEnded,
    RelayEnded,
    ReservationEnded,
)
from turnd.stun.addresses import AddressFamily, RelayedAddress, TransportAddress

REALM = "turn.example.org"
HOST = "192.0.2.9"


def with_one(table: AllocationTable[Allocation], *, lifetime: float = 600.0) -> Allocation:
    allocation = allocation_of("leg", relay_of(deadline=lifetime))
    table.add(allocation)
    return allocation


# --- adding, finding, removing --------------------------------------------------------------


def test_an_allocation_is_found_by_its_five_tuple() -> None:
    table = table_of()
    allocation = with_one(table)
    assert table.get("leg") is allocation
    assert table.get("another") is None
    assert len(table) == 1
    assert list(table) == [allocation]


def test_a_five_tuple_has_one_allocation() -> None:
    table = table_of()
    with_one(table)
    with pytest.raises(ValueError, match="has an allocation"):
        table.add(allocation_of("leg"))
    assert table.quotas.in_use == 1


def test_an_allocation_without_relay_is_none() -> None:
    table = table_of()
    ended = allocation_of()
    ended.relays = ()
    with pytest.raises(ValueError, match="has a relay"):
        table.add(ended)
    assert table.quotas.in_use == 0


def test_a_removed_allocation_is_gone_at_once_and_the_next_may_come() -> None:
    table = table_of()
    allocation = with_one(table)
    relay = allocation.relays[0]
    assert table.remove(allocation) == [RelayEnded(allocation, relay), AllocationEnded(allocation)]
    assert table.get("leg") is None
    assert table.remove(allocation) == []
    again = with_one(table)
    assert table.get("leg") is again
    assert table.expire(599.999) == []
    assert AllocationEnded(again) in table.expire(600.0)


def test_all_may_be_removed_while_they_are_listed() -> None:
    table = table_of()
    for number in range(5):
        table.add(allocation_of(f"leg {number}", relay_of(number)))
    for allocation in table:
        table.remove(allocation)
    assert len(table) == 0
    assert table.next_deadline() == inf


def test_one_relay_of_a_dual_allocation_may_be_removed() -> None:
    table = table_of(quotas=Quotas(per_user=1))
    allocation = dual()
    ipv4, ipv6 = allocation.relays
    table.add(allocation)
    assert table.remove(allocation, AddressFamily.IPV4) == [RelayEnded(allocation, ipv4)]
    assert allocation.relays == (ipv6,)
    assert table.get("leg") is allocation
    assert table.remove(allocation, AddressFamily.IPV4) == []
    assert table.quotas.admit(REALM, "alice", "192.0.2.1") is QuotaRefusal.USER
    ended = table.remove(allocation, AddressFamily.IPV6)
    assert ended == [RelayEnded(allocation, ipv6), AllocationEnded(allocation)]
    assert table.quotas.admit(REALM, "alice", "192.0.2.1") is None


# --- expiry ---------------------------------------------------------------------------------


def test_an_allocation_ends_on_its_second() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=600.0)
    relay = allocation.relays[0]
    assert table.next_deadline() == 600.0
    assert table.expire(599.999) == []
    assert table.expire(600.0) == [RelayEnded(allocation, relay), AllocationEnded(allocation)]
    assert table.expire(600.0) == []
    assert table.get("leg") is None
    assert table.next_deadline() == inf


@pytest.mark.parametrize("lifetime", [601.0, 3600.0, 700.5])
def test_a_refresh_moves_the_end_away(lifetime: float) -> None:
    table = table_of()
    allocation = with_one(table, lifetime=600.0)
    assert table.refresh(allocation, None, lifetime)
    assert table.expire(lifetime - 0.001) == []
    assert AllocationEnded(allocation) in table.expire(lifetime)


def test_a_refresh_may_bring_the_end_nearer() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=3600.0)
    table.refresh(allocation, None, 600.0)
    assert table.next_deadline() == 600.0
    assert table.expire(599.999) == []
    assert AllocationEnded(allocation) in table.expire(600.0)


def test_the_relays_of_a_dual_allocation_end_each_on_its_second() -> None:
    table = table_of(quotas=Quotas(per_user=1))
    allocation = dual()
    ipv4, ipv6 = allocation.relays
    table.add(allocation)
    assert table.refresh(allocation, AddressFamily.IPV6, 900.0)
    assert table.expire(600.0) == [RelayEnded(allocation, ipv4)]
    assert table.get("leg") is allocation
    assert table.quotas.of_user(REALM, "alice") == 1
    assert not table.refresh(allocation, AddressFamily.IPV4, 2000.0)
    assert table.expire(899.999) == []
    assert table.expire(900.0) == [RelayEnded(allocation, ipv6), AllocationEnded(allocation)]
    assert table.quotas.of_user(REALM, "alice") == 0


def test_relays_that_end_together_end_one_allocation() -> None:
    table = table_of()
    allocation = dual()
    ipv4, ipv6 = allocation.relays
    table.add(allocation)
    assert table.quotas.in_use == 1
    assert table.expire(1e9) == [
        RelayEnded(allocation, ipv4),
        RelayEnded(allocation, ipv6),
        AllocationEnded(allocation),
    ]
    assert table.quotas.in_use == 0


def test_nothing_is_refreshed_that_has_ended() -> None:
    table = table_of()
    allocation = with_one(table)
    table.expire(600.0)
    assert not table.refresh(allocation, None, 1200.0)
    assert table.next_deadline() == inf


def test_a_permission_ends_on_its_second_unless_refreshed() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=3600.0)
    relay = allocation.relays[0]
    assert table.permit(allocation, [HOST], 10.0) is None
    assert relay.permissions == {HOST: 310.0}
    assert table.next_deadline() == 310.0
    assert table.permit(allocation, [HOST], 200.0) is None
    assert table.expire(499.999) == []
    assert allocation.permits(HOST, 499.999)
    assert not allocation.permits(HOST, 500.0)
    assert table.expire(500.0) == [PermissionEnded(allocation, relay, HOST)]
    assert relay.permissions == {}


def test_a_channel_ends_on_its_second_and_its_permission_before() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=3600.0)
    relay = allocation.relays[0]
    number, bound_peer = channel(0x4000), peer(HOST)
    assert table.bind(allocation, number, bound_peer, 10.0) is None
    assert relay.channels[number].deadline == 610.0
    assert relay.permissions[HOST] == 310.0
    assert table.expire(310.0) == [PermissionEnded(allocation, relay, HOST)]
    assert allocation.channel_of(bound_peer, 609.999) == number
    assert table.expire(609.999) == []
    assert table.expire(610.0) == [ChannelEnded(allocation, relay, number, bound_peer)]
    assert relay.channels == {}
    assert table.next_deadline() == 3600.0


def test_a_channel_refresh_moves_both_ends_away() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=3600.0)
    number = channel(0x4000)
    table.bind(allocation, number, peer(HOST), 0.0)
    assert table.bind(allocation, number, peer(HOST), 200.0) is None
    assert table.expire(499.999) == []
    assert [type(each) for each in table.expire(500.0)] == [PermissionEnded]
    assert [type(each) for each in table.expire(799.999)] == []
    assert [type(each) for each in table.expire(800.0)] == [ChannelEnded]


def test_what_belongs_to_a_relay_ends_with_it_silently() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=100.0)
    relay = allocation.relays[0]
    table.bind(allocation, channel(0x4000), peer(HOST), 0.0)
    assert table.expire(100.0) == [RelayEnded(allocation, relay), AllocationEnded(allocation)]
    assert table.expire(1e9) == []


def test_a_reservation_ends_on_its_second() -> None:
    table = table_of()
    bound = TransportAddress(IPV4_HOST, 50001)
    holder = Holder(REALM, "alice", "alice")
    made = table.reservations.add(holder, 7, bound, RelayedAddress(bound), 10.0)
    assert table.next_deadline() == 40.0
    assert table.expire(39.999) == []
    assert table.expire(40.0) == [ReservationEnded(made)]
    assert table.next_deadline() == inf


# --- rules ----------------------------------------------------------------------------------


def test_permissions_are_all_or_none() -> None:
    table = table_of(limits=AllocationLimits(max_permissions=2))
    allocation = with_one(table)
    relay = allocation.relays[0]
    assert table.permit(allocation, [HOST, "2001:db8::9"], 0.0) is PermitRefusal.FAMILY_MISMATCH
    assert table.permit(allocation, [HOST, "192.0.2.8", "192.0.2.7"], 0.0) is PermitRefusal.FULL
    assert relay.permissions == {}
    assert table.permit(allocation, [HOST, "192.0.2.8"], 0.0) is None
    assert relay.permissions == {HOST: 300.0, "192.0.2.8": 300.0}


def test_permissions_of_both_families_go_to_their_relays() -> None:
    table = table_of()
    allocation = dual()
    table.add(allocation)
    assert table.permit(allocation, [HOST, "2001:db8::9"], 0.0) is None
    assert [list(relay.permissions) for relay in allocation.relays] == [[HOST], ["2001:db8::9"]]


def test_no_hosts_are_no_permissions() -> None:
    table = table_of()
    allocation = with_one(table)
    assert table.permit(allocation, [], 0.0) is None
    assert table.next_deadline() == 600.0


def test_a_refused_channel_changes_nothing() -> None:
    table = table_of()
    allocation = with_one(table)
    relay = allocation.relays[0]
    table.bind(allocation, channel(0x4000), peer(HOST), 0.0)
    refused = table.bind(allocation, channel(0x4001), peer(HOST), 100.0)
    assert refused is BindRefusal.PEER_TAKEN
    assert list(relay.channels) == [0x4000]
    assert relay.permissions == {HOST: 300.0}


def test_an_expired_channel_may_be_bound_anew_before_it_is_swept() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=3600.0)
    relay = allocation.relays[0]
    table.bind(allocation, channel(0x4000), peer(port=1), 0.0)
    assert table.bind(allocation, channel(0x4000), peer(port=2), 600.0) is None
    assert table.bind(allocation, channel(0x4001), peer(port=1), 600.0) is None
    table.expire(600.0)
    assert {n: each.peer.port for n, each in relay.channels.items()} == {0x4000: 2, 0x4001: 1}


def test_limits_may_change_while_allocations_live() -> None:
    table = table_of()
    allocation = with_one(table)
    table.permit(allocation, [HOST], 0.0)
    table.limits = AllocationLimits(max_permissions=1)
    assert table.permit(allocation, ["192.0.2.8"], 0.0) is PermitRefusal.FULL
    assert table.permit(allocation, [HOST], 0.0) is None


# --- bounds ---------------------------------------------------------------------------------


def test_the_heap_stays_small_under_endless_refreshes() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=600.0)
    largest = 0
    for second in range(20_000):
        now = float(second)
        table.expire(now)
        table.refresh(allocation, None, now + (3600.0 if second % 2 else 600.0))
        table.permit(allocation, [HOST], now)
        table.bind(allocation, channel(0x4000 + second % 2), peer(port=1 + second % 2), now)
        largest = max(largest, len(table._heap))
    assert table.get("leg") is allocation
    assert largest <= 70


def test_ever_sooner_deadlines_do_not_fill_the_heap() -> None:
    table = table_of()
    allocation = with_one(table, lifetime=100_000.0)
    for sooner in range(10_000):
        table.refresh(allocation, None, 90_000.0 - sooner)
    assert len(table._heap) <= 70
    assert table.next_deadline() == 80_001.0
    assert AllocationEnded(allocation) in table.expire(80_001.0)


def test_allocate_and_delete_leave_nothing_behind() -> None:
    table = table_of()
    for number in range(10_000):
        allocation = allocation_of(f"leg {number}")
        table.add(allocation)
        table.remove(allocation)
    assert len(table) == 0
    assert len(table._heap) <= 70
    assert table.next_deadline() == inf


def test_many_that_end_together_are_all_told_of() -> None:
    table = table_of()
    for number in range(1000):
        table.add(allocation_of(f"leg {number}", relay_of(number, deadline=600.0)))
    ended = table.expire(600.0)
    assert {each.relay.relay_id for each in ended if isinstance(each, RelayEnded)} == set(
        range(1000)
    )
    assert sum(isinstance(each, AllocationEnded) for each in ended) == 1000


def test_an_allocation_costs_less_than_two_kilobytes() -> None:
    table = table_of()
    table.add(allocation_of("warm"))
    count = 1000
    legs = [f"leg {number}" for number in range(count)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number, leg in enumerate(legs):
            bound = TransportAddress(IPV4_HOST, 1024 + number)
            relay = relay_of(number, IPV4_HOST, bound.port, 600.0 + number)
            allocation = allocation_of(leg, relay, client_host=f"10.0.{number >> 8}.{number & 255}")
            table.add(allocation)
            table.bind(allocation, channel(0x4000), peer(f"192.0.2.{number % 250}"), float(number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 2048


# --- against a model that looks at every deadline -------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "refresh", "permit", "bind", "remove", "wait"]),
        st.integers(0, 2),
        st.sampled_from([IPV4_HOST, IPV6_HOST]),
        st.integers(1, 400),
    ),
    max_size=40,
)


class Model:
    """Deadlines by name, swept one by one."""

    def __init__(self) -> None:
        self.ends: dict[tuple[object, ...], float] = {}

    def drop(self, *prefix: object) -> None:
        self.ends = {k: end for k, end in self.ends.items() if k[: len(prefix)] != prefix}

    def expire(self, now: float) -> set[tuple[object, ...]]:
        gone = {key for key, end in self.ends.items() if end <= now}
        for leg, family, *what in gone:
            if not what:
                self.drop(leg, family)
        gone = {key for key in gone if len(key) == 2 or (key[0], key[1]) not in gone}
        self.ends = {key: end for key, end in self.ends.items() if key not in gone}
        return gone


def names(ended: list[object]) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for each in ended:
        if isinstance(each, RelayEnded):
            found.add((each.allocation.leg, each.relay.family))
        elif isinstance(each, PermissionEnded):
            found.add((each.allocation.leg, each.relay.family, "permission"))
        elif isinstance(each, ChannelEnded):
            found.add((each.allocation.leg, each.relay.family, "channel"))
    return found


@settings(max_examples=200)
@given(STEPS)
def test_everything_ends_on_its_second_whatever_happened_before(
    steps: list[tuple[str, int, str, int]],
) -> None:
    table, model, now = table_of(), Model(), 0.0
    for what, number, host, seconds in steps:
        leg = f"leg {number}"
        family = relay_of(host=host).family
        allocation = table.get(leg)
        relay = allocation and allocation.relay(family)
        if what == "wait":
            for _ in range(seconds):
                now += 1.0
                assert names(list(table.expire(now))) == model.expire(now)
        elif what == "add" and allocation is None:
            table.add(dual(leg, now + seconds, now + seconds + 7.0))
            model.ends[leg, AddressFamily.IPV4] = now + seconds
            model.ends[leg, AddressFamily.IPV6] = now + seconds + 7.0
        elif allocation is None or not relay:
            continue
        elif what == "refresh":
            assert table.refresh(allocation, family, now + seconds)
            model.ends[leg, family] = now + seconds
        elif what == "remove":
            table.remove(allocation, family)
            model.drop(leg, family)
        elif what == "permit":
            table.permit(allocation, [host], now)
            model.ends[leg, family, "permission"] = now + 300.0
        elif what == "bind":
            table.bind(allocation, channel(0x4000 + family), peer(host), now)
            model.ends[leg, family, "permission"] = now + 300.0
            model.ends[leg, family, "channel"] = now + 600.0
        assert table.next_deadline() <= min(model.ends.values(), default=inf)
        assert table.quotas.in_use == len(table) == len({key[0] for key in model.ends})
    assert names(list(table.expire(1e9))) == model.expire(1e9)
    assert len(table) == 0


def test_a_client_may_show_up_at_another_five_tuple() -> None:
    table = table_of()
    allocation = allocation_of("old")
    table.add(allocation)
    table.expect(allocation, "new")
    assert table.get("old") is table.get("new") is allocation
    assert (allocation.leg, allocation.next_leg) == ("old", "new")
    assert len(table) == table.quotas.in_use == 1
    assert list(table) == [allocation]
    table.move(allocation)
    assert table.get("old") is None
    assert table.get("new") is allocation
    assert (allocation.leg, allocation.next_leg) == ("new", None)
    assert len(table) == table.quotas.in_use == 1
    table.add(allocation_of("old"))
    assert len(table.expire(700.0)) == 4
    assert len(table) == table.quotas.in_use == 0


def test_a_client_that_does_not_come_is_expected_no_more() -> None:
    table = table_of()
    allocation = allocation_of("old")
    table.add(allocation)
    for _ in range(2):
        table.expect_no_more(allocation)
        table.move(allocation)
        assert allocation.leg == "old"
    table.expect(allocation, "new")
    table.expect_no_more(allocation)
    assert table.get("old") is allocation
    assert table.get("new") is allocation.next_leg is None
    table.expect(allocation, "third")
    assert table.get("third") is allocation


def test_a_five_tuple_is_one_allocations_alone() -> None:
    table = table_of()
    one, other = allocation_of("one"), allocation_of("other")
    table.add(one)
    table.add(other)
    with pytest.raises(ValueError, match="five-tuple"):
        table.expect(one, "other")
    table.expect(one, "next")
    for leg in ("next", "another"):
        with pytest.raises(ValueError, match="five-tuple"):
            table.expect(one, leg)
    with pytest.raises(ValueError, match="five-tuple"):
        table.expect(other, "next")
    with pytest.raises(ValueError, match="five-tuple"):
        table.add(allocation_of("next"))


def test_an_allocation_that_ends_is_expected_nowhere() -> None:
    table = table_of()
    allocation = allocation_of("old")
    table.add(allocation)
    table.expect(allocation, "new")
    table.remove(allocation)
    assert table.get("old") is table.get("new") is None
    assert allocation.next_leg == "new", "for the caller to see"
    table.add(allocation_of("new"))
