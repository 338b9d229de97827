from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnd.allocations.policy import PeerPolicy, Refusal
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Callable

Address = IPv4Address | IPv6Address


def words(text: str) -> list[str]:
    return text.split()


# The registries as IANA lists them, apart from what the module makes of them.
REGISTRY_IPV4 = words("""
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32
    192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32
    192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
    255.255.255.255/32 224.0.0.0/4
""")
REGISTRY_IPV6 = words("""
    ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
    2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48
    2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20
    5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8 ::/96 ::ffff:0:0:0/96
""")
REGISTRY = [ip_network(each) for each in REGISTRY_IPV4 + REGISTRY_IPV6]
# Where Python sees global addresses, but the registries a special purpose.
GLOBALLY_REACHABLE = [
    ip_network(each)
    for each in (
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "2001::/23",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]
GLOBAL_UNICAST = ip_network("2000::/3")
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address)
UNICAST = st.integers(0x2 << 124, (0x4 << 124) - 1).map(IPv6Address)


def near_a_boundary(networks: list[str]) -> list[Address]:
    return [
        type(network[0])(near)
        for network in map(ip_network, networks)
        for edge in (int(network[0]), int(network[-1]))
        for near in (edge - 1, edge, edge + 1)
        if 0 <= near < 1 << network.max_prefixlen
    ]


BOUNDARIES = st.sampled_from(near_a_boundary(REGISTRY_IPV4 + REGISTRY_IPV6))
ANY = st.one_of(IPV4, IPV6, UNICAST, BOUNDARIES)
DEFAULT = PeerPolicy.build()


def is_isatap(address: Address) -> bool:
    return address.version == 6 and "5efe" in address.exploded.replace(":", "")[16:24]


# --- the default policy ---------------------------------------------------------------------


