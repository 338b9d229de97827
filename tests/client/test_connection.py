from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import REQUEST, echo, scripted
from tests.ports import closed_port
from turnd.client.connection import ConnectOptions, connect
from turnd.client.errors import UnreachableError, UntrustedError
from turnd.client.tls import Trust
from turnd.client.uri import Server, Transport

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority

NOBODY = Server("127.0.0.1", 9, Transport.TLS)


def trusting(authority: Authority, name: str | None = None) -> ConnectOptions:
    return ConnectOptions(trust=Trust(str(authority.file)), server_name=name)


async def test_authorities_that_cannot_be_read_are_named() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        await connect(NOBODY, ConnectOptions(trust=Trust("none.pem")))
    assert caught.value.filename == "none.pem"


async def test_it_sends_from_the_address_it_is_told() -> None:
    async with scripted(echo) as server:
        connection = await connect(server.server, ConnectOptions(local_host="127.0.0.9"))
        await connection.send(REQUEST)
        await connection.receive()

        assert server.seen[0].client.host == "127.0.0.9"
        assert connection.local.host == "127.0.0.9"
        await connection.close()


async def test_an_address_of_another_machine_cannot_be_sent_from() -> None:
    options = ConnectOptions(local_host="198.51.100.1")

    with pytest.raises(UnreachableError, match="assign requested address"):
        await connect(Server("127.0.0.1", 3478, Transport.UDP), options)


async def test_it_connects_from_the_address_it_is_told() -> None:
    async with scripted(echo, Transport.TCP) as server:
        connection = await connect(server.server, ConnectOptions(local_host="127.0.0.9"))

        assert connection.local.host == "127.0.0.9"
        await connection.close()


async def test_a_refused_connection_is_told() -> None:
    with (
        closed_port(socket.SOCK_STREAM) as port,
        pytest.raises(UnreachableError, match="refused"),
    ):
        await connect(Server("127.0.0.1", port, Transport.TCP))


async def test_a_name_that_does_not_exist_is_told() -> None:
    with pytest.raises(UnreachableError, match=r"turn:no\.such\.host\.invalid"):
        await connect(Server("no.such.host.invalid", 3478, Transport.TCP))


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_host_that_nobody_can_have_is_told(transport: Transport) -> None:
    with pytest.raises(UnreachableError, match="no host can be named"):
        await connect(Server("turn..example", 3478, transport))


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.DTLS])
@pytest.mark.parametrize("name", ["turn..example", "turn\0.example", "x" * 64])
async def test_a_name_that_nobody_can_have_is_told(transport: Transport, name: str) -> None:
    """It may be another server's word: ALTERNATE-DOMAIN."""
    with pytest.raises(UnreachableError, match="no host can be named"):
        await connect(Server("127.0.0.1", 9, transport), ConnectOptions(server_name=name))


async def test_a_handshake_that_hangs_has_a_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server("127.0.0.1", listening.getsockname()[1], Transport.TLS)

        with pytest.raises(UnreachableError, match=r"no connection to .* in 0\.05 s"):
            await connect(server, ConnectOptions(limit=0.05))


class TestTls:
    async def test_a_certificate_of_the_authority_is_trusted(
        self, authority: Authority, server_tls: ssl.SSLContext
    ) -> None:
        async with scripted(echo, Transport.TLS, server_tls) as server:
            connection = await connect(server.server, trusting(authority))
            await connection.send(REQUEST)

            assert await connection.receive() == REQUEST
            assert connection.tls is not None
            assert connection.tls.version in {"TLSv1.2", "TLSv1.3"}
            assert connection.tls.cipher.startswith(("TLS_", "ECDHE-"))
            assert connection.tls.alpn == "stun.turn"
            assert ssl.DER_cert_to_PEM_cert(connection.tls.certificate).startswith("-----BEGIN")
            await connection.close()

    async def test_an_unknown_authority_is_refused(self, server_tls: ssl.SSLContext) -> None:
        async with scripted(echo, Transport.TLS, server_tls) as server:
            with pytest.raises(UntrustedError, match="the certificate of turns:"):
                await connect(server.server)

    async def test_another_name_is_refused(
        self, authority: Authority, server_tls: ssl.SSLContext
    ) -> None:
        async with scripted(echo, Transport.TLS, server_tls) as server:
            with pytest.raises(UntrustedError, match=r"turn\.example\.org"):
                await connect(server.server, trusting(authority, "turn.example.org"))
            connection = await connect(server.server, trusting(authority, "localhost"))
            await connection.close()

    async def test_a_server_without_tls_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = Server("127.0.0.1", listening.getsockname()[1], Transport.TLS)
            connecting = asyncio.create_task(connect(server))
            accepted, _ = await asyncio.to_thread(listening.accept)
            accepted.sendall(b"SSH-2.0-server\r\n")

            with pytest.raises(UnreachableError, match="wrong version number"):
                await connecting
            accepted.close()

    async def test_a_look_without_trust(self, server_tls: ssl.SSLContext) -> None:
        async with scripted(echo, Transport.TLS, server_tls) as server:
            options = ConnectOptions(trust=Trust(verify=False))
            connection = await connect(server.server, options)

            assert connection.tls is not None
            assert connection.tls.certificate
            await connection.close()
