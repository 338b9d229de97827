from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from tests.client.scripted import Exchange, scripted
from tests.e2e.certificates import Authority
from tests.waiting import eventually
from turnd.client.connection import ConnectOptions, UdpConnection, client_tls, connect
from turnd.client.errors import UnreachableError
from turnd.client.uri import Server, Transport
from turnd.stun.addresses import ChannelNumber
from turnd.stun.channel_data import encode_channel_data
from turnd.stun.message import MessageClass, Method, encode_message

REQUEST = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), ())


def echo(exchange: Exchange) -> None:
    exchange.send(exchange.frame)


def trusting(authority: Authority, name: str | None = None) -> ConnectOptions:
    return ConnectOptions(tls=client_tls(str(authority.file)), server_name=name)


def test_authorities_that_cannot_be_read_are_named() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        client_tls("none.pem")
    assert caught.value.filename == "none.pem"


def closed_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestUdp:
    async def test_datagrams_go_both_ways(self) -> None:
        async with scripted(echo) as server:
            connection = await connect(server.server)
            await connection.send(REQUEST)

            assert await connection.receive() == REQUEST
            assert not connection.reliable
            assert connection.tls is None
            assert connection.remote == ("127.0.0.1", server.server.port)
            assert connection.local == server.seen[0].client
            await connection.close()

    async def test_it_sends_from_the_address_it_is_told(self) -> None:
        async with scripted(echo) as server:
            connection = await connect(server.server, ConnectOptions(local_host="127.0.0.9"))
            await connection.send(REQUEST)
            await connection.receive()

            assert server.seen[0].client.host == "127.0.0.9"
            assert connection.local.host == "127.0.0.9"
            await connection.close()

    async def test_an_address_of_another_machine_cannot_be_sent_from(self) -> None:
        options = ConnectOptions(local_host="198.51.100.1")

        with pytest.raises(UnreachableError, match="assign requested address"):
            await connect(Server("127.0.0.1", 3478, Transport.UDP), options)

    async def test_a_refused_packet_is_counted_and_the_next_one_leaves(self) -> None:
        connection = await connect(
            Server("127.0.0.1", closed_port(socket.SOCK_DGRAM), Transport.UDP)
        )
        assert isinstance(connection, UdpConnection)
        for number in (1, 2):
            await connection.send(REQUEST)
            await eventually(lambda: connection.refusals >= number)  # noqa: B023 - awaited at once

        assert connection.lost == 2
        await connection.close()

    async def test_an_error_does_not_end_receiving(self) -> None:
        port = closed_port(socket.SOCK_DGRAM)
        connection = await connect(Server("127.0.0.1", port, Transport.UDP))
        await connection.send(REQUEST)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind(("127.0.0.1", port))
            late.sendto(b"late", connection.local)

            assert await connection.receive() == b"late"
        await connection.close()

    async def test_a_closed_socket_neither_sends_nor_receives(self) -> None:
        async with scripted(echo) as server:
            connection = await connect(server.server)
            waiting = asyncio.create_task(connection.receive())
            await asyncio.sleep(0)
            await connection.close()

            for attempt in (waiting, connection.send(b""), connection.receive()):
                with pytest.raises(UnreachableError, match="closed"):
                    await attempt

    def test_channel_data_is_not_padded(self) -> None:
        data = UdpConnection.channel_data(None, 0x4001, b"abc")  # type: ignore[arg-type] # no socket needed

        assert data == encode_channel_data(ChannelNumber(0x4001), b"abc", padded=False)


class TestStreams:
    async def test_frames_survive_any_split(self) -> None:
        def split(exchange: Exchange) -> None:
            for byte in exchange.frame * 2:
                exchange.send(bytes([byte]))

        async with scripted(split, Transport.TCP) as server:
            connection = await connect(server.server)
            await connection.send(REQUEST)

            assert [await connection.receive() for _ in range(2)] == [REQUEST, REQUEST]
            assert connection.reliable
            assert connection.refusals == 0
            assert connection.tls is None
            assert connection.remote == ("127.0.0.1", server.server.port)
            await connection.close()

    async def test_channel_data_is_padded(self) -> None:
        async with scripted(lambda e: e.send(e.frame + b"\0"), Transport.TCP) as server:
            connection = await connect(server.server)
            await connection.send(connection.channel_data(0x4001, b"abc"))

            assert await connection.receive() == b"\x40\x01\0\x03abc"
            await connection.close()

    async def test_it_connects_from_the_address_it_is_told(self) -> None:
        async with scripted(echo, Transport.TCP) as server:
            connection = await connect(server.server, ConnectOptions(local_host="127.0.0.9"))

            assert connection.local.host == "127.0.0.9"
            await connection.close()

    async def test_a_server_that_closes_is_told(self) -> None:
        async with scripted(lambda _: server.close_streams(), Transport.TCP) as server:
            connection = await connect(server.server)
            await connection.send(REQUEST)

            with pytest.raises(UnreachableError, match="closed the connection"):
                await connection.receive()
            await connection.close()
            with pytest.raises(UnreachableError, match="is closed"):
                await connection.send(REQUEST)

    async def test_a_reset_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            connection = await connect(Server("127.0.0.1", port, Transport.TCP))
            accepted, _ = listening.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            accepted.close()

            with pytest.raises(UnreachableError, match="the connection broke"):
                await connection.receive()
            with pytest.raises(UnreachableError):
                await connection.send(REQUEST)
            await connection.close()

    async def test_what_is_no_stun_is_told(self) -> None:
        async with scripted(lambda e: e.send(b"SSH-2.0-server"), Transport.TCP) as server:
            connection = await connect(server.server)
            await connection.send(REQUEST)

            with pytest.raises(UnreachableError, match="does not speak STUN"):
                await connection.receive()
            await connection.close()

    async def test_a_refused_connection_is_told(self) -> None:
        server = Server("127.0.0.1", closed_port(socket.SOCK_STREAM), Transport.TCP)

        with pytest.raises(UnreachableError, match="refused"):
            await connect(server)

    async def test_a_name_that_does_not_exist_is_told(self) -> None:
        with pytest.raises(UnreachableError, match=r"turn:no\.such\.host\.invalid"):
            await connect(Server("no.such.host.invalid", 3478, Transport.TCP))

    async def test_a_handshake_that_hangs_has_a_limit(self) -> None:
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
            assert connection.tls.alpn == "stun.turn"
            assert ssl.DER_cert_to_PEM_cert(connection.tls.certificate).startswith("-----BEGIN")
            await connection.close()

    async def test_an_unknown_authority_is_refused(self, server_tls: ssl.SSLContext) -> None:
        async with scripted(echo, Transport.TLS, server_tls) as server:
            with pytest.raises(UnreachableError, match="the certificate of turns:") as caught:
                await connect(server.server)

        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)

    async def test_another_name_is_refused(
        self, authority: Authority, server_tls: ssl.SSLContext
    ) -> None:
        async with scripted(echo, Transport.TLS, server_tls) as server:
            with pytest.raises(UnreachableError, match=r"turn\.example\.org"):
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
            options = ConnectOptions(tls=client_tls(verify=False))
            connection = await connect(server.server, options)

            assert connection.tls is not None
            assert connection.tls.certificate
            await connection.close()
