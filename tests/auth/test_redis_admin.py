from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest
import redis

from tests.ports import closed_port
from turnd.auth.credentials import Credential, UserhashQuery, UsernameQuery
from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_admin import (
    AdminError,
    TurndAdmin,
    UserInfo,
    check_new_secret,
    glob_escaped,
    redis_admin,
)
from turnd.auth.redis_admin_coturn import CoturnAdmin
from turnd.auth.redis_connection import RedisLink
from turnd.auth.redis_schema import SecretRecord, TurndSchema, parse_secrets
from turnd.auth.rest import MAX_SECRETS
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash

if TYPE_CHECKING:
    from tests.auth.redis_server import RedisServer

REALM = "ex[a]mple*.org"  # a realm that is a pattern if nobody takes care


async def read(server: RedisServer, name: UsernameQuery | UserhashQuery) -> Credential | None:
    link = RedisLink(parse_redis_address(server.url))
    try:
        return await TurndSchema(REALM).read_user(link.execute, name)
    finally:
        await link.close()


async def test_an_added_user_can_be_read_and_no_password_is_stored(
    redis_server: RedisServer,
) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        await admin.add_user("alice", "hunter2", quota=3)
    for name in (UsernameQuery("alice"), UserhashQuery(userhash("alice", REALM))):
        found = await read(redis_server, name)
        assert found is not None
        assert found.quota == 3
        for algorithm in PasswordAlgorithm:
            key = long_term_key("alice", REALM, "hunter2", algorithm)
            assert found.keys[algorithm] == key
    record = redis_server.command("HGETALL", TurndSchema(REALM).user_key(b"alice"))
    assert b"hunter2" not in b"".join(record.values())


