"""Start, exit statuses and what is left behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.e2e.bare import request
from tests.e2e.server import free_port
from tests.listeners.pems import make_pair
from tests.runtime.servers import ALICE, basics, is_free, write_config
from tests.waiting import eventually
from turnd import app, system
from turnd.client.client import TurnClient
from turnd.client.errors import ClientError
from turnd.engine import choose
from turnd.engine.installed import EngineUnavailableError
from turnd.engine.portable import PortableEngine
from turnd.stun.message import Method
from turnd.system import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

INHERITING = """
import os, sys
count = int(sys.argv[1])
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
for number, fd in enumerate(map(int, sys.argv[2:2 + count])):
    os.dup2(fd, 100 + number)
for number in range(count):
    os.dup2(100 + number, 3 + number)
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


@pytest.fixture(autouse=True)
def _as_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's process keeps its user and its limits."""
    monkeypatch.setattr(system, "drop_privileges", lambda _: Identity("tester", 1, 1))
    monkeypatch.setattr(system, "raise_descriptor_limit", lambda: 1)


@pytest.fixture
def _one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes as soon as the server runs."""

    def stop_soon() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(partial(os.kill, os.getpid(), signal.SIGTERM))

    monkeypatch.setattr(app, "_spare_the_collector", stop_soon)


def run(folder: Path, **changes: Any) -> int:
    values = {k: v for k, v in (basics(folder) | changes).items() if v is not None}
    return app.run(write_config(folder, values), {})


@pytest.fixture
def port() -> int:
    """Free by UDP and TCP."""
    return free_port()


def test_a_server_whose_engine_fails_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], port: int
) -> None:
    def poll(_: PortableEngine) -> NoReturn:
        raise OSError("out of luck")

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(request(Method.ALLOCATE), ("127.0.0.1", port))

    monkeypatch.setattr(PortableEngine, "poll", poll)
    monkeypatch.setattr(app, "_spare_the_collector", ask)
    assert run(tmp_path, listen=[f"udp://127.0.0.1:{port}"], engine="portable") == 70
    events = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert events == ["started", "engine_failed", "stopped"]


@pytest.mark.usefixtures("_one_turn")
def test_a_server_s_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], port: int
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        listen = [f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"]
        assert run(tmp_path, listen=listen) == 0
        first = manager.recv(4096)
        assert first.startswith(b"READY=1\n")
        assert manager.recv(4096).startswith(b"STOPPING=1")
    events = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert events == ["started", "draining", "stopped"]
    assert is_free(port, socket.SOCK_DGRAM)
    assert not (tmp_path / "admin.sock").exists()


def no_native() -> None:
    raise EngineUnavailableError("as if there were none")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reelm": "x", "workers": -1}, ["config.yaml:11:1: reelm", "config.yaml:12:10: workers"]),
        ({"tls": {"certificate": "/no", "key": "/no"}}, ["config.yaml:11:22: tls[0].certificate"]),
        ({"auth": {"redis": "redis://h:1x"}}, ["config.yaml:4:17: auth.redis"]),
        ({"engine": "native"}, ["engine: native: as if there were none; make install"]),
    ],
)
def test_errors_of_the_configuration(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    said: list[str],
) -> None:
    monkeypatch.setattr(choose, "require_native", no_native)
    assert run(tmp_path, **changes) == 78
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == len(said)
    assert all(part in line for line, part in zip(lines, said, strict=True))
    assert not (tmp_path / "admin.sock").exists()


def test_a_native_engine_that_has_to_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "require_native", no_native)
    config = write_config(tmp_path, basics(tmp_path) | {"engine": "auto"})
    assert app.run(config, {"TURND_REQUIRE_NATIVE": "1"}) == 78
    assert "TURND_REQUIRE_NATIVE: as if there were none" in capfd.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert app.run(tmp_path / "none.yaml", {}) == 78
    assert "none.yaml: cannot be read: No such file" in capfd.readouterr().err


def test_a_port_that_is_in_use(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert run(tmp_path, listen=[f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{taken}"]) == 77
        assert f"turnd: cannot listen on tcp://127.0.0.1:{taken}: " in capfd.readouterr().err
        assert is_free(port, socket.SOCK_DGRAM)
        listen = [f"udp://127.0.0.1:{port}"]
        assert run(tmp_path, listen=listen, admin={"listen": f"127.0.0.1:{taken}"}) == 77
        assert "choose another port, or null for none" in capfd.readouterr().err
        assert is_free(port, socket.SOCK_DGRAM)


def test_an_address_that_is_not_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, listen=["udp://198.51.100.1:3478"]) == 77
    assert "no interface of this host has that address" in capfd.readouterr().err


def test_an_admin_socket_of_another_server(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], port: int
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "admin.sock"))
        other.listen()
        assert run(tmp_path, listen=[f"udp://127.0.0.1:{port}"]) == 77
    assert "another turnd serves this socket: name another one" in capfd.readouterr().err
    assert (tmp_path / "admin.sock").exists()
    assert is_free(port, socket.SOCK_DGRAM)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PermissionError("root may not become"), 77),
        (LookupError("no such user"), 78),
        (OSError("out of something"), 69),
    ],
)
def test_what_the_system_refuses(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
) -> None:
    def refuse(_: str) -> None:
        raise error

    monkeypatch.setattr(system, "drop_privileges", refuse)
    assert run(tmp_path) == status
    assert capfd.readouterr().err == f"turnd: {error}\n"


def test_a_file_that_the_system_refuses(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/var/lib/turnd")

    monkeypatch.setattr(system, "drop_privileges", refuse)
    assert run(tmp_path) == 69
    assert capfd.readouterr().err == "turnd: /var/lib/turnd: Read-only file system\n"


def test_an_empty_own_secret(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/secret").write_text("")
    assert run(tmp_path, auth=None) == 78
    assert "is empty: delete it" in capfd.readouterr().err


@pytest.fixture
def inherited() -> Iterator[list[socket.socket]]:
    """A UDP and a TCP socket that a service manager has bound."""
    sockets = [socket.socket(socket.AF_INET, k) for k in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    yield sockets
    for each in sockets:
        each.close()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that others reach: started as root, the server becomes somebody else."""
    with tempfile.TemporaryDirectory(prefix="turnd-test-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


async def test_inherited_sockets(shared: Path, inherited: list[socket.socket]) -> None:
    ports = [each.getsockname()[1] for each in inherited]
    listen = [f"udp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}"]
    path = write_config(shared, basics(shared) | {"listen": listen})
    descriptors = [each.fileno() for each in inherited]
    command = [sys.executable, "-c", INHERITING, "2", *map(str, descriptors)]
    command += [sys.executable, "-m", "turnd", "serve", "--config", str(path)]
    with (shared / "log").open("w+") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork in a test may block
            command, stdout=log, stderr=log, pass_fds=descriptors
        )
        try:
            for index, transport in enumerate(("udp", "tcp")):
                url = f"turn:127.0.0.1:{ports[index]}?transport={transport}"
                await eventually(partial(_allocates, url))
        finally:
            process.terminate()
            process.wait()
        assert process.returncode == 0
        assert "inherited_socket_unused" not in (shared / "log").read_text()


async def _allocates(url: str) -> bool:
    try:
        async with TurnClient(url, *ALICE) as client:
            await client.allocate()
    except ClientError:
        return False
    return True


def test_certificates_are_looked_at_before_anything_is_bound(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate, key = make_pair(tmp_path, days=(-9, -1))
    tls = {"certificate": certificate, "key": key}
    assert run(tmp_path, listen=["tls://198.51.100.1:5349"], tls=tls) == 78
    assert "expired at" in capfd.readouterr().err
