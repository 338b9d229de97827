"""A wildcard listener answers from the address that was asked, by UDP, TCP and TLS."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bare import TIMEOUT, ask, request, signed_allocate
from tests.e2e.server import free_port, serve
from turnd.stun import attributes as a
from turnd.stun.message import MessageClass, Method, decode_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.certificates import Authority
    from tests.e2e.server import Server

ASKED = ("127.0.0.1", "127.0.0.2", "127.7.8.9", "::1")


@pytest.fixture(scope="module")
def wildcard(authority: Authority, folders: Path) -> Iterator[Server]:
    port, tls_port = free_port(("0.0.0.0", "::")), free_port(("0.0.0.0", "::"))
    hosts = ("0.0.0.0", "[::]")
    listen = [f"{transport}://{host}:{port}" for transport in ("udp", "tcp") for host in hosts]
    listen += [f"tls://{host}:{tls_port}" for host in hosts]
    tls = authority.issue("wildcard").section()
    with serve(Path(tempfile.mkdtemp(dir=folders)), listen=listen, tls=tls) as running:
        running.port, running.tls_port = port, tls_port
        yield running


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.mark.parametrize("host", ASKED)
def test_udp_answers_come_from_the_asked_address(wildcard: Server, host: str) -> None:
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as client:
        answer = ask(client, request(Method.BINDING), (host, wildcard.port))
    assert answer.message_class is MessageClass.SUCCESS


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_allocations_at_each_address_are_apart(
    wildcard: Server, family: socket.AddressFamily
) -> None:
    """The asked address is part of the five-tuple: one client socket, an allocation at each."""
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        for host in (host for host in ASKED if family_of(host) is family):
            server = (host, wildcard.port)
            challenge = ask(client, request(Method.ALLOCATE), server)
            answer = ask(client, signed_allocate(challenge), server)
            assert answer.message_class is MessageClass.SUCCESS


@pytest.mark.parametrize("host", ASKED)
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_streams_are_served_at_every_address(
    wildcard: Server, authority: Authority, host: str, transport: str
) -> None:
    port = wildcard.tls_port if transport == "tls" else wildcard.port
    with socket.create_connection((host, port), timeout=TIMEOUT) as plain:
        stream: socket.socket = plain
        if transport == "tls":
            trusts = ssl.create_default_context(cafile=authority.file)
            stream = trusts.wrap_socket(plain, server_hostname="localhost")
        stream.sendall(request(Method.BINDING))
        answer = decode_untrusted(stream.recv(2048))
        mapped = answer.get(a.XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert tuple(mapped) == stream.getsockname()[:2]
        stream.close()
