from __future__ import annotations

from math import inf

import pytest

from tests.allocations.builders import (
    IPV4_HOST,
    IPV6_HOST,
    allocation_of,
    channel,
    dual,
    peer,
    relay_of,
)
from turnd.allocations.allocation import (
    Allocation,
    AllocationLimits,
    BindRefusal,
    Channel,
    PermitRefusal,
)
from turnd.stun.addresses import AddressFamily

LIMITS = AllocationLimits(max_permissions=2, max_channels=2)
NUMBER = channel(0x4000)


def bound(allocation: Allocation, number: int, host: str, port: int, deadline: float) -> None:
    """Put a channel and its peer's permission there."""
    relay = allocation.relay_for(host)
    assert relay is not None
    relay.channels[channel(number)] = Channel(peer(host, port), deadline)
    relay.permissions[host] = deadline


def test_lifetimes_are_the_constants_of_the_rfc() -> None:
    assert AllocationLimits().permission_lifetime == 300.0
    assert AllocationLimits().channel_lifetime == 600.0


def test_a_dual_allocation_has_a_relay_of_each_family() -> None:
    allocation = dual()
    ipv4, ipv6 = allocation.relays
    assert allocation.relay(AddressFamily.IPV4) is ipv4
    assert allocation.relay(AddressFamily.IPV6) is ipv6
    assert allocation.relay_for("192.0.2.9") is ipv4
    assert allocation.relay_for("2001:db8::9") is ipv6
    assert ipv4.announced.host == IPV4_HOST
    assert ipv6.announced.host == IPV6_HOST


def test_the_family_is_that_of_the_announced_address() -> None:
    assert relay_of(host=IPV6_HOST).family is AddressFamily.IPV6
    assert allocation_of().relay(AddressFamily.IPV6) is None


def test_deadlines_are_those_of_what_ends_last_and_first() -> None:
    allocation = dual(ipv4_deadline=600.0, ipv6_deadline=900.0)
    assert allocation.deadline == 900.0
    assert allocation.next_deadline() == 600.0
    bound(allocation, 0x4000, "192.0.2.9", 9000, 500.0)
    allocation.relays[1].permissions["2001:db8::9"] = 400.0
    assert allocation.next_deadline() == 400.0
    del allocation.relays[1].permissions["2001:db8::9"]
    allocation.relays[0].permissions.clear()
    assert allocation.next_deadline() == 500.0
    allocation.relays = ()
    assert allocation.deadline == -inf
    assert allocation.next_deadline() == inf


def test_a_permission_is_for_a_host_and_ends_on_its_second() -> None:
    allocation = allocation_of()
    allocation.relays[0].permissions["192.0.2.9"] = 300.0
    assert allocation.permits("192.0.2.9", 299.999)
    assert not allocation.permits("192.0.2.9", 300.0)
    assert not allocation.permits("192.0.2.8", 0.0)
    assert not allocation.permits("2001:db8::9", 0.0)
    assert allocation.live_permissions(299.999) == 1
    assert allocation.live_permissions(300.0) == 0


def test_a_channel_is_found_both_ways_and_ends_on_its_second() -> None:
    allocation = dual()
    bound(allocation, 0x4001, "2001:db8::9", 9000, 600.0)
    ours = peer("2001:db8::9", 9000)
    assert allocation.channel_of(ours, 599.999) == 0x4001
    assert allocation.peer_of(channel(0x4001), 599.999) == ours
    assert allocation.channel_of(ours, 600.0) is None
    assert allocation.peer_of(channel(0x4001), 600.0) is None
    assert allocation.channel_of(peer("2001:db8::9", 9001), 0.0) is None
    assert allocation.peer_of(channel(0x4002), 0.0) is None
    assert allocation_of().channel_of(ours, 0.0) is None
    assert allocation.live_channels(599.999) == 1
    assert allocation.live_channels(600.0) == 0


def test_permissions_need_a_relay_of_each_hosts_family() -> None:
    mixed = ["192.0.2.9", "2001:db8::9"]
    assert dual().permit_refusal(mixed, 0.0, LIMITS) is None
    assert allocation_of().permit_refusal(mixed, 0.0, LIMITS) is PermitRefusal.FAMILY_MISMATCH


