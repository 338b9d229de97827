"""Learning at once that records in Redis have changed, and that Redis is there at all.

A connection to every server that holds keys asks for invalidation messages of all keys with the
realm's prefix (`CLIENT TRACKING … BCAST`, Redis 6 and later; it needs no change of the server's
settings and covers changes by anyone, expiry included). The connection is also the pulse: it is
pinged when it is quiet, and a server that does not answer counts as away. Where tracking is
refused, the pulse alone remains and changes show when the cache's time is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from redis.asyncio import Connection

    from turnd.auth.redis_connection import RedisLink

_CHANNEL = b"__redis__:invalidate"
_QUIET = 1.0  # seconds without a message until a ping; as long again until the server is away


class Watch:
    """One session of listening to all servers; ends with an exception when any of them fails.

    Args:
        link: how to reach Redis.
        prefixes: what the keys of interest begin with; none begins with another.
        changed: called with each changed key; None: any of them may have changed.
        refused: called with Redis's words when it does not notify.
    """

    def __init__(
        self,
        link: RedisLink,
        prefixes: Sequence[bytes],
        changed: Callable[[bytes | None], None],
        refused: Callable[[str], None],
    ) -> None:
        self._link = link
        self._prefixes = prefixes
        self._changed = changed
        self._refused = refused
        self.servers: tuple[tuple[str, int], ...] = ()
        """Addresses of the servers listened to."""

    async def run(
        self,
        listening: Callable[[], Awaitable[None]],
        meanwhile: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Listens until a server fails.

        Args:
            listening: awaited once all servers are listened to: from then on no change is missed.
            meanwhile: runs from then on beside the listening; its failure is a server's.

        Raises:
            One of `redis_connection.ERRORS`.
        """
        connections = await self._link.watchers()
        try:
            for one in connections:
                await self._subscribe(one)
            self.servers = tuple(_address(one) for one in connections)
            await listening()
            await _first_failure(meanwhile(), *(self._listen(one) for one in connections))
        finally:
            for one in connections:
                await one.disconnect(nowait=True)

    async def _subscribe(self, connection: Connection) -> None:
        await connection.connect()  # type: ignore[no-untyped-call]  # the library's gap
        try:
            number = int(await _ask(connection, "CLIENT", "ID"))
            words: tuple[str | int | bytes, ...] = (
                "CLIENT",
                "TRACKING",
                "ON",
                "REDIRECT",
                number,
                "BCAST",
            )
            for prefix in self._prefixes:
                words += ("PREFIX", prefix)
            await _ask(connection, *words)
            await _ask(connection, "SUBSCRIBE", _CHANNEL)
        except ResponseError as error:
            self._refused(str(error))

    async def _listen(self, connection: Connection) -> None:
        while True:
            message = await connection.read_response(timeout=_QUIET)
            if message is None:
                await connection.send_command("PING", check_health=False)
                message = _answered(await connection.read_response(timeout=_QUIET))
            self._hear(message)

    def _hear(self, message: Any) -> None:
        if not (isinstance(message, list) and len(message) == 3 and message[1] == _CHANNEL):
            return  # the answer to a ping
        keys = message[2]
        if isinstance(keys, list):
            for key in keys:
                self._changed(key)
        else:
            self._changed(None)  # the whole database was flushed


def _answered(message: Any) -> Any:
    if message is None:
        raise RedisConnectionError("Redis does not answer")
    return message


async def _ask(connection: Connection, *words: Any) -> Any:
    await connection.send_command(*words, check_health=False)
    return await connection.read_response()


async def _first_failure(*listeners: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(one) for one in listeners]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _address(connection: Any) -> tuple[str, int]:
    return str(getattr(connection, "host", "")), int(getattr(connection, "port", 0) or 0)
