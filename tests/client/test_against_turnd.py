"""The client and the server of this project, over real sockets: each other's first real partner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.server import PASSWORD, SECRET, SECRET_SHA256, USER, Server
from turnd.auth.rest import rest_password
from turnd.client.check import check
from turnd.client.check_settings import CheckSettings
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.credentials import LongTermCredentials
from turnd.client.errors import StunError
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.client.uri import Server as ServerUri
from turnd.client.uri import Transport
from turnd.stun.addresses import AddressFamily
from turnd.stun.keys import PasswordAlgorithm

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority


def by(server: Server, transport: Transport, host: str = "127.0.0.1") -> ServerUri:
    port = server.tls_port if transport.is_secured else server.port
    return ServerUri(host, port, transport)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_whole_check(
    server: Server, authority: Authority, transport: Transport, host: str
) -> None:
    settings = CheckSettings(USER, PASSWORD, authorities=str(authority.file))

    report = (await check([by(server, transport, host)], settings))[0]

    assert report.ok, report.as_json()
    echo = report.steps[-1]
    assert (echo.name, echo.values["received"]) == ("echo", 20)


@pytest.mark.parametrize("secret", [SECRET, SECRET_SHA256])
async def test_rest_credentials(server: Server, secret: str) -> None:
    username = "4102444800:@bob:example.org"
    password = rest_password(secret, username)

    async with TurnClient(by(server, Transport.UDP), username, password) as client:
        assert (await client.allocate()).lifetime == 600


async def test_a_client_from_before_rfc_8489(server: Server) -> None:
    options = ClientOptions(rfc5389=True)
    udp = by(server, Transport.UDP)
    async with TurnClient(udp, USER, PASSWORD, options) as client:
        allocated = await client.allocate()
        await client.create_permission("127.0.0.1")
        await client.refresh(900)

        assert allocated.mapped == client.connection.local
        assert client.credentials is not None
        assert client.credentials.algorithm is PasswordAlgorithm.MD5


async def test_sha256_is_what_the_server_prefers(server: Server) -> None:
    async with TurnClient(by(server, Transport.TCP), USER, PASSWORD) as client:
        await client.allocate()

        assert client.credentials is not None
        assert client.credentials.algorithm is PasswordAlgorithm.SHA256


async def test_both_families_at_once(server: Server) -> None:
    async with TurnClient(by(server, Transport.UDP), USER, PASSWORD) as client:
        allocated = await client.allocate(additional_family=AddressFamily.IPV6)

        assert {each.family for each in allocated.relayed} == set(AddressFamily)
        assert await client.refresh(0, AddressFamily.IPV6) == 0
        assert await client.refresh(700) == 700


async def test_a_reserved_port_is_the_next_one(server: Server) -> None:
    udp = by(server, Transport.UDP)
    async with (
        TurnClient(udp, USER, PASSWORD) as one,
        TurnClient(udp, USER, PASSWORD) as two,
    ):
        first = await one.allocate(even_port=True)
        second = await two.allocate(reservation_token=first.reservation_token or b"")

        assert first.relayed[0].port % 2 == 0
        assert second.relayed[0].port == first.relayed[0].port + 1


async def test_refusals_have_their_codes(server: Server) -> None:
    async with TurnClient(by(server, Transport.UDP), USER, PASSWORD) as client:
        with pytest.raises(StunError, match="442"):
            await client.allocate(transport=6)
        with pytest.raises(StunError, match="437"):
            await client.refresh()
        await client.allocate()
        with pytest.raises(StunError, match="403"):
            await client.create_permission("10.0.0.1")
        with pytest.raises(StunError, match="443"):
            await client.create_permission("2001:4860::1")


async def test_another_user_has_no_say(server: Server) -> None:
    username = "4102444800:eve"
    async with TurnClient(by(server, Transport.TCP), USER, PASSWORD) as client:
        await client.allocate()
        password = rest_password(SECRET, username)
        client._route.session._credentials = LongTermCredentials(username, password)

        with pytest.raises(StunError, match="441"):
            await client.refresh()


async def test_tls_by_name(server: Server, authority: Authority) -> None:
    connect = ConnectOptions(trust=Trust(str(authority.file)), server_name="localhost")
    tls = by(server, Transport.TLS)
    async with TurnClient(tls, options=ClientOptions(connect=connect)) as client:
        assert await client.binding() == client.connection.local
        assert client.connection.tls is not None
        assert client.connection.tls.version == "TLSv1.3"
        assert client.connection.tls.alpn == "stun.turn"
