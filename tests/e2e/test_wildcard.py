"""A wildcard listener answers from the address that was asked, by UDP, TCP and TLS."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.nonsense import KEY
from tests.e2e.server import REALM, USER, free_port, serve
from turnd.stun import attributes as a
from turnd.stun.message import (
    Integrity,
    IntegrityAlgorithm,
    MessageClass,
    Method,
    decode_untrusted,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.certificates import Authority
    from tests.e2e.server import Server

ASKED = ("127.0.0.1", "127.0.0.2", "127.7.8.9", "::1")
TIMEOUT = 10.0


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


def binding() -> bytes:
    return encode_message(Method.BINDING, MessageClass.REQUEST, os.urandom(12), [])


@pytest.mark.parametrize("host", ASKED)
def test_udp_answers_come_from_the_asked_address(wildcard: Server, host: str) -> None:
    """The socket is not connected: it would hide an answer from elsewhere."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        client.sendto(binding(), (host, wildcard.port))
        answer, source = client.recvfrom(2048)
    assert source[:2] == (host, wildcard.port)
    assert decode_untrusted(answer).message_class is MessageClass.SUCCESS


@pytest.mark.parametrize("host", ASKED)
def test_allocations_at_each_address_are_apart(wildcard: Server, host: str) -> None:
    """The asked address is part of the five-tuple: one client socket, an allocation at each."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        others = [other for other in ASKED if family_of(other) == family_of(host)]
        client.bind((host, 0))
        for asked in others:
            assert allocate(client, (asked, wildcard.port)) is MessageClass.SUCCESS


def allocate(client: socket.socket, server: tuple[str, int]) -> MessageClass:
    """Challenge and Allocate on a bare socket, each answer from where it was asked."""
    wish = [(a.REQUESTED_TRANSPORT, 17)]
    first = encode_message(Method.ALLOCATE, MessageClass.REQUEST, os.urandom(12), wish)
    challenge = decode_untrusted(ask(client, first, server))
    credentials = [(a.USERNAME, USER), (a.REALM, REALM), (a.NONCE, challenge.get(a.NONCE))]
    integrity = Integrity(KEY, IntegrityAlgorithm.SHA1)
    second = encode_message(
        *(Method.ALLOCATE, MessageClass.REQUEST, os.urandom(12)),
        [*credentials, *wish],
        integrity=integrity,
    )
    return MessageClass(decode_untrusted(ask(client, second, server)).message_class)


def ask(client: socket.socket, message: bytes, server: tuple[str, int]) -> bytes:
    client.sendto(message, server)
    answer, source = client.recvfrom(2048)
    assert source[:2] == server
    return answer


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
        stream.sendall(binding())
        answer = decode_untrusted(stream.recv(2048))
        mapped = answer.get(a.XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert tuple(mapped) == stream.getsockname()[:2]
        stream.close()
