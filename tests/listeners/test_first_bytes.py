from __future__ import annotations

import pytest

from tests.listeners.hellos import alpn, hello, openssl_hello, server_name
from turnd.engine.base import Transport
from turnd.listeners.first_bytes import Goal, sort
from turnd.listeners.incomplete import Incomplete

TLS, BOTH = (Transport.TLS,), (Transport.TCP, Transport.TLS)
ALLOCATE = bytes.fromhex("0003 0000 2112a442")


def is_ours(name: str) -> bool:
    return name == "turn.example"


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_stun_in_plain_text(first: int) -> None:
    for backend in (None, is_ours):
        assert sort(bytes([first]), BOTH, backend) is Goal.TCP
        assert sort(bytes([first]), TLS, backend) is Goal.NOBODY


def test_without_a_backend_all_tls_is_ours() -> None:
    assert sort(b"\x16", BOTH, None) is Goal.TLS
    assert sort(openssl_hello("www.example", "h2"), TLS, None) is Goal.TLS


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", b"\x40\x00", b"\x80", b"SSH-2.0"])
def test_what_is_neither_is_the_backends_or_nobodys(data: bytes) -> None:
    for accepts in (TLS, BOTH):
        assert sort(data, accepts, None) is Goal.NOBODY
        assert sort(data, accepts, is_ours) is Goal.BACKEND


@pytest.mark.parametrize(
    ("name", "protocols", "goal"),
    [
        (None, (), Goal.TLS),  # libwebrtc and coturn by address
        ("turn.example", (), Goal.TLS),  # libwebrtc by name
        ("www.example", (), Goal.BACKEND),  # an old or simple client of the web server
        ("turn.example", ("h2", "http/1.1"), Goal.BACKEND),  # a browser, at the same name
        (None, ("http/1.1",), Goal.BACKEND),
        ("turn.example", ("acme-tls/1",), Goal.BACKEND),  # RFC 8737
        ("turn.example", ("stun.turn",), Goal.TLS),  # RFC 7443
        ("www.example", ("stun.nat-discovery", "http/1.1"), Goal.TLS),
        (None, ("stun.turn",), Goal.TLS),
    ],
)
def test_whose_a_tls_client_is(name: str | None, protocols: tuple[str, ...], goal: Goal) -> None:
    for accepts in (TLS, BOTH):
        assert sort(openssl_hello(name, *protocols), accepts, is_ours) is goal


def test_it_is_not_said_before_it_is_known() -> None:
    whole = hello(alpn(b"h2"), server_name(b"turn.example"))
    assert sort(b"", BOTH, is_ours) == Incomplete(1)
    assert sort(whole[:1], BOTH, is_ours) == Incomplete(5)
    assert sort(whole[:-1], BOTH, is_ours) == Incomplete(len(whole))


def test_what_only_begins_like_tls_is_nobodys() -> None:
    assert sort(b"\x16\x03\x01\xff\xff", BOTH, is_ours) is Goal.NOBODY
    assert sort(hello(alpn()), BOTH, is_ours) is Goal.NOBODY
