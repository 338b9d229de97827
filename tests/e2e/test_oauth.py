"""Access tokens of third parties (RFC 7635), with coturn's tools at the other end."""

from __future__ import annotations

import json
import re
import socket
import time
from base64 import b64decode, b64encode
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.auth.redis_server import RedisServer
from tests.e2e.bare import ask, request, signed_allocate
from tests.e2e.server import PASSWORD, USER, Server, serve
from tests.e2e.test_turnutils import LEGS, run, side_by_side, uclient
from tests.tokens import KEY, KEY_TEXT, MAC_KEY, SERVER_NAME, seal
from tests.waiting import eventually
from turnd.auth.access_token import TokenKey, open_token_untrusted
from turnd.stun import attributes as a
from turnd.stun.message import Method

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.certificates import Authority

UCLIENT_KEYS = {
    "north": {"key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEK", "algorithm": "A256GCM"},
    "union": {"key": "MTIzNDU2Nzg5MDEyMzQ1Ngo=", "algorithm": "A128GCM"},
    "oldempire": {"key": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIK", "algorithm": "A256GCM"},
}
"""What `turnutils_uclient -J` seals its tokens with: one of these at random each time, so that an
allocation goes on with another kid than it began with."""
BY_TOKEN = ("-y", "-s", "-J")


def shared(algorithm: str, now: int) -> tuple[str, ...]:
    """What turnutils_oauth is told of the key and the server."""
    key = ("-k", KEY_TEXT, "-n", algorithm, "-l", str(now - 60), "-m", "3600")
    return "-i", SERVER_NAME, "-j", "north", *key


@pytest.mark.parametrize("algorithm", ["A256GCM", "A128GCM"])
async def test_tokens_that_coturn_seals_are_opened(algorithm: str) -> None:
    now = int(time.time())
    mac_key = b64encode(MAC_KEY).decode()
    token = ("-p", mac_key, "-q", str(now << 16), "-r", "1800")
    command = ("turnutils_oauth", "-v", "-e", *shared(algorithm, now), *token)
    status, output = await run(*command)
    assert status == 0, output
    sealed = b64decode(json.loads(output)["access_token"])
    access = open_token_untrusted(sealed, TokenKey.of(KEY_TEXT, algorithm), SERVER_NAME)
    assert (access.integrity.key, access.timestamp, access.lifetime) == (MAC_KEY, now, 1800)


@pytest.mark.parametrize("algorithm", ["A256GCM", "A128GCM"])
async def test_coturn_opens_what_our_tests_seal(algorithm: str) -> None:
    now = int(time.time())
    key = KEY if algorithm == "A256GCM" else KEY[:16]
    token = b64encode(seal(now + 0.5, 1800, key=key)).decode()
    command = ("turnutils_oauth", "-v", "-d", *shared(algorithm, now), "-t", token)
    status, output = await run(*command)
    assert status == 0, output
    assert f"mac key: {MAC_KEY.decode()}" in output
    assert re.search(rf"unixtime: {now} ", output)
    assert "lifetime: 1800" in output


async def test_coturns_client_with_tokens(folder: Path, authority: Authority) -> None:
    oauth = {"server_name": "blackdow.carleon.gov", "keys": UCLIENT_KEYS}
    pair = authority.issue("localhost")
    with serve(folder, tls=pair.section(), auth={"oauth": oauth}) as server:
        await side_by_side(*(uclient(server, leg, "127.0.0.1", *BY_TOKEN) for leg in LEGS))
        assert not server.logged("auth_failed")


async def test_users_and_tokens_side_by_side(folder: Path) -> None:
    auth: dict[str, Any] = {
        "users": {USER: PASSWORD},
        "oauth": {"server_name": "blackdow.carleon.gov", "keys": UCLIENT_KEYS},
    }
    with serve(folder, auth=auth) as server:
        await side_by_side(
            uclient(server, "tcp", "127.0.0.1", *BY_TOKEN),
            uclient(server, "udp", "127.0.0.1", "-y", "-s", "-u", USER, "-w", PASSWORD),
        )


async def test_keys_as_coturn_has_them_in_redis(folder: Path) -> None:
    redis = RedisServer(folder / "redis")
    await redis.start()
    try:
        for kid, key in UCLIENT_KEYS.items():
            words = ("ikm_key", key["key"], "as_rs_alg", key["algorithm"])
            redis.command("HSET", f"turn/oauth/kid/{kid}", *words)
        oauth = {"server_name": "blackdow.carleon.gov"}
        auth = {"redis": redis.url, "redis_schema": "coturn", "oauth": oauth}
        with serve(folder, auth=auth) as server:
            for kid in UCLIENT_KEYS:
                await eventually(partial(knows, server, kid))
            await uclient(server, "tcp", "127.0.0.1", *BY_TOKEN)
    finally:
        redis.kill()


def knows(server: Server, kid: str) -> bool:
    """Whether it has the key: Redis may take longer on a busy machine than a server may wait."""
    address, token = ("127.0.0.1", server.port), (a.ACCESS_TOKEN, bytes(64))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        challenge = ask(client, request(Method.ALLOCATE), address)
        answer = ask(client, signed_allocate(challenge, kid, attributes=[token]), address)
    error = answer.get(a.ERROR_CODE)
    assert error is not None
    return error.code != 500
