from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.stun.addresses import (
    AddressFamily,
    TransportAddress,
    client_key,
    family_of,
    is_loopback,
    pack_host,
    unpack_host,
)


@given(st.ip_addresses())
def test_hosts_round_trip_and_are_canonical(address: object) -> None:
    host = str(address)
    assert unpack_host(pack_host(host)) == host == str(ip_address(host))


def test_packing() -> None:
    assert pack_host("192.0.2.1") == bytes((192, 0, 2, 1))
    assert pack_host("2001:db8::1") == bytes.fromhex("20010db8000000000000000000000001")
    assert pack_host("2001:DB8:0:0::1") == pack_host("2001:db8::1")
    assert pack_host("fe80::1%eth0") == pack_host("fe80::1")


@pytest.mark.parametrize("host", ["", "localhost", "1.2.3", "1.2.3.4.5", "::1::", "010.1.1.1"])
def test_what_is_no_address_is_not_packed(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        pack_host(host)


@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
def test_other_sizes_are_not_unpacked(size: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack_host(bytes(size))


def test_families() -> None:
    assert family_of("192.0.2.1") is AddressFamily.IPV4
    assert family_of("::ffff:192.0.2.1") is AddressFamily.IPV6
    assert TransportAddress("::1", 3478).family is AddressFamily.IPV6


def test_the_text_of_an_address() -> None:
    assert str(TransportAddress("203.0.113.7", 3478)) == "203.0.113.7:3478"
    assert str(TransportAddress("2001:db8::7", 0)) == "[2001:db8::7]:0"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::2", False), ("fe80::1%2", False)],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_an_ipv6_client_is_its_whole_64_and_an_ipv4_client_its_address() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:ffff:ffff:ffff")
    assert client_key("2001:db8::1") != client_key("2001:db8:0:1::1")
    assert client_key("192.0.2.1") != client_key("192.0.2.2")
    assert client_key("0.0.0.0") != client_key("::")
