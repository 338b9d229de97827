"""Ports of loopback that stay what a test takes them for."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def closed_port(kind: socket.SocketKind, host: str = "127.0.0.1") -> Iterator[int]:
    """A port where nobody answers, and that nobody else gets meanwhile.

    A TCP socket that does not listen refuses; a UDP socket that is connected to itself takes
    nothing from others, whom the kernel tells that the port is unreachable.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as holder:
        holder.bind((host, 0))
        if kind == socket.SOCK_DGRAM:
            holder.connect(holder.getsockname())
        yield int(holder.getsockname()[1])
