"""Real Redis servers for tests: on loopback, on free ports, with nothing kept on disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import redis

from tests.e2e.server import free_port
from tests.waiting import LIMIT, eventually

if TYPE_CHECKING:
    from pathlib import Path

REDIS_SERVER = "/usr/bin/redis-server"


class RedisServer:
    """One `redis-server`, ended by its process id."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self._options = options
        self._has_port = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Starts the process and waits until it answers: again at its port, or at a new one."""
        self.folder.mkdir(exist_ok=True)
        for _ in range(5):
            process = self._process = self._launch()
            await eventually(lambda: process.poll() is not None or self.answers())  # noqa: B023
            if process.poll() is None:
                self._has_port = True
                return
            assert not self._has_port, "its port was taken while it was down"
            self.port = free_port()
        raise AssertionError("redis-server does not start")

    def _launch(self) -> subprocess.Popen[bytes]:
        words = [
            REDIS_SERVER,
            *self._file(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "::1",
        ]
        words += ["--dir", str(self.folder), *self._persistence(), *self._options]
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _file(self) -> list[str]:
        return []

    def _persistence(self) -> list[str]:
        return ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]

    async def answers(self) -> bool:
        """Whether it serves; it listens before it knows that it can."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"ECHO 1\r\n")  # not PING: tests count those
            answer = await reader.read(1)
            writer.close()
            await writer.wait_closed()
        except OSError:
            return False
        return bool(answer)

    def command(self, *words: Any, **options: Any) -> Any:
        """One command by a connection of its own, blocking."""
        arguments: dict[str, Any] = {"port": self.port, "socket_timeout": LIMIT, "protocol": 2}
        client = redis.Redis(**(arguments | options))
        with closing(client), closing(client.connection_pool):
            execute: Any = client.execute_command
            return execute(*words)

    def kill(self) -> None:
        """Ends the process at once; what it held is gone."""
        if self._process is not None:
            self._signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


class RedisSentinel(RedisServer):
    """A Sentinel that watches one master and acts alone, after two seconds."""

    def watch(self, master: RedisServer) -> None:
        """Writes the file that a Sentinel needs; before it starts."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "sentinel.conf").write_text(
            f"sentinel monitor turn 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds turn 2000\n"
            "sentinel failover-timeout turn 1000\n"
        )

    def _file(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]

    def _persistence(self) -> list[str]:
        return []
