from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from turnd.auth.redis_admin import AdminError, SecretInfo, UserInfo, redis_admin

if TYPE_CHECKING:
    from tests.auth.redis_server import RedisServer

REALM = "north.gov"
KEY = "turn/realm/north.gov/user/ninefingers/key"


async def test_users_are_written_as_coturn_does(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "coturn") as admin:
        await admin.add_user("ninefingers", "youhavetoberealistic")
        assert redis_server.command("GET", KEY) == b"bc807ee29df3c9ffa736523fb2c4e8ee"
        with pytest.raises(AdminError, match="exists already"):
            await admin.add_user("ninefingers", "other")
        await admin.set_password("ninefingers", "other")
        digits = hashlib.md5(b"ninefingers:north.gov:other").hexdigest()
        assert redis_server.command("GET", KEY) == digits.encode()
        redis_server.command("SET", f"turn/realm/{REALM}/user/x/allocation/1/status", "new")
        redis_server.command("SET", "turn/realm/south.gov/user/stranger/key", "0" * 32)
        assert await admin.list_users() == [UserInfo("ninefingers")]
        await admin.remove_user("ninefingers")
        assert await admin.list_users() == []
        for attempt in (admin.remove_user("ninefingers"), admin.set_password("ninefingers", "x")):
            with pytest.raises(AdminError, match="there is no user"):
                await attempt


async def test_what_the_schema_cannot_hold(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "coturn") as admin:
        with pytest.raises(AdminError, match="no quota"):
            await admin.add_user("a", "pw", quota=1)
        with pytest.raises(AdminError, match="cannot disable"):
            await admin.set_disabled("a", True)
        with pytest.raises(AdminError, match="holds no dates"):
            await admin.rotate_secret(60.0)
        with pytest.raises(AdminError, match="/user/"):
            await admin.add_user("a/user/b", "pw")
    assert redis_server.command("DBSIZE") == 0


async def test_secrets(redis_server: RedisServer) -> None:
    key = f"turn/realm/{REALM}/secret"
    redis_server.command("SADD", key, b"\xffbytes")  # coturn takes any
    async with redis_admin(redis_server.url, REALM, "coturn") as admin:
        one = await admin.add_secret("one")
        assert one == SecretInfo(hashlib.sha256(b"one").hexdigest()[:8], value="one")
        made = await admin.add_secret()
        assert len(made.value) >= 32
        with pytest.raises(AdminError, match="there already"):
            await admin.add_secret("one")
        assert len(await admin.list_secrets()) == 3
        await admin.remove_secret(made.identifier)
        with pytest.raises(AdminError, match="there is no secret"):
            await admin.remove_secret(made.identifier)
        with pytest.raises(AdminError, match="HMAC-SHA1 only"):
            await admin.rotate_secret(0.0, hash_name="sha256")
        assert redis_server.command("SMEMBERS", key) == {b"one", b"\xffbytes"}
        await admin.rotate_secret(0.0, "two")
        assert redis_server.command("SMEMBERS", key) == {b"two"}


async def test_the_first_secret_by_rotation(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "coturn") as admin:
        assert await admin.list_secrets() == []
        made = await admin.rotate_secret(0.0)
        assert await admin.list_secrets() == [made]
