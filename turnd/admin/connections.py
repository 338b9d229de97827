"""A bound on an HTTP server's connections: how many, and how long each may last.

aiohttp waits for ever for a client that never ends its request or never reads its answer. Here a
connection has one life span, whatever it does with it, and there are only so many: one more ends
the oldest, which is the one that hangs, since a scrape takes milliseconds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class BoundedConnections:
    """Makes protocols for `create_server` around those of an inner factory."""

    def __init__(
        self, inner: Callable[[], asyncio.Protocol], most: int = 32, lifetime: float = 15.0
    ) -> None:
        self.inner = inner
        self.most = most
        self.lifetime = lifetime
        """Seconds from the first byte of a connection to its forced end."""
        self.open: dict[BoundedProtocol, asyncio.Transport] = {}
        """Oldest first."""

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one connection."""
        return BoundedProtocol(self)


class BoundedProtocol(asyncio.Protocol):
    """Hands everything on to the inner protocol, until the connection's time is up."""

    def __init__(self, bounds: BoundedConnections) -> None:
        self._bounds = bounds
        self._inner = bounds.inner()
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the connection, in the place of the oldest where there are too many."""
        stream = cast("asyncio.Transport", transport)  # create_server makes no other
        still_open = self._bounds.open
        if len(still_open) >= self._bounds.most:
            oldest = next(iter(still_open))
            still_open.pop(oldest).abort()
        still_open[self] = stream
        self._end = asyncio.get_running_loop().call_later(self._bounds.lifetime, stream.abort)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        self._bounds.open.pop(self, None)
        if self._end is not None:
            self._end.cancel()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._inner.resume_writing()
