"""Real Redis servers for tests: on loopback, on free ports, with nothing kept on disk."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import redis

from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

REDIS_SERVER = "/usr/bin/redis-server"


def free_port(highest: int = 65535) -> int:
    """A port that nobody listens on; a Cluster needs one that leaves room for its bus."""
    while True:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= highest:
            return port


class RedisServer:
    """One `redis-server`, ended by its process id."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Starts the process and waits until it answers."""
        self.folder.mkdir(exist_ok=True)
        words = [REDIS_SERVER, *self._file(), "--port", str(self.port), "--bind", "127.0.0.1"]
        words += ["--dir", str(self.folder), *self._persistence(), *self._options]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork in a test may block
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await eventually(self.listens, limit=10)

    def _file(self) -> list[str]:
        return []

    def _persistence(self) -> list[str]:
        return ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]

    async def listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    def command(self, *words: Any, **options: Any) -> Any:
        """One command by a connection of its own, blocking."""
        arguments: dict[str, Any] = {"port": self.port, "socket_timeout": 5, "protocol": 2}
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
    """A Sentinel that watches one master and acts alone, fast."""

    def watch(self, master: RedisServer) -> None:
        """Writes the file that a Sentinel needs; before it starts."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "sentinel.conf").write_text(
            f"sentinel monitor turn 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds turn 300\n"
            "sentinel failover-timeout turn 1000\n"
        )

    def _file(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]

    def _persistence(self) -> list[str]:
        return []
