"""Proxies in front. haproxy, as docs/port-443.md has it: TCP and TLS, both versions, its checks."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.e2e.calls import allocated, client_of
from tests.e2e.documented import snippet
from tests.e2e.front import haproxy
from tests.e2e.server import Server, free_port, serve, wait_until
from tests.e2e.test_turnutils import BY_USER, side_by_side, uclient
from tests.e2e.udp_proxy import udp_proxy
from tests.waiting import LIMIT, eventually
from turnd.client.uri import Transport
from turnd.stun import attributes
from turnd.stun.addresses import TransportAddress
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.certificates import Authority

PROXY = "127.0.0.9"
"""Where haproxy connects from, and who is trusted; clients are at 127.0.0.1."""


@dataclass(frozen=True)
class Front:
    """A server, and the same seen through haproxy."""

    server: Server
    outside: Server
    folder: Path


@pytest.fixture(scope="module")
def front(authority: Authority, folders: Path, engine: str) -> Iterator[Front]:
    port, tls_port = free_port(), free_port()
    pair, folder = authority.issue("localhost"), folders / f"front-{engine}"
    trusting = {"trusted": [PROXY]}
    listen = [f"{each}://127.0.0.1:{{port}}" for each in ("udp", "dtls", "tcp")]
    listen.append("tls://127.0.0.1:{tls_port}")
    with serve(folder, tls=pair.section(), listen=listen, proxy_protocol=trusting) as server:
        changes = {
            "bind :3478": f"bind 127.0.0.1:{port}",
            "bind :5349": f"bind 127.0.0.1:{tls_port}",
            "192.0.2.7:3478 send-proxy-v2": (
                f"127.0.0.1:{server.port} source {PROXY} "
                "send-proxy-v2 proxy-v2-options crc32c,unique-id"
            ),
            "192.0.2.7:5349": f"127.0.0.1:{server.tls_port} source {PROXY}",
            "inter 5s": "inter 100ms",
        }
        with haproxy(folder, snippet("port-443.md", "haproxy", changes), port, tls_port):
            yield Front(server, replace(server, port=port, tls_port=tls_port), folder)


def clients_of(server: Server) -> list[str]:
    """Of all allocations so far, as the log has them."""
    return [str(line["client"]) for line in server.logged("allocation_created")]


async def test_turnutils_through_haproxy(front: Front) -> None:
    await side_by_side(
        *(uclient(front.outside, leg, "127.0.0.1", "-y", "-s", *BY_USER) for leg in ("tcp", "tls"))
    )


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
async def test_the_client_is_the_clients_own_address(
    front: Front, authority: Authority, transport: Transport
) -> None:
    async with allocated(front.outside, transport, authority=authority) as call:
        mine = call.client.connection.local
        assert await call.client.binding() == mine
        await eventually(lambda: str(mine) in clients_of(front.server))
    assert not any(PROXY in client for client in clients_of(front.server))


async def test_turnutils_through_a_udp_proxy(front: Front) -> None:
    """No package of Debian does this: a few lines of our own do."""
    async with udp_proxy(TransportAddress("127.0.0.1", front.server.port), PROXY) as port:
        outside = replace(front.server, port=port, tls_port=port)
        await side_by_side(
            uclient(outside, "udp", "127.0.0.1", "-y", "-s", "-m", "3", *BY_USER),
            uclient(outside, "udp", "127.0.0.1", "-y", "-c", *BY_USER),
            uclient(outside, "dtls", "127.0.0.1", "-y", "-s", *BY_USER),
        )


async def test_a_udp_proxys_client_is_the_clients_own_address(front: Front) -> None:
    async with udp_proxy(TransportAddress("127.0.0.1", front.server.port), PROXY) as port:
        outside = replace(front.server, port=port)
        async with allocated(outside) as one, allocated(front.server) as other:
            for call in (one, other):
                assert await call.client.binding() == call.client.connection.local
            await one.client.channel_bind(other.relayed)
            await one.sends_to(other)
            await other.sends_to(one)
            both = {str(call.client.connection.local) for call in (one, other)}
            await eventually(lambda: both <= set(clients_of(front.server)))


async def test_health_checks_find_it_up(front: Front) -> None:
    def up() -> bool:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(front.folder / "haproxy.sock"))
            control.sendall(b"show servers state\n")
            answer = b"".join(iter(lambda: control.recv(65_536), b"")).decode()
        _, header, *lines = answer.strip().splitlines()
        servers = [dict(zip(header.split()[1:], line.split(), strict=True)) for line in lines]
        # 2 is up, 3 is passed (haproxy's management guide, section 9.3)
        states = {(each["srv_op_state"], each["srv_check_result"]) for each in servers}
        return len(servers) == 2 and states == {("2", "3")}

    wait_until(up, "both checks have passed")
    refused = 'turnd_streams_refused_total{reason="proxy_header"}'
    assert front.server.metric(refused) == 0


async def test_strangers_headers_are_bytes_like_any_other(front: Front) -> None:
    """They are not believed, and who does not send them is served."""
    async with allocated(front.server, Transport.TCP) as call:
        assert await call.client.binding() == call.client.connection.local
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.server.port)
        writer.write(b"PROXY TCP4 198.51.100.1 192.0.2.7 51334 443\r\n")
        assert await reader.read() == b""
        writer.close()
    assert "198.51.100.1" not in front.server.log


async def test_who_is_trusted_has_to_send_one(front: Front) -> None:
    refused = 'turnd_streams_refused_total{reason="proxy_header"}'
    before = front.server.metric(refused)
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", front.server.port, local_addr=(PROXY, 0)
        )
        writer.write(bytes.fromhex("0001 0000 2112a442") + bytes(12))
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
    assert front.server.metric(refused) == before + 1


CLIENTS = {"TCP4 198.51.100.1 192.0.2.7": "198.51.100.1", "TCP6 2001:db8::1 ::1": "2001:db8::1"}


async def mapped(server: Server, addresses: str) -> str | None:
    """Who we are to the server when our PROXY header has these addresses; None: it hangs up."""
    request = encode_message(Method.BINDING, MessageClass.REQUEST, bytes(12), [])
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"PROXY {addresses} 51334 443\r\n".encode() + request)
        answer = await reader.read(1_000)
        writer.close()
    if not answer:
        return None
    found = decode_untrusted(answer).get(attributes.XOR_MAPPED_ADDRESS)
    assert found is not None
    assert found.port == 51334
    return found.host


@pytest.mark.parametrize(("addresses", "client"), CLIENTS.items())
async def test_trust_is_given_and_taken_by_a_reload(
    folder: Path, addresses: str, client: str
) -> None:
    with serve(folder) as server:
        assert await mapped(server, addresses) is None
        server.rewrite(proxy_protocol={"trusted": ["127.0.0.0/8"]})
        server.reload()
        wait_until(lambda: len(server.logged("reloaded")) == 1, "it is reloaded")
        assert await mapped(server, addresses) == client
        server.rewrite(proxy_protocol={"trusted": ["127.0.0.2"]})
        server.reload()
        wait_until(lambda: len(server.logged("reloaded")) == 2, "it is reloaded")
        assert await mapped(server, addresses) is None
        async with client_of(server, Transport.TCP) as direct:
            await direct.binding()
