"""An admin socket as a server has it, without a server."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.waiting import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def answering(path: Path, body: bytes, status: str = "200 OK") -> Iterator[list[bytes]]:
    """An admin socket for one request."""
    path.parent.mkdir(exist_ok=True)
    asked: list[bytes] = []
    listening = socket.socket(socket.AF_UNIX)
    listening.settimeout(LIMIT)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            asked.append(connection.recv(65536))
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            if body != b"hang up":
                connection.sendall(head.encode() + body)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        thread.join()
        listening.close()
