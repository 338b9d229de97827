from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.auth.certificates import write_certificates
from tests.e2e.server import free_port
from tests.waiting import LIMIT
from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_connection import ERRORS, RedisLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.auth.conftest import StartRedis
    from tests.auth.redis_server import RedisSentinel, RedisServer


@asynccontextmanager
async def linked(address: str, limit: float = LIMIT) -> AsyncIterator[RedisLink]:
    link = RedisLink(parse_redis_address(address), limit)
    try:
        yield link
    finally:
        await link.close()


async def write_and_read(link: RedisLink) -> None:
    for number in range(20):
        await link.execute("SET", f"turnd:{number}", number)
    await link.execute("SET", "other", 1)
    assert await link.execute("GET", "turnd:7") == b"7"
    found = {key async for key in link.scan(b"turnd:*")}
    assert found == {b"turnd:%d" % number for number in range(20)}


async def addresses(link: RedisLink) -> set[int]:
    """Ports of the servers that a watch would connect to."""
    ports = set()
    for one in await link.watchers():
        connection: Any = one
        await connection.connect()
        await connection.send_command("PING")
        assert await connection.read_response() in {b"PONG", True}
        ports.add(connection.port)
        await connection.disconnect()
    return ports


@pytest.mark.parametrize("form", ["redis://[::1]:{}/0", "ip=::1 dbname=0 port={}"])
async def test_one_server_by_ipv6(redis_server: RedisServer, form: str) -> None:
    async with linked(form.format(redis_server.port)) as link:
        assert link.endpoints == (("::1", redis_server.port),)
        await write_and_read(link)
        assert await addresses(link) == {redis_server.port}


async def test_one_server(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        assert link.endpoints == (("127.0.0.1", redis_server.port),)
        await write_and_read(link)
        assert await addresses(link) == {redis_server.port}


async def test_another_database_with_a_password(start_redis: StartRedis) -> None:
    server = await start_redis("--requirepass", "p@ss word")
    async with linked(f"redis://:p%40ss%20word@127.0.0.1:{server.port}/5") as link:
        await link.execute("SET", "turnd:x", 1)
    assert server.command("GET", "turnd:x", db=5, password="p@ss word") == b"1"
    async with linked(f"ip=127.0.0.1 port={server.port} dbname=5 password=wrong") as link:
        with pytest.raises(ERRORS) as caught:
            await link.execute("GET", "turnd:x")
        assert "wrong" not in str(caught.value).split()


async def test_a_unix_socket(start_redis: StartRedis, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    await start_redis("--unixsocket", str(path))
    async with linked(f"unix://{path}?db=1") as link:
        assert link.endpoints == ()
        await write_and_read(link)
        (watcher,) = await link.watchers()
        assert watcher.db == 1


async def test_tls_with_an_authority_of_its_own(start_redis: StartRedis, tmp_path: Path) -> None:
    authority, certificate, key = write_certificates(tmp_path)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate)]
    options += ["--tls-key-file", str(key), "--tls-ca-cert-file", str(authority)]
    await start_redis(*options, "--tls-auth-clients", "no")
    address = f"rediss://127.0.0.1:{port}"
    async with linked(f"{address}?ssl_ca_certs={authority}") as link:
        await write_and_read(link)
        assert await addresses(link) == {port}
    async with linked(address) as link:
        with pytest.raises(ERRORS, match=r"(?i)certificate"):
            await link.execute("PING")


async def test_sentinel_follows_the_master(
    sentinel: tuple[RedisSentinel, RedisServer, RedisServer],
) -> None:
    watcher, master, _ = sentinel
    async with linked(f"redis+sentinel://127.0.0.1:{watcher.port}/turn") as link:
        assert link.endpoints == (("127.0.0.1", watcher.port),)
        await write_and_read(link)
        assert await addresses(link) == {master.port}
    async with linked(f"redis+sentinel://127.0.0.1:{watcher.port}/other") as link:
        with pytest.raises(ERRORS, match="No master found"):
            await link.execute("PING")


async def test_a_cluster(cluster: list[RedisServer]) -> None:
    async with linked(f"redis+cluster://127.0.0.1:{cluster[0].port}") as link:
        await write_and_read(link)
        assert await addresses(link) == {node.port for node in cluster}
    held = [len(node.command("KEYS", "*")) for node in cluster]
    assert sum(held) == 21
    assert all(held)  # the keys really are apart


async def test_many_calls_at_once_wait_for_their_turn(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        answers = await asyncio.gather(*(link.execute("ECHO", n) for n in range(500)))
        assert answers == [b"%d" % n for n in range(500)]
    assert redis_server.command("INFO", "stats")["total_connections_received"] < 60


async def test_a_lost_connection_is_tried_once_more(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        await link.execute("SET", "a", 1)
        redis_server.command("CLIENT", "KILL", "TYPE", "normal")
        assert await link.execute("GET", "a") == b"1"


async def test_a_server_that_is_gone_or_hangs_is_an_error(redis_server: RedisServer) -> None:
    async with linked(redis_server.url, limit=1.0) as link:
        await link.execute("PING")
        redis_server.freeze()
        with pytest.raises(ERRORS):
            await link.execute("PING")
        redis_server.kill()
        with pytest.raises(ERRORS):
            await link.execute("PING")


async def test_a_closed_link_opens_again(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        await link.execute("SET", "a", 1)
        await link.close()
        await link.close()
        assert await link.execute("GET", "a") == b"1"
