from __future__ import annotations

import pytest

from turnd.config.names import parse_name, parse_name_port
from turnd.config.values import HostPort


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("home.example.org", "home.example.org"),
        ("Home.Example.ORG.", "home.example.org"),
        ("localhost", "localhost"),
        ("1and1.example", "1and1.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a..b", "-a.example", "a-.example", "a_b.example", "bücher.example", "a b",
        "10.0.0.5", "10.0.0", "example.1", "a" * 64 + ".example", ".".join(["a" * 49] * 6), "a.-",
    ],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no host name"):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("stun.example.org", HostPort("stun.example.org", 3478)),
        ("stun.example.org:19302", HostPort("stun.example.org", 19302)),
        ("192.0.2.9", HostPort("192.0.2.9", 3478)),
        ("192.0.2.9:5", HostPort("192.0.2.9", 5)),
        ("2001:DB8::9", HostPort("2001:db8::9", 3478)),
        ("[2001:db8::9]", HostPort("2001:db8::9", 3478)),
        ("[2001:db8::9]:5", HostPort("2001:db8::9", 5)),
    ],
)
def test_names_and_addresses_with_a_port_or_without(text: str, found: HostPort) -> None:
    assert parse_name_port(text, 3478) == found


@pytest.mark.parametrize(
    "text", ["", ":5", "a.example:", "a.example:0", "192.0.2.9:0", "[::1", "1:2:3", "a.b:70000"]
)
def test_what_is_neither(text: str) -> None:
    with pytest.raises(ValueError, match=r"no host name|no port|no address|no IP address"):
        parse_name_port(text, 3478)
