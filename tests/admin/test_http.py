from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import LIMIT
from turnd.admin import http
from turnd.admin.http import AdminHooks, AdminLimits, AdminServer
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

LOOPBACK = TransportAddress("127.0.0.1", 0)


class Stage:
    """A server whose hooks answer what the test set."""

    def __init__(self, **options: Any) -> None:
        self.reason: str | None = None
        self.metrics = b"turnd_up 1\n"
        self.reloads = 0
        hooks = AdminHooks(lambda: self.metrics, lambda: self.reason, self.reload)
        self.server = AdminServer(hooks, **options)

    def reload(self) -> Mapping[str, object]:
        self.reloads += 1
        return {"ok": True, "restart": ["listen"]}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.server.close()


async def exchange(to: TransportAddress | Path, request: str) -> tuple[int, dict[str, str], str]:
    """Send raw text, read to the end; status, headers in lower case, body."""
    if isinstance(to, TransportAddress):
        reader, writer = await asyncio.open_connection(to.host, to.port)
    else:
        reader, writer = await asyncio.open_unix_connection(str(to))
    writer.write(request.encode())
    async with asyncio.timeout(LIMIT):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = head.split("\r\n")
    headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def get(path: str, host: str = "127.0.0.1:9641") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"


def post(path: str) -> str:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


async def test_metrics_by_tcp(stage: Stage) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    status, headers, body = await exchange(at, get("/metrics"))
    assert (status, body) == (200, "turnd_up 1\n")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["server"] == "turnd"
    assert headers["connection"] == "close"


async def test_by_ipv6(stage: Stage) -> None:
    at = await stage.server.listen_tcp(TransportAddress("::1", 0))
    assert (await exchange(at, get("/healthz", host=f"[::1]:{at.port}")))[0] == 200


async def test_healthy_while_the_loop_runs_and_ready_when_it_takes_clients(stage: Stage) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    for reason in ("starting", "draining", "no listener"):
        stage.reason = reason
        assert (await exchange(at, get("/readyz")))[::2] == (503, f"{reason}\n")
        assert (await exchange(at, get("/healthz")))[::2] == (200, "ok\n")
    stage.reason = None
    assert (await exchange(at, get("/readyz")))[::2] == (200, "ready\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9641", 200),
        ("192.0.2.1", 200),
        ("[2001:db8::1]:9641", 200),
        ("[::1]", 200),
        ("localhost", 200),
        ("LocalHost.:9641", 200),
        ("turnd.internal:9641", 200),
        ("attacker.example:9641", 421),
        ("127.0.0.1.attacker.example", 421),
        ("localhost.attacker.example", 421),
        ("[attacker.example]:9641", 421),
    ],
)
async def test_a_page_cannot_point_its_own_name_here(host: str, status: int) -> None:
    stage = Stage(hosts=frozenset({"turnd.internal"}))
    at = await stage.server.listen_tcp(LOOPBACK)
    assert (await exchange(at, get("/metrics", host)))[0] == status
    await stage.server.close()


