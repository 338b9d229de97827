from __future__ import annotations

import pytest

from turnd.config import Config, ConfigError, Endpoint, load_text
from turnd.config.discovery import StunAddress, parse_stun_address

HERE = "listen: [udp://192.0.2.1]\n"


def config(text: str) -> Config:
    return load_text(text, "f", {})


def extra(text: str) -> list[str]:
    """Endpoints of the server's own realm that `listen` has not."""
    loaded = config(text)
    return [str(each) for each in loaded.all_realms()[0].endpoints if each not in loaded.listen]


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return str(caught.value).split("\n")


def test_it_is_off() -> None:
    assert Config().quartets() == ()
    assert Config().all_realms()[0].endpoints == Config().listen


def test_the_default_endpoints_serve_half_of_it() -> None:
    assert extra("stun: {rfc5780: [192.0.2.1, 192.0.2.2]}") == [
        "udp://192.0.2.1:3479",
        "udp://192.0.2.2:3479",
        "tcp://192.0.2.1:3479",
        "tcp://192.0.2.2:3479",
    ]


def test_what_listen_has_not_is_bound_for_it() -> None:
    assert extra(HERE + "stun: {rfc5780: [192.0.2.1, 192.0.2.2], alternate_port: 9}") == [
        "udp://192.0.2.2:3478",
        "udp://192.0.2.1:9",
        "udp://192.0.2.2:9",
    ]
    all_of_it = "listen: [udp://192.0.2.1, udp://192.0.2.2, 'udp://0.0.0.0:3479']\n"
    assert extra(all_of_it + "stun: {rfc5780: [192.0.2.1, 192.0.2.2]}") == []


def test_each_family_has_its_own_four() -> None:
    text = "listen: ['udp://0.0.0.0:1', 'udp://[::]:2', 'tcp://[2001:db8::1]:2']\n"
    text += "stun: {rfc5780: [192.0.2.1, '2001:db8::1', 192.0.2.2, '2001:db8::2']}"
    ipv4, ipv6 = config(text).quartets()
    assert (ipv4.ports, ipv4.transports) == ((1, 3479), ("udp",))
    assert (ipv6.ports, ipv6.transports) == ((2, 3479), ("udp", "tcp"))
    assert [each.bound for each in ipv6.hosts] == ["2001:db8::1", "2001:db8::2"]


def test_the_first_udp_endpoint_at_one_of_them_has_the_primary_port() -> None:
    listen = "listen: ['udp://192.0.2.9:5', 'tcp://192.0.2.1:6', 'udp://192.0.2.2:7', "
    listen += "'udp://192.0.2.1:8', 'udp://[::]:9', 'dtls://192.0.2.1:5349']\n"
    tls = "tls: {certificate: a, key: b}\n"
    (quartet,) = config(listen + tls + "stun: {rfc5780: [192.0.2.1, 192.0.2.2]}").quartets()
    assert (quartet.ports, quartet.transports) == ((7, 3479), ("udp",))
    assert quartet.is_served_by(Endpoint("udp", "192.0.2.1", 3479))
    assert quartet.is_served_by(Endpoint("udp", "0.0.0.0", 7))
    assert not quartet.is_served_by(Endpoint("udp", "192.0.2.1", 8))
    assert not quartet.is_served_by(Endpoint("tcp", "192.0.2.1", 7))
    assert not quartet.is_served_by(Endpoint("udp", "::", 7))


def test_auto_is_udp_and_tcp_among_others() -> None:
    text = "listen: ['auto://0.0.0.0:443']\ntls: {certificate: a, key: b}\n"
    text += "stun: {rfc5780: [192.0.2.1, 192.0.2.2], alternate_port: 444}"
    (quartet,) = config(text).quartets()
    assert (quartet.ports, quartet.transports) == ((443, 444), ("udp", "tcp"))
    assert extra(text)[-4:] == [
        f"{transport}://192.0.2.{n}:444" for transport in ("udp", "tcp") for n in (1, 2)
    ]


def test_announced_addresses() -> None:
    text = HERE + "stun: {rfc5780: [192.0.2.1 = 198.51.100.1, 192.0.2.2]}"
    (quartet,) = config(text).quartets()
    assert quartet.hosts == (
        StunAddress("192.0.2.1", "198.51.100.1"),
        StunAddress("192.0.2.2", "192.0.2.2"),
    )
    assert [str(each) for each in quartet.hosts] == ["192.0.2.1=198.51.100.1", "192.0.2.2"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("auto", "'auto' is no IP address"),
        ("0.0.0.0", "'0.0.0.0' is every address, and two of this host are wanted"),
        ("224.0.0.1", "'224.0.0.1' is no address that a host can answer from"),
        ("192.0.2.1=2001:db8::1", "bound and announced address are of two families"),
        ("192.0.2.1=::", "bound and announced"),
        ("192.0.2.1:3478", "is no IP address"),
    ],
)
def test_addresses_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        parse_stun_address(text)
    assert why in str(caught.value)


PAIR = "stun: {rfc5780: [192.0.2.1, 192.0.2.2]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "stun: {rfc5780: [192.0.2.1]}",
            ["1:17: stun.rfc5780: two addresses of one family are wanted, not 1 (192.0.2.1)"],
        ),
        (
            "stun: {rfc5780: [192.0.2.1, '2001:db8::1']}",
            [
                "1:17: stun.rfc5780: two addresses of one family are wanted, not 1 (192.0.2.1)",
                "1:17: stun.rfc5780: two addresses of one family are wanted, not 1 (2001:db8::1)",
            ],
        ),
        (
            "stun: {rfc5780: [192.0.2.1, 192.0.2.1]}",
            ["1:17: stun.rfc5780: an address stands here twice"],
        ),
        (
            f"listen: [tcp://192.0.2.1]\n{PAIR}}}",
            [
                (
                    "2:17: stun.rfc5780: no udp:// endpoint of listen is at 192.0.2.1 or 192.0.2.2 "
                    "or at all addresses, and its port would be the primary one"
                )
            ],
        ),
        (
            f"{HERE}{PAIR}, alternate_port: 3478}}",
            ["2:57: stun.alternate_port: 3478 is the primary port already"],
        ),
        (
            (
                "listen: [udp://192.0.2.1, tcp://192.0.2.1, 'tls://0.0.0.0:3479']\n"
                f"tls: {{certificate: a, key: b}}\n{PAIR}}}"
            ),
            [
                f"3:17: stun.rfc5780: tcp://192.0.2.{n}:3479 is wanted for it, and "
                "tls://0.0.0.0:3479 has that port"
                for n in (1, 2)
            ],
        ),
        (
            (
                f"{HERE}{PAIR}}}\nrealms: {{b: {{listen: ['udp://192.0.2.2:3479'], "
                "auth: {secrets: [x]}}}"
            ),
            [
                (
                    "2:17: stun.rfc5780: udp://192.0.2.2:3479 is wanted for it, and "
                    "udp://192.0.2.2:3479 has that port"
                )
            ],
        ),
        (
            f"{PAIR}, alternate_port: 0}}",
            ["1:57: stun.alternate_port: at least 1 is wanted, not 0"],
        ),
        (
            "stun: {rfc5780: [auto]}",
            ["1:18: stun.rfc5780[0]: 'auto' is no IP address (names are not looked up)"],
        ),
    ],
)
def test_mistakes(text: str, expected: list[str]) -> None:
    assert mistakes(text) == [f"f:{each}" for each in expected]
