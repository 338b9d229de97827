from __future__ import annotations

import pytest

from turnd.client.uri import Server, Target, Transport, parse_target, server_of


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("turn.example.org", Target("turn.example.org", None, None)),
        ("turn.example.org:3479", Target("turn.example.org", 3479, None)),
        ("203.0.113.7:80", Target("203.0.113.7", 80, None)),
        ("2001:DB8::7", Target("2001:db8::7", None, None)),
        ("[2001:db8::7]", Target("2001:db8::7", None, None)),
        ("[2001:db8::7]:443", Target("2001:db8::7", 443, None)),
        ("turn:turn.example.org", Target("turn.example.org", None, None)),
        ("turn:[::1]:3478?transport=udp", Target("::1", 3478, Transport.UDP)),
        ("TURN:h?transport=tcp", Target("h", None, Transport.TCP)),
        ("turns:h:443", Target("h", 443, Transport.TLS)),
        ("turns:h?transport=tcp", Target("h", None, Transport.TLS)),
        ("turns:h?transport=udp", Target("h", None, Transport.DTLS)),
        ("stuns:h:443?transport=udp", Target("h", 443, Transport.DTLS)),
        ("stun:h:1", Target("h", 1, None)),
        ("stuns:h", Target("h", None, Transport.TLS)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no host name"),
        ("turn:", "no host name"),
        ("a b", "no host name"),
        ("user@host", "no host name"),
        ("h:0", "no port"),
        ("h:65536", "no port"),
        ("h:²", "no port"),
        ("[::1", "IPv6 address with a port"),
        ("[::1]3478", "IPv6 address with a port"),
        ("1:2:3", "no IPv6 address"),
        ("turn:h?transport=sctp", "unknown"),
        ("turn:h?port=1", "unknown"),
        ("turns:h?transport=sctp", "unknown"),
    ],
)
def test_what_is_no_target(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_target(text)


def test_a_server_has_the_usual_port_unless_told() -> None:
    assert parse_target("h").by(Transport.UDP) == Server("h", 3478, Transport.UDP)
    assert parse_target("h").by(Transport.TLS) == Server("h", 5349, Transport.TLS)
    assert parse_target("h").by(Transport.DTLS) == Server("h", 5349, Transport.DTLS)
    assert parse_target("h:80").by(Transport.TCP) == Server("h", 80, Transport.TCP)
    assert parse_target("h:80").by(Transport.TCP, 81) == Server("h", 81, Transport.TCP)


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (Server("h", 3478, Transport.UDP), "turn:h:3478?transport=udp"),
        (Server("::1", 3478, Transport.TCP), "turn:[::1]:3478?transport=tcp"),
        (Server("h", 443, Transport.TLS), "turns:h:443?transport=tcp"),
        (Server("h", 443, Transport.DTLS), "turns:h:443?transport=udp"),
    ],
)
def test_a_server_is_written_as_its_uri(server: Server, text: str) -> None:
    assert str(server) == text
    target = parse_target(text)
    assert target.by(server.transport) == server


def test_what_they_are_carried_by_and_which_have_certificates() -> None:
    assert [each for each in Transport if each.is_stream] == [Transport.TCP, Transport.TLS]
    assert [each for each in Transport if each.is_secured] == [Transport.TLS, Transport.DTLS]
    assert [each.carrier for each in Transport] == ["udp", "tcp", "tcp", "udp"]


def test_servers_are_named_by_uri_too() -> None:
    assert server_of("turn:h") == Server("h", 3478, Transport.UDP)
    assert server_of("turns:h:443?transport=tcp") == Server("h", 443, Transport.TLS)
    assert server_of(Server("h", 1, Transport.TCP)) == Server("h", 1, Transport.TCP)
