from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnd.config.relay_addresses import RelayAddress, parse_relay_address
from turnd.config.values import HostPort

STUN = HostPort("stun.example.org", 3478)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("auto", RelayAddress(auto=True)),
        ("10.0.0.5", RelayAddress(bound="10.0.0.5", announced="10.0.0.5")),
        ("10.0.0.5=203.0.113.7", RelayAddress(bound="10.0.0.5", announced="203.0.113.7")),
        ("2001:db8::1", RelayAddress(bound="2001:db8::1", announced="2001:db8::1")),
        ("fd00::1=2001:db8::1", RelayAddress(bound="fd00::1", announced="2001:db8::1")),
        ("auto=203.0.113.7", RelayAddress(auto=True, announced="203.0.113.7")),
        ("interface:eth0", RelayAddress(interface="eth0")),
        ("interface:wg-0.5=203.0.113.7", RelayAddress(interface="wg-0.5", announced="203.0.113.7")),
        ("auto=dns:home.example", RelayAddress(auto=True, dns="home.example")),
        ("10.0.0.5=dns:home.example", RelayAddress(bound="10.0.0.5", dns="home.example")),
        ("auto=stun:stun.example.org", RelayAddress(auto=True, stun=STUN)),
        ("fd00::1=stun:stun.example.org", RelayAddress(bound="fd00::1", stun=STUN)),
        ("interface:a=stun:1.2.3.4:5", RelayAddress(interface="a", stun=HostPort("1.2.3.4", 5))),
        ("auto=stun:[2001:db8::9]", RelayAddress(auto=True, stun=HostPort("2001:db8::9", 3478))),
    ],
)  # fmt: skip
def test_entries(text: str, address: RelayAddress) -> None:
    assert parse_relay_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["dns:home.example", "stun:stun.example.org:3479"])
def test_what_is_announced_may_stand_alone(text: str) -> None:
    assert parse_relay_address(text) == parse_relay_address(f"auto={text}")
    assert parse_relay_address(f"auto = {text}") == parse_relay_address(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.5=2001:db8::1", "two families"),
        ("10.0.0.5=", "'' is no IP address"),
        ("auto=", "'' is no IP address"),
        ("auto=auto", "'auto' is no IP address"),
        ("0.0.0.0", "did you mean auto"),
        ("::", "did you mean auto"),
        ("[::1]", "without brackets"),
        ("224.0.0.1", "no address that a host can relay from"),
        ("::ffff:10.0.0.5", "no address that a host can relay from"),
        ("host.example", "dns:NAME are other ways"),
        ("dns:", "'' is no host name"),
        ("dns:203.0.113.7", "is no host name"),
        ("dns:a=dns:b", "'dns:a' is no IP address"),
        ("10.0.0.5=dns:a_b", "is no host name"),
        ("stun:", "is no host name"),
        ("stun:stun.example.org:0", "0 is no port"),
        ("interface:", "is no interface's name"),
        ("interface:a/b", "is no interface's name"),
        ("interface:..", "is no interface's name"),
        ("interface:" + "x" * 16, "is no interface's name"),
    ],
)
def test_entries_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_relay_address(text)


@given(st.text() | st.text("abdeinostu:=.1[]0-"))
def test_any_text_is_an_entry_or_a_value_error(text: str) -> None:
    try:
        entry = parse_relay_address(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - both outcomes are fine, silence is not
    else:
        assert parse_relay_address(str(entry)) == entry