@given(ANY)
def test_what_python_holds_for_special_is_refused(address: Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert DEFAULT.verdict(str(address), 9) is Refusal.SPECIAL_PURPOSE


@given(ANY)
def test_what_is_refused_is_special_to_python_or_to_the_registries(address: Address) -> None:
    if DEFAULT.verdict(str(address), 9) is None:
        return
    outside = address.version == 6 and address not in GLOBAL_UNICAST
    listed = any(address in network for network in GLOBALLY_REACHABLE)
    python = not address.is_global or address.is_multicast or address.is_reserved
    assert python or listed or outside or is_isatap(address)


@pytest.mark.parametrize("network", REGISTRY, ids=str)
def test_every_entry_of_the_registries_is_refused(network: IPv4Address) -> None:
    first, last = network[0], network[-1]  # type: ignore[index]  # networks, seen as addresses
    middle = type(first)((int(first) + int(last)) // 2)
    for address in (first, middle, last):
        assert DEFAULT.verdict(str(address), None) is Refusal.SPECIAL_PURPOSE


PUBLIC_HOSTS = words("""
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    172.15.255.255 172.32.0.0 192.167.255.255 223.255.255.255 2001:200::1 2606:4700::1111
    2a00:1450::1 2001:db7::1
""")


@pytest.mark.parametrize("host", PUBLIC_HOSTS)
def test_the_public_internet_is_allowed(host: str) -> None:
    assert DEFAULT.verdict(host, None) is None
    assert DEFAULT.verdict(host, 443) is None


# --- every encoding of an IPv4 address ------------------------------------------------------


def v6(number: int) -> str:
    return str(IPv6Address(number))


PUBLIC = int(IPv4Address("8.8.8.8"))
UNICAST_64 = int(IPv6Address("2606:4700:4700::"))
ENCODINGS: dict[str, Callable[[int], str]] = {
    "mapped": lambda ip: v6(0xFFFF << 32 | ip),
    "compatible": v6,
    "siit": lambda ip: v6(0xFFFF << 48 | ip),
    "nat64": lambda ip: v6(0x64FF9B << 96 | ip),
    "local nat64 /96": lambda ip: v6(0x64FF9B0001 << 80 | ip),
    "6to4": lambda ip: v6(0x2002 << 112 | ip << 80 | 1),
    "teredo client": lambda ip: v6(0x20010000 << 96 | PUBLIC << 64 | (ip ^ 0xFFFFFFFF)),
    "teredo server": lambda ip: v6(0x20010000 << 96 | ip << 64 | (PUBLIC ^ 0xFFFFFFFF)),
    "isatap": lambda ip: v6(UNICAST_64 | 0x5EFE << 32 | ip),
    "isatap, universal": lambda ip: v6(UNICAST_64 | 0x2005EFE << 32 | ip),
}
TARGETS = words("""
    127.0.0.1 127.255.255.255 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1
    0.0.0.0 0.0.0.2 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 192.0.2.1 198.18.0.1
""")
TRANSITION = ["::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"]
TRANSITION += ["2001::/32", "2002::/16"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_special_ipv4_address_is_refused_in_every_encoding(encoding: str, target: str) -> None:
    host = ENCODINGS[encoding](int(IPv4Address(target)))
    assert DEFAULT.verdict(host, None) is Refusal.SPECIAL_PURPOSE
    assert DEFAULT.verdict(host, 80) is Refusal.SPECIAL_PURPOSE


@pytest.mark.parametrize(
    ("encoding", "target"),
    # Compatible with 0.0.0.0 is ::, which is nothing but itself.
    [(e, t) for e in ENCODINGS for t in TARGETS if (e, t) != ("compatible", "0.0.0.0")],
)
def test_it_is_refused_where_the_transition_ranges_are_allowed(encoding: str, target: str) -> None:
    number = int(IPv4Address(target))
    host = ENCODINGS[encoding](number)
    allowing = PeerPolicy.build(allow=TRANSITION)
    assert allowing.verdict(host, 80) is Refusal.SPECIAL_PURPOSE
    assert allowing.verdict(ENCODINGS[encoding](PUBLIC), 80) is None


@pytest.mark.parametrize(
    "host", ["64:ff9b:1:a00:0:100::", "64:ff9b:1:0:a::", "64:ff9b:1:0:a:0:100:0"]
)
def test_local_nat64_prefixes_of_other_lengths_are_never_allowed(host: str) -> None:
    assert PeerPolicy.build(allow=TRANSITION).verdict(host, 80) is Refusal.SPECIAL_PURPOSE


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if "isatap" not in name])
def test_transition_ranges_are_refused_by_default_whatever_they_carry(encoding: str) -> None:
    assert DEFAULT.verdict(ENCODINGS[encoding](PUBLIC), 80) is Refusal.SPECIAL_PURPOSE


@pytest.mark.parametrize("encoding", ["isatap", "isatap, universal"])
def test_isatap_is_judged_by_what_it_carries(encoding: str) -> None:
    assert DEFAULT.verdict(ENCODINGS[encoding](PUBLIC), 80) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_denied_ipv4_address_is_denied_in_every_encoding(encoding: str) -> None:
    policy = PeerPolicy.build(deny=["8.8.0.0/16"])
    assert policy.verdict(ENCODINGS[encoding](PUBLIC), 80) is Refusal.DENIED


# --- deny and allow -------------------------------------------------------------------------

NETWORKS = st.one_of(
    st.builds(lambda ip, bits: str(ip_network((ip, bits), strict=False)), IPV4, st.integers(0, 32)),
    st.builds(
        lambda ip, bits: str(ip_network((ip, bits), strict=False)), UNICAST, st.integers(4, 128)
    ),
    IPV4.map(str),
)


def in_any(address: Address, entries: list[str]) -> bool:
    return any(address in ip_network(each) for each in entries)


@st.composite
def addresses_and_lists(draw: st.DrawFn) -> tuple[Address, list[str], list[str]]:
    deny = draw(st.lists(NETWORKS, max_size=6))
    allow = draw(st.lists(NETWORKS, max_size=6))
    near = near_a_boundary(deny + allow)
    address = draw(st.one_of(IPV4, UNICAST, *([st.sampled_from(near)] if near else [])))
    return address, deny, allow


@given(addresses_and_lists())
@example((ip_address("10.0.0.1"), ["10.0.0.0/8", "10.0.0.0/31"], ["10.0.0.1"]))
def test_allow_beats_deny_beats_nothing(case: tuple[Address, list[str], list[str]]) -> None:
    address, deny, allow = case
    if address.version == 6:
        carries = is_isatap(address) or address in ip_network("2002::/16")
        if carries or address in ip_network("2001::/32"):
            return
    if address.is_unspecified:
        return
    refused = in_any(address, deny) and not in_any(address, allow)
    verdict = PeerPolicy.build(deny, allow).verdict(str(address), 80)
    assert verdict is (Refusal.DENIED if refused else None)


def test_special_purpose_is_a_word_in_both_lists() -> None:
    allowing = PeerPolicy.build(allow=["special-purpose"])
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%eth0"):
        assert allowing.verdict(host, 80) is None
        assert PeerPolicy().verdict(host, 80) is Refusal.SPECIAL_PURPOSE
        assert PeerPolicy.build(deny=[]).verdict(host, 80) is None


def test_a_bad_entry_is_an_error_in_either_list() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' is an address within a network"):
        PeerPolicy.build(deny=["10.0.0.1/8"])
    with pytest.raises(ValueError, match="'nobody' is none of"):
        PeerPolicy.build(allow=["nobody"])


def test_a_peer_that_is_no_address_raises() -> None:
    with pytest.raises(ValueError, match="localhost"):
        DEFAULT.verdict("localhost", 80)


# --- this server ----------------------------------------------------------------------------

OWN = "5.5.5.5"
BOUND = "10.0.0.5"
EVERYTHING = ["0.0.0.0/0", "::/0"]


def at(host: str, port: int) -> TransportAddress:
    return TransportAddress(host, port)


def knowing(
    policy: PeerPolicy, *endpoints: TransportAddress, own: tuple[str, ...] = ()
) -> PeerPolicy:
    bound_by_announced = {host: host for host in own}
    return policy.with_own(endpoints, bound_by_announced, [BOUND, "2606:4700::5", "fe80::5%eth0"])


def test_endpoints_are_refused_whatever_is_allowed() -> None:
    policy = knowing(
        PeerPolicy.build([], EVERYTHING), at(OWN, 3478), at("2606:4700::5", 3478), at("fe80::5", 1)
    )
    assert policy.verdict(OWN, 3478) is Refusal.PROTECTED
    assert policy.verdict("2606:4700::5", 3478) is Refusal.PROTECTED
    assert policy.verdict("fe80::5%eth0", 1) is Refusal.PROTECTED
    assert policy.verdict(OWN, 3479) is None
    assert policy.verdict("2606:4700::6", 3478) is None


def test_a_permission_names_no_port_and_leaves_endpoints_to_each_packet() -> None:
    policy = knowing(PeerPolicy.build([], EVERYTHING), at(OWN, 3478), at("0.0.0.0", 3478))
    assert policy.verdict(OWN, None) is None


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.200.0.1", "::1", "0.0.0.0", "::"),
        *(BOUND, OWN, "2606:4700::5", "fe80::5"),
        *("::ffff:127.0.0.1", f"64:ff9b::{BOUND}", "2002:a00:5::1"),
    ],
)
def test_a_wildcard_endpoint_is_every_address_of_the_host(wildcard: str, host: str) -> None:
    policy = knowing(PeerPolicy.build([], EVERYTHING), at(wildcard, 6379), own=(OWN,))
    assert policy.verdict(host, 6379) is Refusal.PROTECTED
    assert policy.verdict("5.5.5.6", 6379) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"]
)
def test_a_loopback_endpoint_is_not_reached_by_another_name(host: str) -> None:
    policy = knowing(PeerPolicy.build([], EVERYTHING), at("127.0.0.1", 9641))
    assert policy.verdict(host, 9641) is Refusal.PROTECTED
    assert policy.verdict("127.0.0.2", 9641) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_endpoint_is_refused_in_every_encoding(encoding: str) -> None:
    policy = knowing(PeerPolicy.build([], EVERYTHING), at("8.8.8.8", 3478))
    host = ENCODINGS[encoding](PUBLIC)
    assert policy.verdict(host, 3478) is Refusal.PROTECTED
    assert policy.verdict(host, 3479) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("endpoint", ["8.8.8.8", "0.0.0.0"])