def test_the_cap_on_permissions_counts_new_hosts_and_live_ones_of_both_families() -> None:
    allocation = dual()
    allocation.relays[0].permissions["192.0.2.1"] = 100.0
    allocation.relays[1].permissions["2001:db8::1"] = 200.0

    def refusal(now: float, *hosts: str) -> PermitRefusal | None:
        return allocation.permit_refusal(hosts, now, LIMITS)

    assert refusal(0.0, "192.0.2.2") is PermitRefusal.FULL
    assert refusal(0.0, "192.0.2.1", "2001:db8::1") is None
    assert refusal(0.0, "192.0.2.1", "2001:db8::2") is PermitRefusal.FULL
    assert refusal(100.0, "192.0.2.2", "192.0.2.2") is None
    assert refusal(100.0, "192.0.2.2", "192.0.2.3") is PermitRefusal.FULL
    assert refusal(200.0, "192.0.2.2", "192.0.2.3") is None
    assert refusal(0.0) is None


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (0x3FFF, BindRefusal.INVALID_NUMBER),
        (0x4000, None),
        (0x4FFF, None),
        (0x5000, BindRefusal.INVALID_NUMBER),
        (0x7FFF, BindRefusal.INVALID_NUMBER),
        (0, BindRefusal.INVALID_NUMBER),
    ],
)
def test_channel_numbers_are_those_of_rfc_8656(number: int, refusal: BindRefusal | None) -> None:
    assert allocation_of().bind_refusal(channel(number), peer(), 0.0, LIMITS) is refusal


def test_number_and_peer_are_bound_to_each_other_alone() -> None:
    allocation = allocation_of()
    bound(allocation, 0x4000, "192.0.2.9", 9000, 600.0)

    def refusal(number: int, port: int, now: float = 0.0) -> BindRefusal | None:
        return allocation.bind_refusal(channel(number), peer(port=port), now, LIMITS)

    assert refusal(0x4000, 9000) is None
    assert refusal(0x4000, 9001) is BindRefusal.NUMBER_TAKEN
    assert refusal(0x4001, 9000) is BindRefusal.PEER_TAKEN
    assert refusal(0x4001, 9001) is None
    assert refusal(0x4000, 9001, 600.0) is None
    assert refusal(0x4001, 9000, 600.0) is None


def test_a_number_bound_in_one_family_is_taken_in_the_other() -> None:
    allocation = dual()
    bound(allocation, 0x4000, "192.0.2.9", 9000, 600.0)
    other = peer("2001:db8::9")
    assert allocation.bind_refusal(NUMBER, other, 0.0, LIMITS) is BindRefusal.NUMBER_TAKEN


def test_a_channel_needs_a_relay_of_its_peers_family() -> None:
    other = peer("2001:db8::9")
    refusal = allocation_of().bind_refusal(NUMBER, other, 0.0, LIMITS)
    assert refusal is BindRefusal.FAMILY_MISMATCH


def test_the_cap_on_channels_counts_live_ones_and_lets_refreshes_pass() -> None:
    allocation = allocation_of()
    bound(allocation, 0x4000, "192.0.2.1", 9000, 600.0)
    bound(allocation, 0x4001, "192.0.2.1", 9001, 700.0)

    def refusal(number: int, port: int, now: float) -> BindRefusal | None:
        return allocation.bind_refusal(channel(number), peer("192.0.2.1", port), now, LIMITS)

    assert refusal(0x4002, 9002, 0.0) is BindRefusal.FULL
    assert refusal(0x4001, 9001, 0.0) is None
    assert refusal(0x4002, 9002, 600.0) is None


def test_a_channel_needs_room_for_its_peers_permission() -> None:
    allocation = allocation_of()
    allocation.relays[0].permissions.update({"192.0.2.1": 300.0, "192.0.2.2": 300.0})
    assert allocation.bind_refusal(NUMBER, peer("192.0.2.3"), 0.0, LIMITS) is BindRefusal.FULL
    assert allocation.bind_refusal(NUMBER, peer("192.0.2.2"), 0.0, LIMITS) is None
    assert allocation.bind_refusal(NUMBER, peer("192.0.2.3"), 300.0, LIMITS) is None
