from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.engine.sockaddr import raw_address, shown_address
from turnd.stun.addresses import TransportAddress


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_there_and_back(host: object, port: int) -> None:
    address = TransportAddress(str(host), port)
    assert shown_address(raw_address(address)) == address


def test_an_ipv4_address_is_what_its_socket_gives() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        name = sock.getsockname()
    address = TransportAddress(*name)
    assert raw_address(address) == name
    assert hash(raw_address(address)) == hash(name)


def test_an_ipv6_address_is_what_its_socket_gives() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        name = sock.getsockname()
    assert raw_address(TransportAddress("::1", name[1])) == name


def test_the_zone_is_the_scope() -> None:
    raw = ("fe80::1", 9, 0, 3)
    assert raw_address(TransportAddress("fe80::1%3", 9)) == raw
    assert shown_address(raw) == TransportAddress("fe80::1%3", 9)


def test_the_zone_may_be_an_interface() -> None:
    index = socket.if_nametoindex("lo")
    assert raw_address(TransportAddress("fe80::1%lo", 9)) == ("fe80::1", 9, 0, index)


def test_a_zone_that_is_no_interface() -> None:
    with pytest.raises(OSError, match="no interface"):
        raw_address(TransportAddress("fe80::1%none", 9))


def test_what_the_system_writes_with_dots_is_written_without() -> None:
    raw = raw_address(TransportAddress("::102:304", 9))
    assert raw == ("::1.2.3.4", 9, 0, 0)
    assert shown_address(raw) == TransportAddress("::102:304", 9)
