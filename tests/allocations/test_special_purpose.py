from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.allocations.special_purpose import (
    SPECIAL_PURPOSE_IPV4,
    SPECIAL_PURPOSE_IPV6,
    embedded_ipv4,
    is_tunnelled,
)

IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
REAL = IPv4Address("198.51.100.1")


def carried_by(address: str) -> list[str]:
    return [str(IPv4Address(each)) for each in embedded_ipv4(int(IPv6Address(address)))]


@pytest.mark.parametrize(
    ("address", "carried"),
    [
        ("::ffff:10.1.2.3", ["10.1.2.3"]),
        ("::ffff:0:10.1.2.3", ["10.1.2.3"]),
        ("::10.1.2.3", ["10.1.2.3"]),
        ("::2", ["0.0.0.2"]),
        ("64:ff9b::10.1.2.3", ["10.1.2.3"]),
        ("64:ff9b:1::10.1.2.3", ["10.1.2.3"]),
        ("64:ff9b:1:7:8:9:10.1.2.3", ["10.1.2.3"]),
        ("64:ff9b:1:a01:2:300::", ["0.0.0.0"]),
        ("64:ff9b:1:0:a:102:300:0", ["0.0.0.0"]),
        ("2002:a01:203::1", ["10.1.2.3"]),
        # RFC 4380 section 4: the client's address is obfuscated, the server's is not.
        ("2001:0:a01:203:0:1234:3fff:fdd2", ["10.1.2.3", "192.0.2.45"]),
        ("2606:4700::5efe:10.1.2.3", ["10.1.2.3"]),
        ("2606:4700::200:5efe:10.1.2.3", ["10.1.2.3"]),
        ("2606:4700::100:5efe:10.1.2.3", ["10.1.2.3"]),
        ("fe80::5efe:10.1.2.3", ["10.1.2.3"]),
        ("2002:a01:203::5efe:192.168.1.1", ["10.1.2.3", "192.168.1.1"]),
    ],
)
def test_every_encoding_gives_up_what_it_carries(address: str, carried: list[str]) -> None:
    assert carried_by(address) == carried


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "2606:4700::1",
        "2606:4700::400:5efe:a01:203",
        "64:ff9b:2::a01:203",
        "64:ff9c::1",
    ],
)
def test_other_addresses_carry_nothing(address: str) -> None:
    assert carried_by(address) == []


@given(IPV4)
def test_python_reads_the_same_out_of_mapped_6to4_and_teredo(carried: IPv4Address) -> None:
    mapped = IPv6Address((0xFFFF << 32) | int(carried))
    sixtofour = IPv6Address((0x2002 << 112) | (int(carried) << 80))
    teredo = IPv6Address((0x20010000 << 96) | (int(REAL) << 64) | int(carried))
    assert mapped.ipv4_mapped is not None
    assert sixtofour.sixtofour is not None
    assert teredo.teredo is not None
    assert list(embedded_ipv4(int(mapped))) == [int(mapped.ipv4_mapped)]
    assert list(embedded_ipv4(int(sixtofour))) == [int(sixtofour.sixtofour)]
    assert list(embedded_ipv4(int(teredo))) == [int(each) for each in teredo.teredo]


def test_addresses_of_tunnels() -> None:
    for host in ("2002:c000:201::1", "2001::1", "2001:0:4136:e378::1"):
        assert is_tunnelled(host)
    for host in ("192.0.2.1", "2001:1::1", "2001:db8::1", "2003::1", "fe80::1%eth0", "::1"):
        assert not is_tunnelled(host)


def test_entries_are_proper_networks() -> None:
    assert {ip_network(each).version for each in SPECIAL_PURPOSE_IPV4} == {4}
    assert {ip_network(each).version for each in SPECIAL_PURPOSE_IPV6} == {6}
