from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

from tests.runtime.servers import basics, is_free, running, write_config
from turnd.config import load
from turnd.runtime.server import Server

if TYPE_CHECKING:
    from pathlib import Path


async def test_not_ready_before_it_serves_and_healthy(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        assert served.server.not_ready is None
        values = write_config(tmp_path, basics(tmp_path) | {"admin": {"listen": "127.0.0.1:0"}})
        config = load(values, {})
        server = Server(config, values, {}, served.server.log_pipe)
        served.server, running_server = server, served.server
        try:
            await server.bind()
            assert await served.get("/readyz") == (503, "starting\n")
            assert (await served.get("/metrics"))[0] == 200
        finally:
            await server.stop()
            served.server = running_server


async def test_the_admin_socket_is_its_owner_s(tmp_path: Path) -> None:
    async with running(tmp_path):
        assert stat.S_IMODE((tmp_path / "admin.sock").stat().st_mode) == 0o600
    assert not (tmp_path / "admin.sock").exists()


async def test_calls_end_with_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as served:
        client = await served.client()
        relayed = (await client.allocate()).relayed[0]
        await served.server.stop()
        assert is_free(relayed.port, socket.SOCK_DGRAM)
        await client.close(delete=False)
