"""The admin socket of a server that runs on this machine."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

from turnd import system

if TYPE_CHECKING:
    from pathlib import Path

    from turnd.config.model import Config

SOCKET = "admin.sock"


def socket_of(config: Config | None) -> Path:
    """Where a server with this configuration has its admin socket; None: the usual place."""
    told = None if config is None else config.admin.socket
    return told or system.runtime_directory() / SOCKET


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket; `timeout` in seconds."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
