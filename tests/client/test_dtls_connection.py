from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import REQUEST, Exchange, echo, scripted
from tests.client.scripted_dtls import scripted_dtls
from tests.engine.dtls_client import HELLO_VERIFY_REQUEST
from tests.ports import closed_port
from turnd.client.connection import ConnectOptions, connect
from turnd.client.errors import NotInstalledError, UnreachableError, UntrustedError
from turnd.client.tls import Trust
from turnd.client.uri import Server, Transport
from turnd.stun.addresses import ChannelNumber
from turnd.stun.channel_data import encode_channel_data

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority, CertificatePair
    from turnd.client.connection import Connection

HANDSHAKE = 22
APPLICATION_DATA = 23


@pytest.fixture(scope="module")
def pair(authority: Authority) -> CertificatePair:
    return authority.issue("client-dtls", 30, "turn.example.org", "*.wild.example")


def trusting(authority: Authority, name: str | None = None) -> ConnectOptions:
    return ConnectOptions(trust=Trust(str(authority.file)), server_name=name)


def by_dtls(server: Server) -> Server:
    return server._replace(transport=Transport.DTLS)


async def echoes(connection: Connection, data: bytes = REQUEST) -> None:
    await connection.send(data)
    assert await connection.receive() == data


async def test_frames_go_both_ways(authority: Authority, pair: CertificatePair) -> None:
    async with scripted_dtls(echo, pair) as server:
        connection = await connect(server.server, trusting(authority))
        await echoes(connection)
        channel_data = connection.channel_data(0x4001, b"abc")
        await echoes(connection, channel_data)

        assert channel_data == encode_channel_data(ChannelNumber(0x4001), b"abc", padded=False)
        assert not connection.reliable
        assert connection.refusals == 0
        assert connection.remote == ("127.0.0.1", server.server.port)
        assert connection.local == server.seen[0].client
        await connection.close()
        await connection.close()


async def test_what_was_agreed_on(authority: Authority, pair: CertificatePair) -> None:
    async with scripted_dtls(echo, pair) as server:
        connection = await connect(server.server, trusting(authority))

        assert connection.tls is not None
        assert connection.tls.version == "DTLSv1.2"
        assert connection.tls.cipher.startswith("ECDHE-ECDSA-")
        assert connection.tls.alpn == "stun.turn"
        assert connection.tls.certificate.startswith(b"\x30\x82")
        await connection.close()


async def test_messages_of_one_datagram_are_taken_one_by_one(
    authority: Authority, pair: CertificatePair
) -> None:
    held: list[bytes] = []

    def joins(datagram: bytes) -> bool:
        """The network makes one datagram of both answers."""
        if datagram[0] != APPLICATION_DATA or not server.seen:
            return False
        held.append(datagram)
        if len(held) == 2:
            server.send_to(server.seen[0].client, b"".join(held))
        return True

    def twice(exchange: Exchange) -> None:
        exchange.send(b"\0one")
        exchange.send(b"\0two")

    async with scripted_dtls(twice, pair, joins) as server:
        connection = await connect(server.server, trusting(authority))
        await connection.send(REQUEST)
        assert [await connection.receive() for _ in range(2)] == [b"\0one", b"\0two"]
        await connection.close()


class Once:
    """A network that loses the first datagram of a kind."""

    def __init__(self, kind: int, message: int | None = None) -> None:
        self._kind = kind, message
        self.lost: list[bytes] = []

    def __call__(self, datagram: bytes) -> bool:
        kind, message = self._kind
        if self.lost or datagram[0] != kind or message not in {None, datagram[13]}:
            return False
        self.lost.append(datagram)
        return True


@pytest.mark.parametrize(
    "message",
    [1, HELLO_VERIFY_REQUEST, 2, 16],
    ids=["hello", "question for the cookie", "the server's hello", "key exchange"],
)
async def test_a_flight_that_gets_lost_is_sent_again(
    authority: Authority, pair: CertificatePair, message: int
) -> None:
    loses = Once(HANDSHAKE, message)
    async with scripted_dtls(echo, pair, loses) as server:
        connection = await connect(server.server, trusting(authority))
        await echoes(connection)

        assert loses.lost
        await connection.close()


async def test_a_message_that_gets_lost_is_lost(
    authority: Authority, pair: CertificatePair
) -> None:
    async with scripted_dtls(echo, pair, Once(APPLICATION_DATA)) as server:
        connection = await connect(server.server, trusting(authority))
        await connection.send(b"\0lost")
        await echoes(connection)
        await connection.close()


async def test_what_is_no_record_is_passed_over(
    authority: Authority, pair: CertificatePair
) -> None:
    """From the same port, by plain UDP (RFC 7983), and from whoever forges it."""
    async with scripted_dtls(echo, pair) as server:
        connection = await connect(server.server, trusting(authority))
        for strange in (REQUEST, b"", b"\x16", b"\x17\xfe\xfd" + bytes(40)):
            server.send_to(connection.local, strange)
        await echoes(connection)
        await connection.close()


