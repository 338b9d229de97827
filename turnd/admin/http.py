"""The admin listener: metrics and health by TCP, the same and orders by a UNIX socket.

Rules of the house
    1.  By TCP one can only look. What changes something is served on the socket that nobody but
        turnd's own user can open.
    2.  One request a connection, bounded connections, bounded time: a scrape that hangs disturbs
        nothing but itself.
    3.  By TCP a Host header must be an IP address, localhost or a configured name: else a page in a
        browser could read this by pointing its own name here (DNS rebinding).
    4.  What is no HTTP is answered with 400 and is no line in the log: who sends it shall not fill
        the disk with it.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
import os
import socket
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from turnd.admin.connections import BoundedConnections
from turnd.admin.metrics import CONTENT_TYPE
from turnd.listeners.accept import bind_tcp
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from aiohttp.typedefs import Handler, Middleware

LARGEST_BODY = 64 << 10

_log = logging.getLogger("aiohttp.admin")


@dataclass(frozen=True, slots=True)
class AdminHooks:
    """What the server lets the admin listener do; called in the event loop."""

    metrics: Callable[[], bytes]
    not_ready: Callable[[], str | None]
    """None when the server takes new allocations; else why not: `starting`, `draining`, …"""
    reload: Callable[[], Mapping[str, object] | Awaitable[Mapping[str, object]]]
    """Read the configuration again; what came of it, JSON-able, with `ok: bool`."""


@dataclass(frozen=True, slots=True)
class AdminLimits:
    """Bounds of one listener."""

    connections: int = 32
    lifetime: float = 15.0
    """Seconds a connection may last, however it spends them."""
    reload_timeout: float = 60.0
    """Lifetime on the UNIX socket, where a reload may wait for Redis or a slow disk."""


class AdminServer:
    """Serves until `close`. `hosts`: further names that a Host header may carry."""

    def __init__(
        self,
        hooks: AdminHooks,
        hosts: frozenset[str] = frozenset(),
        limits: AdminLimits | None = None,
    ) -> None:
        self._hooks = hooks
        self._hosts = hosts
        self._limits = limits or AdminLimits()
        self._reloading = asyncio.Lock()
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self._socket_file: _SocketFile | None = None

    async def listen_tcp(self, endpoint: TransportAddress) -> TransportAddress:
        """Look from a TCP endpoint; returns where it is bound (port 0 resolved).

        Raises:
            OSError: it cannot be bound.
        """
        app = _application(self._check_host)
        app.add_routes(self._looking())
        bound = bind_tcp(endpoint)
        await self._serve(app, bound, self._limits.lifetime)
        return TransportAddress(endpoint.host, bound.getsockname()[1])

    async def listen_unix(self, path: Path) -> None:
        """Look and order from a UNIX socket (mode 600) that only its owner opens.

        Raises:
            OSError: it cannot be bound, or another turnd listens there.
        """
        app = _application()
        app.add_routes([*self._looking(), web.post("/v1/reload", self._reload)])
        bound = _bind_unix(path)
        self._socket_file = _SocketFile(path)
        await self._serve(app, bound, self._limits.reload_timeout)

    async def close(self) -> None:
        """Stop serving and end what is open."""
        for server in self._servers:
            server.close()
        if self._socket_file is not None:
            self._socket_file.remove()
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, app: web.Application, bound: socket.socket, lifetime: float) -> None:
        runner = web.AppRunner(
            app, access_log=None, logger=_log, handle_signals=False, shutdown_timeout=1.0
        )
        await runner.setup()
        self._runners.append(runner)
        inner = runner.server
        assert inner is not None  # noqa: S101 - setup() has made it
        factory = BoundedConnections(inner, self._limits.connections, lifetime)
        loop = asyncio.get_running_loop()
        serve = loop.create_unix_server if bound.family == socket.AF_UNIX else loop.create_server
        self._servers.append(await serve(factory, sock=bound))

    def _looking(self) -> list[web.RouteDef]:
        return [
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
        ]

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._hooks.metrics(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._hooks.not_ready()
        if reason is None:
            return web.Response(text="ready\n")
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{reason}\n")

    async def _reload(self, _: web.Request) -> web.Response:
        async with self._reloading:
            result = self._hooks.reload()
            answer = await result if inspect.isawaitable(result) else result
        return web.json_response(dict(answer))

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get(hdrs.HOST, "")
        if not host or _host_name(host) in self._hosts or _is_address(_host_name(host)):
            return await handler(request)
        text = "The Host header is neither an address nor localhost nor a configured name.\n"
        return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """The library logs whatever ends a request early, its sender's faults among it."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log.addFilter(_is_our_fault)


def _application(*middlewares: Middleware) -> web.Application:
    app = web.Application(middlewares=middlewares, client_max_size=LARGEST_BODY)
    app.on_response_prepare.append(_close_after)
    return app


async def _close_after(_: web.Request, response: web.StreamResponse) -> None:
    response.force_close()
    response.headers[hdrs.CONNECTION] = "close"
    response.headers[hdrs.SERVER] = "turnd"


def _host_name(header: str) -> str:
    """The host of a Host header without its port, lower case (RFC 9110 section 7.2)."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _bind_unix(path: Path) -> socket.socket:
    """Bind with mode 600 from the first moment, over a socket that its owner left behind."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        _remove_stale(path)
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    return bound


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full: somebody lives there
    raise OSError(errno.EADDRINUSE, "another turnd serves this socket", str(path))


class _SocketFile:
    """Our socket's name in the file system; another turnd may have taken it meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = path.stat().st_ino

    def remove(self) -> None:
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            return
