"""Realms by listener, by SNI and by ORIGIN: one name, several passwords, quotas and peers."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.bare import ALLOCATE, ask
from tests.e2e.server import PASSWORD, REALM, USER, free_port, serve
from tests.e2e.test_dtls import s_client
from tests.e2e.test_turnutils import side_by_side, uclient
from tests.waiting import eventually
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.errors import ClientError, StunError
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.client.uri import Server as Target
from turnd.client.uri import Transport
from turnd.stun import attributes as a
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.certificates import Authority
    from tests.e2e.server import Server

OTHER = "other.example"
THEIR_PASSWORD = "looking-glass"
ORIGIN = "https://other.example"


def other(**more: Any) -> dict[str, Any]:
    """A further realm that knows the same user by another password."""
    return {OTHER: {"auth": {"users": {USER: THEIR_PASSWORD}}, **more}}


def by_tls(server: Server, name: str, password: str) -> TurnClient:
    """Asks for a name; whose the certificate is, is none of these tests' business."""
    connect = ConnectOptions(trust=Trust(verify=False), server_name=name)
    options = ClientOptions(connect=connect)
    return TurnClient(Target("127.0.0.1", server.tls_port, Transport.TLS), USER, password, options)


def challenged(port: int, *origin: tuple[a.Attribute[str], str]) -> str | None:
    """The realm that a first Allocate by UDP is told."""
    parts = [*ALLOCATE, *origin]
    message = encode_message(Method.ALLOCATE, MessageClass.REQUEST, os.urandom(12), parts)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        return ask(client, message, ("127.0.0.1", port)).get(a.REALM)


async def test_a_name_chooses_users_quotas_and_peers(folder: Path, authority: Authority) -> None:
    realm = other(
        sni=[OTHER, "*.other.example"],
        limits={"allocations_per_user": 1},
        peers={"deny": ["special-purpose"]},
    )
    with serve(folder, tls=authority.issue("localhost").section(), realms=realm) as server:
        for name, password in [(OTHER, THEIR_PASSWORD), ("a.other.example", THEIR_PASSWORD)]:
            async with by_tls(server, name, password) as client:
                await client.allocate()
                with pytest.raises(StunError, match="403"):
                    await client.create_permission("127.0.0.1")
                async with by_tls(server, name, password) as second:
                    with pytest.raises(StunError, match="486"):
                        await second.allocate()
            await eventually(lambda: server.metric("turnd_relays") == 0)
        for name in ("localhost", "unknown.example"):
            async with by_tls(server, name, PASSWORD) as one, by_tls(server, name, PASSWORD) as two:
                await one.allocate()
                await two.allocate()
                await one.create_permission("127.0.0.1")
        for name, password in [(OTHER, PASSWORD), ("localhost", THEIR_PASSWORD)]:
            async with by_tls(server, name, password) as wrong:
                with pytest.raises(ClientError):
                    await wrong.allocate()


async def test_an_origin_chooses_users(folder: Path) -> None:
    with serve(folder, realms=other(origins=[ORIGIN])) as server:
        assert challenged(server.port) == REALM
        assert challenged(server.port, (a.ORIGIN, "https://else.example")) == REALM
        assert challenged(server.port, (a.ORIGIN, f"{ORIGIN}:443")) == OTHER
        theirs = ("-o", ORIGIN, "-u", USER, "-w", THEIR_PASSWORD)
        ours = ("-u", USER, "-w", PASSWORD)
        await side_by_side(
            *(
                uclient(server, leg, "127.0.0.1", "-y", "-s", *user)
                for leg in ("udp", "tcp")
                for user in (ours, theirs)
            )
        )


async def test_a_listener_goes_before_an_origin(folder: Path) -> None:
    port = free_port()
    realms = {
        **other(listen=[f"udp://127.0.0.1:{port}"]),
        "third.example": {"origins": [ORIGIN], "auth": {"secrets": ["x"]}},
    }
    with serve(folder, realms=realms) as server:
        assert challenged(server.port) == REALM
        assert challenged(server.port, (a.ORIGIN, ORIGIN)) == "third.example"
        assert challenged(port) == challenged(port, (a.ORIGIN, ORIGIN)) == OTHER


async def test_names_and_origins_are_live(folder: Path, authority: Authority) -> None:
    with serve(
        folder, tls=authority.issue("localhost").section(), realms=other(origins=["app://x"])
    ) as server:
        assert challenged(server.port, (a.ORIGIN, ORIGIN)) == REALM
        server.rewrite(realms=other(origins=[ORIGIN], sni=[OTHER]))
        server.reload()
        await eventually(lambda: bool(server.logged("reloaded")))
        assert server.logged("reloaded")[0]["restart"] == []
        assert challenged(server.port, (a.ORIGIN, ORIGIN)) == OTHER
        async with by_tls(server, OTHER, THEIR_PASSWORD) as client:
            await client.allocate()


@pytest.mark.parametrize("protocol", ["tls", "dtls"])
async def test_openssl_asks_for_a_realm(folder: Path, authority: Authority, protocol: str) -> None:
    listen = [f"{protocol}://127.0.0.1:{{tls_port}}"]
    version = ("-tls1_2",) if protocol == "tls" else ("-dtls1_2",)
    request = encode_message(Method.ALLOCATE, MessageClass.REQUEST, os.urandom(12), ALLOCATE)
    tls = authority.issue("localhost").section()
    with serve(folder, tls=tls, listen=listen, realms=other(sni=[OTHER])) as server:
        server.tls_port = int(server.config["listen"][-1].rpartition(":")[2])
        for name, realm in ((OTHER, OTHER), (f"{OTHER.upper()}.", OTHER), ("localhost", REALM)):
            _, answer = await s_client(server, *version, data=request, name=name)
            assert decode_untrusted(answer).get(a.REALM) == realm