def test_a_permission_for_an_endpoint_behind_a_translator_is_refused(
    encoding: str, endpoint: str
) -> None:
    policy = PeerPolicy.build([], EVERYTHING).with_own([at(endpoint, 3478)], {}, ["8.8.8.8"])
    assert policy.verdict(ENCODINGS[encoding](PUBLIC), None) is Refusal.PROTECTED
    assert policy.verdict("64:ff9b::9.9.9.9", None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("port", [None, 53])
def test_the_unspecified_address_is_never_a_peer(host: str, port: int | None) -> None:
    assert PeerPolicy.build([], EVERYTHING).verdict(host, port) is Refusal.PROTECTED
    assert DEFAULT.verdict(host, port) is Refusal.SPECIAL_PURPOSE


def test_behind_nat_an_endpoint_is_refused_at_its_announced_address() -> None:
    policy = DEFAULT.with_own([at(BOUND, 3478), at("10.0.0.6", 6379)], {OWN: BOUND}, [BOUND])
    assert policy.verdict(OWN, 3478) is Refusal.PROTECTED
    assert policy.verdict(OWN, 6379) is None
    assert policy.verdict(OWN, None) is None


def test_own_relay_addresses_are_allowed_even_private_or_denied_ones() -> None:
    policy = PeerPolicy.build(["special-purpose", OWN])
    assert policy.verdict(OWN, 50000) is Refusal.DENIED
    policy = knowing(policy, own=(OWN, "10.0.0.7", "fd00::7"))
    for host in (OWN, "10.0.0.7", "fd00::7"):
        assert policy.verdict(host, None) is None
        assert policy.verdict(host, 50000) is None
    assert policy.verdict(BOUND, 50000) is Refusal.SPECIAL_PURPOSE


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_loopback_relay_address_needs_to_be_allowed(host: str) -> None:
    assert knowing(DEFAULT, own=(host,)).verdict(host, 50000) is Refusal.SPECIAL_PURPOSE
    allowing = knowing(PeerPolicy.build(allow=[host]), own=(host,))
    assert allowing.verdict(host, 50000) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_own_relay_addresses_are_refused_in_every_encoding(encoding: str) -> None:
    policy = knowing(PeerPolicy.build([], EVERYTHING), own=("8.8.8.8",))
    assert policy.verdict(ENCODINGS[encoding](PUBLIC), None) is Refusal.PROTECTED


def test_what_is_known_of_the_server_is_replaced_not_added_to() -> None:
    once = knowing(DEFAULT, at("9.9.9.9", 1), own=("10.0.0.7",))
    twice = knowing(once, at("9.9.9.9", 2))
    assert twice.verdict("9.9.9.9", 1) is None
    assert twice.verdict("9.9.9.9", 2) is Refusal.PROTECTED
    assert twice.verdict("10.0.0.7", 9) is Refusal.SPECIAL_PURPOSE
