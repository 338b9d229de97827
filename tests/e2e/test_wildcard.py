"""A wildcard listener answers from the address that was asked, by UDP, TCP and TLS."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bare import TIMEOUT, ask, request, signed_allocate
from tests.e2e.namespaces import Namespace, new_namespace
from tests.e2e.server import PASSWORD, USER, Surroundings, serve
from tests.e2e.test_turnutils import counts_of, run
from turnd.stun import attributes as a
from turnd.stun.message import MessageClass, Method, decode_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.certificates import Authority
    from tests.e2e.server import Server

ASKED = ("127.0.0.1", "127.0.0.2", "127.7.8.9", "::1")
TWO_OF_IPV6 = ("fd00:7::1", "fd00:7::2")
"""Loopback has one IPv6 address alone: two are given to a host made for the test."""


@pytest.fixture(scope="module")
def wildcard(authority: Authority, folders: Path) -> Iterator[Server]:
    hosts = ("0.0.0.0", "[::]")
    listen = [f"{transport}://{host}:{{port}}" for transport in ("udp", "tcp") for host in hosts]
    listen += [f"tls://{host}:{{tls_port}}" for host in hosts]
    tls = authority.issue("wildcard").section()
    with serve(Path(tempfile.mkdtemp(dir=folders)), listen=listen, tls=tls) as running:
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


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with new_namespace() as made:
        for address in TWO_OF_IPV6:
            made.run("ip", "address", "add", f"{address}/128", "dev", "lo", "nodad")
        yield made


@pytest.fixture(scope="module")
def ipv6_wildcard(host: Namespace, folders: Path) -> Iterator[Server]:
    with serve(
        folders / "wildcard6",
        surroundings=Surroundings(prefix=host.server_prefix, is_remote=True),
        listen=["udp://[::]:3478", "tcp://[::]:3478"],
        relay={"addresses": [TWO_OF_IPV6[0]]},
        peers={},
    ) as running:
        yield running


@pytest.mark.parametrize("transport", [(), ("-t",)], ids=["udp", "tcp"])
@pytest.mark.parametrize(("own", "asked"), [TWO_OF_IPV6, TWO_OF_IPV6[::-1]])
async def test_ipv6_clients_are_answered_from_the_asked_of_two_addresses(
    ipv6_wildcard: Server, host: Namespace, own: str, asked: str, transport: tuple[str, ...]
) -> None:
    """The route back prefers the client's own address as source, not the one that was asked.

    The client's socket is connected: what comes from elsewhere never reaches it.
    """
    load = ("-y", "-s", "-x", "-n", "5", "-z", "5", "-p", "3478", "-u", USER, "-w", PASSWORD)
    status, output = await run(
        *host.prefix, "turnutils_uclient", *load, *transport, "-L", own, asked
    )
    assert status == 0, output
    counts = counts_of(output)
    assert counts.sent == counts.received >= 5, output