class TestTrust:
    async def test_an_unknown_authority_is_refused(self, pair: CertificatePair) -> None:
        async with scripted_dtls(echo, pair) as server:
            with pytest.raises(UntrustedError, match=r"certificate of turns:.*transport=udp"):
                await connect(server.server)

    async def test_an_expired_certificate_is_refused(self, authority: Authority) -> None:
        async with scripted_dtls(echo, authority.issue("dtls-expired", -3)) as server:
            with pytest.raises(UntrustedError, match="certificate has expired"):
                await connect(server.server, trusting(authority))

    @pytest.mark.parametrize("name", ["localhost", "TURN.example.org.", "a.wild.example"])
    async def test_a_name_of_the_certificate_is_taken(
        self, authority: Authority, pair: CertificatePair, name: str
    ) -> None:
        async with scripted_dtls(echo, pair) as server:
            connection = await connect(server.server, trusting(authority, name))
            await connection.close()

    @pytest.mark.parametrize("name", ["example.org", "a.b.wild.example", "127.0.0.2"])
    async def test_another_name_is_refused(
        self, authority: Authority, pair: CertificatePair, name: str
    ) -> None:
        async with scripted_dtls(echo, pair) as server:
            with pytest.raises(UntrustedError, match=f"not for '{name}'"):
                await connect(server.server, trusting(authority, name))

    async def test_a_look_without_trust(self, pair: CertificatePair) -> None:
        async with scripted_dtls(echo, pair) as server:
            options = ConnectOptions(trust=Trust(verify=False), server_name="another.example")
            connection = await connect(server.server, options)

            assert connection.tls is not None
            assert connection.tls.certificate
            await connection.close()

    @pytest.mark.parametrize(
        ("authorities", "why"), [("none.pem", "No such file"), (__file__, "no certificate")]
    )
    async def test_authorities_that_cannot_be_read_are_named(
        self, authorities: str, why: str
    ) -> None:
        options = ConnectOptions(trust=Trust(authorities))
        with pytest.raises(OSError, match=why) as caught:
            await connect(Server("127.0.0.1", 1, Transport.DTLS), options)
        assert caught.value.filename == authorities


class TestNobody:
    async def test_silence_has_a_limit(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            server = Server("127.0.0.1", silent.getsockname()[1], Transport.DTLS)
            with pytest.raises(UnreachableError, match=r"no connection to turns:.* in 0\.05 s"):
                await connect(server, ConnectOptions(limit=0.05))

    async def test_a_server_without_dtls_is_silence(self) -> None:
        async with scripted(lambda _: None) as plain:
            with pytest.raises(UnreachableError, match="no connection"):
                await connect(by_dtls(plain.server), ConnectOptions(limit=0.05))

    async def test_a_closed_port_refuses(self) -> None:
        with (
            closed_port(socket.SOCK_DGRAM) as port,
            pytest.raises(UnreachableError, match="connection refused"),
        ):
            await connect(Server("127.0.0.1", port, Transport.DTLS))

    async def test_a_server_that_refuses_is_told(self) -> None:
        handshake_failure = b"\x15\xfe\xfd" + bytes(8) + b"\0\x02\x02\x28"  # RFC 5246 7.2
        async with scripted(lambda exchange: exchange.send(handshake_failure)) as refusing:
            with pytest.raises(UnreachableError, match="handshake failure"):
                await connect(by_dtls(refusing.server))


class TestTheEnd:
    async def test_the_server_closes(self, authority: Authority, pair: CertificatePair) -> None:
        async with scripted_dtls(echo, pair) as server:
            connection = await connect(server.server, trusting(authority))
            await echoes(connection)
            server.close_streams()
            with pytest.raises(UnreachableError, match="the server closed the session"):
                await connection.receive()
            await connection.close()

    async def test_we_close(self, authority: Authority, pair: CertificatePair) -> None:
        async with scripted_dtls(echo, pair) as server:
            connection = await connect(server.server, trusting(authority))
            waiting = asyncio.create_task(connection.receive())
            await asyncio.sleep(0)
            await connection.close()
            for attempt in (waiting, connection.send(b"\0")):
                with pytest.raises(UnreachableError):
                    await attempt

    async def test_what_fits_no_record_cannot_be_sent(
        self, authority: Authority, pair: CertificatePair
    ) -> None:
        async with scripted_dtls(echo, pair) as server:
            connection = await connect(server.server, trusting(authority))
            with pytest.raises(UnreachableError, match="too big"):
                await connection.send(bytes(20_000))
            await echoes(connection)
            await connection.close()


async def test_without_pyopenssl_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    monkeypatch.delitem(sys.modules, "turnd.client.dtls_connection", raising=False)
    monkeypatch.delattr("turnd.client.dtls_connection", raising=False)
    with pytest.raises(NotInstalledError, match="pyOpenSSL"):
        await connect(Server("127.0.0.1", 1, Transport.DTLS))
