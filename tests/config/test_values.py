from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.config.values import (
    Endpoint,
    HostPort,
    PortRange,
    parse_bit_rate,
    parse_duration,
    parse_endpoint,
    parse_host_port,
    parse_network,
    parse_peer_range,
    parse_port_range,
)

ADDRESSES = st.ip_addresses()


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("udp://0.0.0.0:3478", Endpoint("udp", "0.0.0.0", 3478)),
        ("tcp://[::]:443", Endpoint("tcp", "::", 443)),
        ("udp://[2001:DB8:0::1]", Endpoint("udp", "2001:db8::1", 3478)),
        ("tcp://192.0.2.1", Endpoint("tcp", "192.0.2.1", 3478)),
        ("tls://192.0.2.1", Endpoint("tls", "192.0.2.1", 5349)),
        ("udp://127.0.0.1:0", Endpoint("udp", "127.0.0.1", 0)),
        ("dtls://192.0.2.1", Endpoint("dtls", "192.0.2.1", 5349)),
        ("auto://192.0.2.1", Endpoint("auto", "192.0.2.1", 443)),
    ],
)
def test_endpoints(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0:3478", "no endpoint"),
        ("sctp://0.0.0.0", "'sctp' is no transport"),
        ("turn:0.0.0.0", "no endpoint"),
        ("udp://:::3478", "stands in brackets"),
        ("udp://::1", "stands in brackets"),
        ("udp://[127.0.0.1]:1", "brackets are for IPv6"),
        ("udp://[::1]:65536", "0 to 65535"),
        ("udp://1.2.3.4:", "'' is no port"),
        ("udp://1.2.3.4:+1", "is no port"),
        ("udp://1.2.3.4:99999999999999999999", "is no port"),
        ("udp://1.2.3.4/x", "is no IP address"),
        ("udp://turn.example.org", "names are not looked up"),
        ("udp://*:3478", "every IPv4"),
        ("udp://[fe80::1%eth0]", "zone"),
        ("udp://", "is no IP address"),
    ],
)
def test_endpoints_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_endpoint(text)


def test_an_address_with_port() -> None:
    assert parse_host_port("127.0.0.1:9641") == HostPort("127.0.0.1", 9641)
    assert str(parse_host_port("[::1]:9641")) == "[::1]:9641"
    with pytest.raises(ValueError, match="has no port"):
        parse_host_port("127.0.0.1")


def test_port_ranges() -> None:
    assert parse_port_range("49152-65535") == PortRange(49152, 65535)
    assert parse_port_range("1 - 2") == PortRange(1, 2)
    assert parse_port_range(50000) == PortRange(50000, 50000)
    assert str(PortRange(1, 2)) == "1-2"


@pytest.mark.parametrize("text", ["2-1", "0-5", "5-65536", "1-2-3", "a-b", "", "-5"])
def test_port_ranges_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"port"):
        parse_port_range(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0), (0.3, 0.3), (90, 90), ("300ms", 0.3), ("30s", 30), ("10m", 600), ("1h", 3600),
        ("1d", 86400), ("1h30m", 5400), ("0.5h", 1800),
    ],
)  # fmt: skip
def test_durations(value: str | float, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [-1, float("inf"), float("nan"), "", "60", "1:30", "10 m", "1w", "-1s", "1e3s"]
)
def test_durations_that_are_none(value: str | float) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (0, 0),
        (64_000, 64_000),
        ("64k", 64_000),
        ("5M", 5_000_000),
        ("5Mbit", 5_000_000),
        ("2.5 Mbit", 2_500_000),
        ("0.5k", 500),
        ("1000G", 10**12),
    ],
)
def test_bit_rates(value: str | int, rate: int) -> None:
    assert parse_bit_rate(value) == rate


@pytest.mark.parametrize(
    "value",
    [-1, 10**12 + 1, "", "5", "M", "5m", "5MB", "5 Mbps", "-5M", "1001G", "\u0665M"],
)
def test_bit_rates_that_are_none(value: str | int) -> None:
    with pytest.raises(ValueError, match="no bit rate"):
        parse_bit_rate(value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("special-purpose", "special-purpose"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9"),
        ("::1-::2", "::1-::2"),
    ],
)
def test_peer_ranges(text: str, canonical: str) -> None:
    assert parse_peer_range(text) == canonical
    assert parse_peer_range(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1/8", "did you mean 10.0.0.0/8 or 10.0.0.1"),
        ("10.0.0.0/33", "is no network"),
        ("10.0.0.0/255.0.0.0", "did you mean 10.0.0.0/8"),
        ("10.0.0.9-10.0.0.1", "above the last"),
        ("10.0.0.1-::1", "one address family"),
        ("recommended", "neither special-purpose nor"),
        ("special-purposes", "neither special-purpose nor"),
        ("10.0.0.0-", "neither special-purpose nor"),
        ("010.0.0.1", "neither special-purpose nor"),
        ("", "neither special-purpose nor"),
    ],
)
def test_peer_ranges_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_peer_range(text)


@given(ADDRESSES, ADDRESSES)
def test_any_range_of_addresses_is_judged_as_python_does(
    first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address
) -> None:
    text = f"{first}-{last}"
    if first.version == last.version and int(first) <= int(last):
        assert parse_peer_range(text) == text
    else:
        with pytest.raises(ValueError, match=r"range|above"):
            parse_peer_range(text)


@given(ADDRESSES, st.integers(0, 128))
def test_any_network_is_judged_as_python_does(
    address: IPv4Address | IPv6Address, length: int
) -> None:
    text = f"{address}/{length}"
    try:
        expected = str(ip_network(text))
    except ValueError:
        with pytest.raises(ValueError, match=r"no network|bits set"):
            parse_peer_range(text)
    else:
        assert parse_peer_range(text) == expected


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    parsers = (parse_endpoint, parse_port_range, parse_peer_range)
    for parse in (*parsers, parse_bit_rate, parse_duration, parse_host_port):
        try:
            value = parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - both outcomes are fine, silence is not
        else:
            assert value is not None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::7", "2001:db8::7/128"),
    ],
)
def test_networks(text: str, network: str) -> None:
    assert parse_network(text) == network
    assert parse_network(network) == network


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("proxy.example.org", "names are not looked up"),
        ("10.0.0.1/8", "bits set behind"),
        ("10.0.0.0/33", "is no network"),
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("special-purpose", "no IP address"),
    ],
)
def test_networks_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_network(text)
