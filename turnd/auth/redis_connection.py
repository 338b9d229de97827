"""How to talk to Redis: one server, Sentinel or Cluster, in plain or by TLS, behind four verbs.

The library's defaults hurt: seconds until an error when Redis is down, and an error past a number
of calls at once. So every wait has a short limit, a lost connection is tried once more, and calls
queue for a bounded number of connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisClusterException, RedisError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from turnd.auth.redis_address import RedisAddress

ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a call raises when Redis does not do what was asked."""

ANSWER_LIMIT = 0.28
"""Seconds until waiting for Redis is given up. A client repeats a request after 0.25 to 0.5 s: it
is to have its answer within 0.3 s, and a busy loop notices a deadline some milliseconds late."""

_CALLS_AT_ONCE = 32
_PAUSE, _LONGEST_PAUSE = 0.01, 0.05  # seconds before the one retry, with jitter


class RedisLink:
    """The connections to Redis, of whichever kind.

    Nothing connects before the first call. Calls raise one of `ERRORS`.

    Args:
        address: where Redis is.
        limit: seconds for each single wait, for a connection or an answer. A call may wait more
            than once: who may not wait longer sets a deadline around it.
    """

    def __init__(self, address: RedisAddress, limit: float = ANSWER_LIMIT) -> None:
        self._address = address
        self.limit = limit
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._sentinel: Sentinel | None = None
        self._client: Redis | RedisCluster | None = None

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports of Redis as far as they are configured."""
        return self._address.nodes

    async def execute(self, *words: bytes | str | int) -> Any:
        """Sends one command and returns its answer; texts come as bytes."""
        async with self._calls:
            return await self._connected().execute_command(*words)

    async def scan(self, pattern: bytes) -> AsyncIterator[bytes]:
        """Every key that fits the pattern, on all servers; a key may come twice."""
        async for key in self._connected().scan_iter(match=pattern, count=500):
            yield key

    async def watchers(self) -> list[Connection]:
        """A connection of its own to every server that holds keys, not yet connected."""
        client = self._connected()
        if not isinstance(client, RedisCluster):
            pool = client.connection_pool
            return [pool.make_connection()]  # type: ignore[no-untyped-call]  # the library's gap
        await client.initialize()
        kind = SSLConnection if self._address.tls else Connection
        arguments = self._arguments()
        arguments.pop("ssl")
        return [kind(host=one.host, port=one.port, **arguments) for one in client.get_primaries()]

    async def close(self) -> None:
        """Ends all connections; the next call makes new ones."""
        client, sentinel = self._client, self._sentinel
        self._client = self._sentinel = None
        if client is not None:
            await client.aclose()
            if isinstance(client, Redis):
                await client.connection_pool.aclose()
        for one in sentinel.sentinels if sentinel is not None else ():
            await one.aclose()

    def _connected(self) -> Redis | RedisCluster:
        if self._client is None:
            self._client = self._open()
        return self._client

    def _open(self) -> Redis | RedisCluster:
        address, arguments = self._address, self._arguments()
        if address.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.nodes]
            return RedisCluster(startup_nodes=nodes, **arguments)
        arguments["db"] = address.db
        if address.kind == "sentinel":
            own = self._arguments()
            own["username"] = address.options.get("sentinel_username")
            own["password"] = address.options.get("sentinel_password")
            self._sentinel = Sentinel(  # type: ignore[no-untyped-call]  # the library's gap
                address.nodes, sentinel_kwargs=own, **arguments
            )
            master: Redis = self._sentinel.master_for(address.master)
            return master
        if address.kind == "unix":
            del arguments["ssl"]
            return Redis(unix_socket_path=address.path, **arguments)
        host, port = address.nodes[0]
        return Redis(host=host, port=port, **arguments)

    def _arguments(self) -> dict[str, Any]:
        address = self._address
        tls = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
        return {
            "username": address.username,
            "password": address.password,
            "socket_timeout": self.limit,
            "socket_connect_timeout": self.limit,
            "retry": Retry(ExponentialWithJitterBackoff(_LONGEST_PAUSE, _PAUSE), 1),
            "protocol": 2,  # notifications are read as its plain messages
            "ssl": address.tls,
            **(tls if address.tls else {}),
        }