async def test_a_client_without_host_header_is_no_browser(stage: Stage) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    assert (await exchange(at, "GET /healthz HTTP/1.0\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    "words",
    [
        "GET / HTTP/9.9\r\n\r\n",
        "GET http://[ HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno header\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nLong: {'x' * 20_000}\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        "\x16\x03\x01 a handshake of TLS\r\n\r\n",
    ],
    ids=["version", "target", "header", "length", "body", "tls"],
)
async def test_what_is_no_http_is_refused_without_a_line(
    stage: Stage, caplog: pytest.LogCaptureFixture, words: str
) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    assert (await exchange(at, words))[0] == 400
    assert caplog.records == []


async def test_a_fault_of_ours_is_a_line(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    del stage.metrics
    assert (await exchange(at, get("/metrics")))[0] == 500
    (record,) = caplog.records
    assert "Error handling request" in record.getMessage()
    assert record.exc_info


async def test_by_tcp_nothing_can_be_ordered(stage: Stage) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    assert (await exchange(at, post("/v1/reload")))[0] == 404
    assert (await exchange(at, post("/metrics")))[0] == 405
    assert stage.reloads == 0


async def test_reload_by_the_unix_socket(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    await stage.server.listen_unix(path)
    status, headers, body = await exchange(path, post("/v1/reload"))
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    assert json.loads(body) == {"ok": True, "restart": ["listen"]}
    assert (await exchange(path, get("/v1/reload")))[0] == 405
    assert (await exchange(path, get("/metrics", host="any.name")))[0] == 200
    assert stage.reloads == 1


async def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    running: list[int] = []
    most = 0
    go = asyncio.Event()

    async def reload() -> Mapping[str, object]:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        await go.wait()
        running.pop()
        return {"ok": True}

    server = AdminServer(AdminHooks(bytes, lambda: None, reload))
    path = tmp_path / "admin.sock"
    await server.listen_unix(path)
    both = asyncio.gather(*[exchange(path, post("/v1/reload")) for _ in range(2)])
    async with asyncio.timeout(LIMIT):
        while not running or not server._reloading._waiters:  # noqa: ASYNC110 - the lock's own state
            await asyncio.sleep(0)
    go.set()
    assert [status for status, *_ in await both] == [200, 200]
    assert most == 1
    await server.close()


async def test_a_hook_that_fails_is_an_answer_and_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Mapping[str, object]:
        raise RuntimeError("the disk is gone")

    server = AdminServer(AdminHooks(bytes, lambda: None, fail))
    path = tmp_path / "admin.sock"
    await server.listen_unix(path)
    assert (await exchange(path, post("/v1/reload")))[0] == 500
    assert "the disk is gone" in caplog.text
    await server.close()


async def test_the_socket_is_its_owners_alone(stage: Stage, tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        await stage.server.listen_unix(tmp_path / "admin.sock")
        assert (tmp_path / "admin.sock").stat().st_mode & 0o777 == 0o600
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)


async def test_a_socket_that_was_left_behind_is_replaced(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    await stage.server.listen_unix(path)
    assert (await exchange(path, get("/healthz")))[0] == 200


@pytest.mark.parametrize("backlog_full", [False, True])
async def test_a_socket_that_is_served_is_not_taken(
    stage: Stage, tmp_path: Path, backlog_full: bool
) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen(0)
        waiting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if backlog_full:
            waiting.connect(str(path))
        with waiting, pytest.raises(OSError, match="another turnd serves this socket"):
            await stage.server.listen_unix(path)
        assert path.is_socket()


async def test_a_file_in_the_sockets_place_is_not_removed(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        await stage.server.listen_unix(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("taken_over", [False, True])
async def test_the_socket_file_goes_with_its_server(tmp_path: Path, taken_over: bool) -> None:
    stage, path = Stage(), tmp_path / "admin.sock"
    await stage.server.listen_unix(path)
    if taken_over:
        path.rename(tmp_path / "old")
        path.touch()
    await stage.server.close()
    assert path.exists() == taken_over


async def test_a_socket_file_that_is_gone_already_hurts_nobody(tmp_path: Path) -> None:
    stage, path = Stage(), tmp_path / "admin.sock"
    await stage.server.listen_unix(path)
    path.unlink()
    await stage.server.close()
    assert not path.exists()


async def test_a_taken_port_is_an_error(stage: Stage) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    with pytest.raises(OSError, match="in use"):
        await stage.server.listen_tcp(at)


async def test_after_close_nobody_is_served() -> None:
    stage = Stage()
    at = await stage.server.listen_tcp(LOOPBACK)
    await stage.server.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(at.host, at.port)


async def test_scrapes_that_hang_disturb_nobody_and_end(stage: Stage) -> None:
    limits = AdminLimits(connections=4, lifetime=60.0)
    stage.server = AdminServer(stage.server._hooks, limits=limits)
    stage.metrics = b"x" * (16 << 20)
    at = await stage.server.listen_tcp(LOOPBACK)
    hanging: list[socket.socket] = []
    for request in [get("/metrics"), "GET /metr", ""] * 3:
        client = socket.create_connection((at.host, at.port))
        client.sendall(request.encode())
        client.setblocking(False)
        hanging.append(client)
        assert (await exchange(at, get("/healthz")))[0] == 200
    for client in hanging[:5]:
        async with asyncio.timeout(LIMIT):
            assert await is_over(client)
    for client in hanging:
        client.close()


async def is_over(client: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(client, 1 << 20):
            pass
    except ConnectionResetError:
        pass
    return True


async def test_garbage_is_refused(stage: Stage) -> None:
    at = await stage.server.listen_tcp(LOOPBACK)
    assert (await exchange(at, "\x16\x03\x01 nonsense\r\n\r\n"))[0] == 400
    assert (await exchange(at, get("/nowhere")))[0] == 404
    assert (await exchange(at, get("/metrics")))[0] == 200


def test_bodies_have_a_bound() -> None:
    assert http._application()._client_max_size == http.LARGEST_BODY
