"""A data connection (RFC 6062 section 4.3): a stream to a peer, once the server has joined both."""

from __future__ import annotations

import asyncio

READ_SIZE = 65536
CLOSE_LIMIT = 2.0
"""Seconds for TLS to say goodbye."""


class DataConnection:
    """Bytes to and from a peer. What the network does is an OSError here, as with any stream."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes
    ) -> None:
        """`early`: what came right behind the server's answer."""
        self._reader = reader
        self._writer = writer
        self._early = early

    async def receive(self) -> bytes:
        """Some bytes of the peer; none: it sends no more."""
        early, self._early = self._early, b""
        return early or await self._reader.read(READ_SIZE)

    async def send(self, data: bytes) -> None:
        """Send to the peer; waits while it does not read."""
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """Say that nothing more comes; by TCP alone, TLS has no such thing here."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Close the connection, and with it the peer's."""
        await close_stream(self._writer)


async def close_stream(writer: asyncio.StreamWriter) -> None:
    """Close a stream and wait until its socket is gone."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_LIMIT):
            # Who gives up waiting would end the wait of everybody to come.
            await asyncio.shield(writer.wait_closed())
    except (OSError, TimeoutError):
        writer.transport.abort()
