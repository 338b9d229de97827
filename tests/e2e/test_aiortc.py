"""aioice and aiortc as clients: relay only, by UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aioice
import pytest
from aioice.ice import TransportPolicy
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)
from aiortc.mediastreams import VideoStreamTrack

from tests.e2e.server import LIMIT, PASSWORD, USER, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.certificates import Authority

TRANSPORTS = ("udp", "tcp", "tls")
FRAMES = 5


@pytest.fixture(autouse=True)
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' TLS checks certificates against the system's authorities: put ours there."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


def url_of(server: Server, transport: str) -> str:
    if transport == "tls":
        return f"turns:localhost:{server.tls_port}?transport=tcp"
    return f"turn:127.0.0.1:{server.port}?transport={transport}"


@asynccontextmanager
async def ice_agent(
    server: Server, transport: str, *, controlling: bool
) -> AsyncIterator[aioice.Connection]:
    agent = aioice.Connection(
        ice_controlling=controlling,
        turn_server=(
            ("localhost", server.tls_port) if transport == "tls" else ("127.0.0.1", server.port)
        ),
        turn_username=USER,
        turn_password=PASSWORD,
        turn_ssl=transport == "tls",
        turn_transport="udp" if transport == "udp" else "tcp",
        transport_policy=TransportPolicy.RELAY,
    )
    try:
        yield agent
    finally:
        await agent.close()


def introduce(one: aioice.Connection, other: aioice.Connection) -> None:
    one.remote_username, one.remote_password = other.local_username, other.local_password


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_aioice_connects_through_two_relayed_addresses(
    server: Server, transport: str
) -> None:
    async with (
        ice_agent(server, transport, controlling=True) as one,
        ice_agent(server, transport, controlling=False) as other,
    ):
        await asyncio.gather(one.gather_candidates(), other.gather_candidates())
        for mine, theirs in ((one, other), (other, one)):
            introduce(mine, theirs)
            assert {c.type for c in theirs.local_candidates} == {"relay"}
            for candidate in theirs.local_candidates:
                await mine.add_remote_candidate(candidate)
            await mine.add_remote_candidate(None)
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(one.connect(), other.connect())
            for size in (1, 2, 3, 1200):
                await one.send(bytes(size))
                assert await other.recv() == bytes(size)
                await other.send(b"\xff" * size)
                assert await one.recv() == b"\xff" * size


def peer_connection(server: Server, transport: str) -> RTCPeerConnection:
    ice_server = RTCIceServer(url_of(server, transport), USER, PASSWORD)
    policy = RTCIceTransportPolicy.RELAY
    return RTCPeerConnection(RTCConfiguration([ice_server], iceTransportPolicy=policy))


async def connect(caller: RTCPeerConnection, callee: RTCPeerConnection) -> None:
    """Offer and answer; both descriptions must name relay candidates alone."""
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)
    for side in (caller, callee):
        candidates = [
            line
            for line in side.localDescription.sdp.splitlines()
            if line.startswith("a=candidate")
        ]
        assert candidates
        assert all(" typ relay" in line for line in candidates)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_aiortc_data_channel_and_video(server: Server, transport: str) -> None:
    caller, callee = (peer_connection(server, transport) for _ in range(2))
    answers: asyncio.Queue[str | bytes] = asyncio.Queue()
    tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
    channel = caller.createDataChannel("chat")
    channel.on("open", lambda: channel.send("hello"))
    channel.on("message", answers.put_nowait)

    def echo(other_end: RTCDataChannel) -> None:
        other_end.on("message", lambda text: other_end.send(f"echo of {text}"))

    callee.on("datachannel", echo)
    callee.on("track", tracks.put_nowait)
    caller.addTrack(VideoStreamTrack())
    try:
        async with asyncio.timeout(LIMIT):
            await connect(caller, callee)
            assert await answers.get() == "echo of hello"
            track = await tracks.get()
            for _ in range(FRAMES):
                await track.recv()
    finally:
        await asyncio.gather(caller.close(), callee.close())


async def test_aiortc_with_a_wrong_password_gathers_nothing(server: Server) -> None:
    wrong = RTCIceServer(url_of(server, "udp"), USER, "wrong")
    policy = RTCIceTransportPolicy.RELAY
    connection = RTCPeerConnection(RTCConfiguration([wrong], iceTransportPolicy=policy))
    connection.createDataChannel("chat")
    try:
        await connection.setLocalDescription(await connection.createOffer())
        assert "a=candidate" not in connection.localDescription.sdp
    finally:
        await connection.close()