async def test_a_user_is_added_once(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        await admin.add_user("alice", "one")
        before = await read(redis_server, UsernameQuery("alice"))
        with pytest.raises(AdminError, match="user 'alice' exists already"):
            await admin.add_user("alice", "two")
    assert await read(redis_server, UsernameQuery("alice")) == before


async def test_password_disable_enable_remove(redis_server: RedisServer) -> None:
    alice = UsernameQuery("alice")
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        await admin.add_user("alice", "one")
        await admin.set_password("alice", "two")
        found = await read(redis_server, alice)
        assert found is not None
        assert found.keys[PasswordAlgorithm.MD5] == long_term_key(
            "alice", REALM, "two", PasswordAlgorithm.MD5
        )
        await admin.set_disabled("alice", True)
        assert await read(redis_server, alice) is None
        assert (await admin.list_users())[0].disabled
        await admin.set_disabled("alice", False)
        assert await read(redis_server, alice) == found
        await admin.remove_user("alice")
    assert redis_server.command("DBSIZE") == 0


async def test_there_has_to_be_a_user(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        for attempt in (
            admin.set_password("bob", "pw"),
            admin.set_disabled("bob", True),
            admin.remove_user("bob"),
        ):
            with pytest.raises(AdminError, match="there is no user 'bob'"):
                await attempt
    assert redis_server.command("DBSIZE") == 0


async def test_all_users_of_the_realm_and_no_others(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, "exaample.org", "turnd") as admin:
        await admin.add_user("stranger", "pw")
    link = RedisLink(parse_redis_address(redis_server.url))
    admin = TurndAdmin(link, REALM, wall_clock=lambda: 1_700_000_000.5)
    await admin.add_user("bob", "pw", quota=0)
    await admin.add_user("alice:x/*", "pw")
    assert await admin.list_users() == [
        UserInfo("alice:x/*", created=1_700_000_000),
        UserInfo("bob", quota=0, created=1_700_000_000),
    ]
    await link.close()


async def test_names_and_passwords_that_nobody_could_send(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        for user in ("", "a\nb", "a\0"):
            with pytest.raises(AdminError, match="control characters"):
                await admin.add_user(user, "pw")
        with pytest.raises(AdminError, match="508 bytes"):
            await admin.add_user("é" * 255, "pw")
        for password in ("", "a\0b"):
            with pytest.raises(AdminError, match="a password is not empty"):
                await admin.add_user("alice", password)
        with pytest.raises(AdminError, match="quota"):
            await admin.add_user("alice", "pw", quota=-1)
    assert redis_server.command("DBSIZE") == 0


async def test_secrets(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        made = await admin.add_secret()
        given = await admin.add_secret("hunter2")
        assert len(made.value) >= 32
        assert given.value == "hunter2"
        listed = await admin.list_secrets()
        assert {(one.identifier, one.value) for one in listed} == {
            (made.identifier, made.value),
            (given.identifier, "hunter2"),
        }
        assert "hunter2" not in repr(listed)
        with pytest.raises(AdminError, match="there already"):
            await admin.add_secret("hunter2")
        await admin.remove_secret(made.identifier)
        assert [one.value for one in await admin.list_secrets()] == ["hunter2"]
        stronger = await admin.rotate_secret(0.0, hash_name="sha256")
        assert stronger.hash_name == "sha256"
        assert {one.value: one.hash_name for one in await admin.list_secrets()} == {
            stronger.value: "sha256",
            "hunter2": "sha1",
        }
        with pytest.raises(AdminError, match="there is no secret"):
            await admin.remove_secret(made.identifier)


async def test_rotation_keeps_the_old_for_its_grace(redis_server: RedisServer) -> None:
    link = RedisLink(parse_redis_address(redis_server.url))
    clock = [1000.0]
    admin = TurndAdmin(link, REALM, wall_clock=lambda: clock[0])
    first = await admin.add_secret("one")
    clock[0] = 2000.0
    second = await admin.rotate_secret(100.0, "two")
    assert [(one.value, one.expires) for one in await admin.list_secrets()] == [
        ("two", None),
        ("one", 2100.0),
    ]
    clock[0] = 2050.0
    third = await admin.rotate_secret(500.0)  # a later rotation prolongs nobody's grace
    assert [(one.identifier, one.expires) for one in await admin.list_secrets()] == [
        (third.identifier, None),
        (second.identifier, 2550.0),
        (first.identifier, 2100.0),
    ]
    clock[0] = 2101.0
    await admin.add_secret("four")
    assert first.identifier not in {one.identifier for one in await admin.list_secrets()}
    await link.close()


def test_new_secrets_are_checked() -> None:
    check_new_secret(None, [])
    with pytest.raises(AdminError, match="not empty"):
        check_new_secret("", [])
    with pytest.raises(AdminError, match="the secret alone, with --hash"):
        check_new_secret("hmac-sha256:x", [])
    with pytest.raises(AdminError, match="at most"):
        check_new_secret("x", [str(number) for number in range(MAX_SECRETS)])


async def test_all_of_it_in_a_cluster(cluster: list[RedisServer]) -> None:
    async with redis_admin(f"redis+cluster://127.0.0.1:{cluster[0].port}", REALM, "turnd") as admin:
        for user in ("alice", "{bob}", "c}d{e"):
            await admin.add_user(user, "pw")
            await admin.set_password(user, "other")
        assert [one.user for one in await admin.list_users()] == ["alice", "c}d{e", "{bob}"]
        await admin.rotate_secret(10.0)
        for user in ("alice", "{bob}", "c}d{e"):
            await admin.remove_user(user)
        assert await admin.list_users() == []


async def test_what_redis_does_is_an_error_of_the_administrators(
    redis_server: RedisServer,
) -> None:
    with closed_port(socket.SOCK_STREAM) as port, pytest.raises(AdminError, match=r"^Redis: "):
        async with redis_admin(f"redis://127.0.0.1:{port}", REALM, "turnd") as admin:
            await admin.list_users()
    redis_server.command("HSET", TurndSchema(REALM).secrets_key, "aa", "plain")
    with pytest.raises(AdminError, match="malformed record: a secret"):
        async with redis_admin(redis_server.url, REALM, "turnd") as admin:
            await admin.list_secrets()
    with pytest.raises(ValueError, match="Redis is addressed by"):
        async with redis_admin("http://x", REALM, "turnd"):
            pass


async def test_the_schema_is_chosen(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "coturn") as admin:
        assert isinstance(admin, CoturnAdmin)


async def test_two_administrators_at_once(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        attempts = [admin.add_user("alice", f"pw{number}") for number in range(10)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1


async def test_a_secret_that_is_removed_during_a_rotation_does_not_come_back(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        leaked, kept = await admin.add_secret("leaked"), await admin.add_secret("kept")
        other = redis.Redis(port=redis_server.port)
        removed: list[object] = []

        def remove_meanwhile(fields: dict[bytes, bytes]) -> list[SecretRecord]:
            if not removed:
                key = TurndSchema(REALM).secrets_key
                removed.append(other.hdel(key, leaked.identifier))
            return parse_secrets(fields)

        monkeypatch.setattr("turnd.auth.redis_admin.parse_secrets", remove_meanwhile)
        made = await admin.rotate_secret(86400.0)
        other.close()
        assert removed == [1]
        found = await admin.list_secrets()
        assert [one.identifier for one in found] == [made.identifier, kept.identifier]


async def test_a_rotation_gives_up_where_secrets_never_stay_as_they_are(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        await admin.add_secret("one")
        monkeypatch.setattr("turnd.auth.redis_admin._PUT", "return 0")
        with pytest.raises(AdminError, match="changed by others"):
            await admin.rotate_secret(0.0)


async def test_rotations_at_once_leave_no_old_secret_in_use(redis_server: RedisServer) -> None:
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        first = await admin.add_secret("one")
        made = await asyncio.gather(*(admin.rotate_secret(grace) for grace in (0.0, 3600.0)))
        ends = {one.identifier: one.expires for one in await admin.list_secrets()}
        assert sum(ends[one.identifier] is None for one in made) == 1
        end = ends.get(first.identifier)
        assert first.identifier not in ends or (end is not None and end <= time.time())


def test_a_pattern_fits_its_text_alone() -> None:
    assert glob_escaped(b"a*b?c[d]e^f\\g") == b"a\\*b\\?c\\[d\\]e\\^f\\\\g"
