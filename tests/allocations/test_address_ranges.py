from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.allocations.address_ranges import SPECIAL_PURPOSE, AddressRanges
from turnd.allocations.special_purpose import SPECIAL_PURPOSE_IPV4, SPECIAL_PURPOSE_IPV6

# Small numbers, so that ranges often touch, overlap and hold the address.
LOW_IPV4 = st.integers(0, 40).map(IPv4Address)
IPV4 = st.one_of(LOW_IPV4, st.integers(0, 2**32 - 1).map(IPv4Address))


@given(st.lists(st.tuples(IPV4, IPV4).map(sorted), max_size=8), IPV4)
def test_ranges_hold_what_lies_within(
    ranges: list[list[IPv4Address]], address: IPv4Address
) -> None:
    parsed = AddressRanges.parse(f"{first} - {last}" for first, last in ranges)
    within = any(first <= address <= last for first, last in ranges)
    assert parsed.contain(4, int(address)) == within
    assert not parsed.contain(6, int(address))


def test_a_network_holds_its_first_and_last_address_and_no_more() -> None:
    parsed = AddressRanges.parse(["2001:db8::/32", "2001:dba::1"])
    network = ip_network("2001:db8::/32")
    assert [parsed.contain(6, int(network[0]) + step) for step in (-1, 0)] == [False, True]
    assert [parsed.contain(6, int(network[-1]) + step) for step in (0, 1)] == [True, False]
    single = int(IPv6Address("2001:dba::1"))
    assert [parsed.contain(6, single + step) for step in (-1, 0, 1)] == [False, True, False]


def test_ranges_that_touch_or_overlap_are_merged() -> None:
    parsed = AddressRanges.parse(["0.0.0.2", "0.0.0.0/31", "0.0.0.1-0.0.0.3", "0.0.0.9"])
    assert parsed.ipv4 == ((0, 9), (3, 9))


def test_one_word_stands_for_all_special_purpose_ranges() -> None:
    listed = AddressRanges.parse(SPECIAL_PURPOSE_IPV4 + SPECIAL_PURPOSE_IPV6)
    assert AddressRanges.parse([SPECIAL_PURPOSE]) == listed
    assert listed.contain(4, int(IPv4Address("10.0.0.1")))
    assert listed.contain(6, 1)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("special", "none of: special-purpose, a network"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
        ("10.0.0.9-10.0.0.1", "a lower and a higher address"),
        ("10.0.0.1-::1", "of one IP version"),
        ("10.0.0.1-", "none of"),
        ("10.0.0.0/33", "none of"),
        ("", "none of"),
    ],
)
def test_a_bad_entry_is_named_and_explained(entry: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        AddressRanges.parse([entry])
    assert f"'{entry}'" in str(caught.value)
