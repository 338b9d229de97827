"""A `Server` in the test's own event loop: on loopback, at ports that the system picks."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, UnixConnector

from tests.waiting import LIMIT
from turnd import logs
from turnd.auth.rest import rest_password
from turnd.client.client import TurnClient
from turnd.client.session import ClientOptions
from turnd.client.transactions import Timing
from turnd.client.uri import Server as Target
from turnd.client.uri import Transport
from turnd.config import load
from turnd.runtime.server import Server
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

REALM = "test.example"
ALICE = ("alice", "alice's password")
BOB = ("bob", "bob's password")
LATE = 4_000_000_000
"""An expiry that no run of the tests will see."""


def rest(secret: str, user: str = "carol", expiry: int = LATE) -> tuple[str, str]:
    """REST username and password."""
    username = f"{expiry}:{user}"
    return username, rest_password(secret, username)


async def heard(client: TurnClient, limit: float = LIMIT) -> tuple[TransportAddress, bytes]:
    """The next datagram from a peer."""
    async with asyncio.timeout(limit):
        peer, data = await client.receive()
    return TransportAddress(*peer), data


def basics(folder: Path) -> dict[str, Any]:
    """A configuration for loopback, where clients may relay to loopback."""
    return {
        "realm": REALM,
        "listen": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        "relay": {"addresses": ["127.0.0.1"], "ports": "20000-59999"},
        "auth": {"users": dict([ALICE])},
        "peers": {"allow": ["127.0.0.0/8"]},
        "admin": {"listen": "127.0.0.1:0", "socket": str(folder / "admin.sock")},
        "state_directory": str(folder / "state"),
        "shutdown": {"timeout": 60},
        "log": {"format": "json"},
        "engine": "portable",
    }


def write_config(folder: Path, values: Mapping[str, Any]) -> Path:
    """The values as a file; a key a line, so that problems have lines."""
    path = folder / "config.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
    return path


def is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass
class Running:
    """A server that runs, and what a test asks of it."""

    server: Server
    folder: Path
    values: dict[str, Any]
    output: io.StringIO
    clients: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def text(self) -> str:
        """All that was written to the log."""
        return self.output.getvalue()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's records of one event."""
        records = [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]
        return [record for record in records if record["event"] == event]

    def port(self, transport: str = "udp", number: int = 0) -> int:
        """The port of an endpoint of that transport, in the order of the configuration."""
        bound = self.server.endpoints.bound()
        return [address.port for each, address in bound if each.transport == transport][number]

    async def client(
        self,
        user: tuple[str, str] | None = ALICE,
        transport: Transport = Transport.UDP,
        port: int | None = None,
    ) -> TurnClient:
        """A connected client, closed with the server's block."""
        target = Target("127.0.0.1", port or self.port(transport), transport)
        options = ClientOptions(timing=Timing(rto=20.0, max_requests=2, last_wait=1))
        name, password = user or (None, "")
        return await self.clients.enter_async_context(TurnClient(target, name, password, options))

    async def reload(self, **changes: Any) -> Mapping[str, Any]:
        """Change top-level keys (None: take away) and let the server read them."""
        self.values |= changes
        kept = {key: value for key, value in self.values.items() if value is not None}
        write_config(self.folder, kept)
        return await self.server.reloader.reload()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an admin page."""
        url = f"http://{self.server.admin_endpoint}{path}"
        async with ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def order(self, path: str) -> dict[str, Any]:
        """What the UNIX socket answers to a POST."""
        connector = UnixConnector(str(self.folder / "admin.sock"))
        url = f"http://localhost{path}"
        async with ClientSession(connector=connector) as session, session.post(url) as answer:
            result: dict[str, Any] = await answer.json()
            return result


@asynccontextmanager
async def running(folder: Path, **changes: Any) -> AsyncIterator[Running]:
    """A server with `basics`, top-level keys changed (None: taken away)."""
    values = basics(folder) | changes
    path = write_config(folder, {key: v for key, v in values.items() if v is not None})
    config = load(path, {})
    output = io.StringIO()
    pipe = logs.configure(config.log.format, config.log.level, stream=output)
    try:
        server = Server(config, path, {}, pipe)
        run = Running(server, folder, values, output)
        try:
            await server.bind()
            await server.begin("tester")
            async with run.clients:
                yield run
        finally:
            await server.stop()
    finally:
        pipe.stop()
