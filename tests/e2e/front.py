"""Other people's programs around a server: nginx behind it, haproxy in front of it."""

from __future__ import annotations

import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.server import LIMIT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = "www.example.org"
PAGE = "docs/port-443.md is true"
BIG = 40 << 20
"""Bytes of a large file."""

_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/nginx.access;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    dav_methods PUT;
    {servers}
}}
"""
_HAPROXY = """\
global
    log stdout format raw local0
    stats socket {folder}/haproxy.sock mode 600 level admin
"""


@contextmanager
def nginx(folder: Path, servers: str, *ports: int) -> Iterator[None]:
    """`server` blocks, served from the moment that all ports answer."""
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, servers=servers))
    with _running("nginx", "-c", str(file), "-e", f"{folder}/nginx.error", ports=ports):
        yield


@contextmanager
def haproxy(folder: Path, text: str, *ports: int) -> Iterator[None]:
    """Frontends and backends, from the moment that all ports answer."""
    file = folder / "haproxy.cfg"
    file.write_text(_HAPROXY.format(folder=folder) + text)
    with _running("haproxy", "-f", str(file), ports=ports):
        yield


@contextmanager
def _running(*command: str, ports: tuple[int, ...]) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    def answers() -> bool:
        assert process.poll() is None, process.communicate()[0].decode()
        return all(_connects(port) for port in ports)

    try:
        wait_until(answers, f"{command[0]} answers")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
