from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.tokens import KEY, KEY_TEXT
from tests.waiting import LIMIT, eventually
from turnd.auth import redis_store, redis_watch
from turnd.auth.access_token import TokenAlgorithm, TokenKey
from turnd.auth.credentials import (
    Found,
    FoundKey,
    KeyQuery,
    Name,
    Outcome,
    Query,
    Unavailable,
    Unknown,
    UserhashQuery,
    UsernameQuery,
)
from turnd.auth.redis_address import parse_redis_address
from turnd.auth.redis_admin import redis_admin
from turnd.auth.redis_connection import ANSWER_LIMIT, RedisLink
from turnd.auth.redis_coturn import CoturnSchema
from turnd.auth.redis_schema import RealmOptions, Schema, TurndSchema
from turnd.auth.redis_store import RedisStore
from turnd.auth.rest import RestSecrets
from turnd.auth.store_cache import CacheLimits, StoreHooks
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.auth.conftest import StartRedis
    from tests.auth.redis_server import RedisSentinel, RedisServer

REALM = "example.org"
ALICE, BOB = UsernameQuery("alice"), UsernameQuery("bob")
LONG = CacheLimits(ttl=3600.0, negative_ttl=3600.0)  # only notifications change anything
BRIEF = 2.0  # seconds: for Redis to answer on a busy machine, and to wait when it does not


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may take its time on a busy machine; how long is waited is the link's to say."""
    monkeypatch.setattr(redis_store, "ANSWER_LIMIT", LIMIT)
    monkeypatch.setattr(redis_store, "_REFRESH_LIMIT", LIMIT)
    monkeypatch.setattr(redis_watch, "_QUIET", LIMIT)


@dataclass
class Told:
    """A store, its REST secrets and what it told."""

    store: RedisStore
    rest: RestSecrets
    reports: list[tuple[str, str]] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)

    def events(self) -> list[str]:
        return [event for event, _ in self.reports]

    async def is_away(self, name: Name = BOB) -> bool:
        await self.store.fetch(name)
        return self.store.away is not None

    async def is_back(self) -> bool:
        return self.store.away is None

    def forgot(self, name: Query) -> bool:
        return self.store.cached(name, 0.0) is None

    async def knows(self, name: Name) -> bool:
        return isinstance(await self.store.fetch(name), Found)


@asynccontextmanager
async def opened(
    address: str,
    *,
    schema: Schema | None = None,
    limits: CacheLimits = LONG,
    start: bool = True,
    wait: float = LIMIT,
) -> AsyncIterator[Told]:
    rest = RestSecrets(REALM, [], time.time)
    reports: list[tuple[str, str]] = []
    changes: list[int] = []
    hooks = StoreHooks(lambda *words: reports.append(words), lambda: changes.append(1))
    link = RedisLink(parse_redis_address(address), wait)
    store = RedisStore(link, schema or TurndSchema(REALM), rest, hooks, limits)
    if start:
        store.start()
        await eventually(
            lambda: store.endpoints - frozenset(link.endpoints) or store.away or changes
        )
    try:
        yield Told(store, rest, reports, changes)
    finally:
        await store.close()


async def add(server: RedisServer, *users: str, password: str = "pw") -> None:
    async with redis_admin(server.url, REALM, "turnd") as admin:
        for user in users:
            await admin.add_user(user, password)


def md5_of(outcome: Outcome | None) -> bytes:
    assert isinstance(outcome, Found)
    return outcome.candidates[0].keys[PasswordAlgorithm.MD5]


def calls(server: RedisServer, command: str) -> int:
    statistics = server.command("INFO", "commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(statistics["calls"])


async def test_users_are_found_and_answers_are_kept(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    async with opened(redis_server.url) as told:
        key = long_term_key("alice", REALM, "pw", PasswordAlgorithm.MD5)
        names: tuple[Name, ...] = (ALICE, UserhashQuery(userhash("alice", REALM)))
        for name in names:
            assert told.store.cached(name, time.monotonic()) is None
            assert md5_of(await told.store.fetch(name)) == key
            assert md5_of(told.store.cached(name, time.monotonic())) == key
        assert await told.store.fetch(BOB) == Unknown()
        asked = calls(redis_server, "hgetall")
        assert await told.store.fetch(BOB) == Unknown()
        assert md5_of(await told.store.fetch(ALICE)) == key
        assert calls(redis_server, "hgetall") == asked
        assert told.reports == []


async def test_what_it_serves_is_the_schemas(redis_server: RedisServer) -> None:
    async with opened(redis_server.url, start=False) as told:
        assert told.store.algorithms == set(PasswordAlgorithm)
        anonymity = [told.store.username_anonymity]  # not yet: Redis may hold secrets
        await told.store.fetch(BOB)
        assert [*anonymity, told.store.username_anonymity] == [False, True]
    async with opened(redis_server.url, schema=CoturnSchema(REALM)) as told:
        assert told.store.algorithms == {PasswordAlgorithm.MD5}
        assert not told.store.username_anonymity


async def test_changes_show_at_once(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    by_hash = UserhashQuery(userhash("alice", REALM))
    async with opened(redis_server.url) as told:
        await told.store.fetch(ALICE)
        await told.store.fetch(by_hash)
        assert await told.store.fetch(BOB) == Unknown()
        async with redis_admin(redis_server.url, REALM, "turnd") as admin:
            await admin.set_password("alice", "new")
            key = long_term_key("alice", REALM, "new", PasswordAlgorithm.MD5)
            names: tuple[Name, ...] = (ALICE, by_hash)
            for name in names:
                await eventually(partial(told.forgot, name))
                assert md5_of(await told.store.fetch(name)) == key
            await admin.set_disabled("alice", True)
            await eventually(partial(told.forgot, ALICE))
            assert await told.store.fetch(ALICE) == Unknown()
            await admin.add_user("bob", "pw")
            await eventually(lambda: told.knows(BOB))
            await admin.remove_user("bob")
            await eventually(partial(told.forgot, BOB))
            assert await told.store.fetch(BOB) == Unknown()


async def test_a_flush_is_noticed(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    async with opened(redis_server.url) as told:
        await told.store.fetch(ALICE)
        redis_server.command("FLUSHALL")
        await eventually(partial(told.forgot, ALICE))
        assert await told.store.fetch(ALICE) == Unknown()


async def test_killed_and_restarted(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    async with opened(redis_server.url) as told:
        before = await told.store.fetch(ALICE)
        redis_server.kill()
        await eventually(told.is_away)
        assert await told.store.fetch(ALICE) == before
        outcome = told.store.cached(BOB, time.monotonic())
        assert isinstance(outcome, Unavailable)
        assert "Error" in outcome.reason
        assert await told.store.fetch(UserhashQuery(b"\0" * 32)) == outcome
        await redis_server.start()  # empty now, and new to everybody
        await add(redis_server, "bob")
        await eventually(told.is_back)
        await eventually(lambda: told.knows(BOB))
        assert await told.store.fetch(ALICE) == Unknown()
        assert told.events() == ["redis_away", "redis_back"]


async def test_frozen_and_thawed(redis_server: RedisServer) -> None:
    await add(redis_server, "alice", "bob")
    async with opened(redis_server.url, limits=CacheLimits(ttl=0.0), wait=BRIEF) as told:
        before = await told.store.fetch(ALICE)
        redis_server.freeze()
        started = time.monotonic()
        outcomes = await asyncio.gather(told.store.fetch(ALICE), told.store.fetch(BOB))
        assert time.monotonic() - started < 2 * BRIEF  # together, and not tried once more
        assert outcomes[0] == before
        assert isinstance(outcomes[1], Unavailable)
        assert "Timeout" in outcomes[1].reason
        assert told.store.away is not None
        # From now on nobody waits: the answer is there without asking.
        assert told.store.cached(ALICE, time.monotonic()) == before
        assert isinstance(told.store.cached(BOB, time.monotonic()), Unavailable)
        redis_server.thaw()
        await eventually(told.is_back)
        await eventually(lambda: told.knows(BOB))
        assert told.events() == ["redis_away", "redis_back"]


async def test_a_freeze_that_nobody_asks_during_is_noticed_too(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_watch, "_QUIET", 1.0)
    async with opened(redis_server.url) as told:
        redis_server.freeze()
        await eventually(lambda: told.store.away)
        redis_server.thaw()
        await eventually(told.is_back)


async def test_the_deadline_counts_every_wait_together(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ANSWER_LIMIT < 0.3  # the rest is for the loop that notices
    async with opened(redis_server.url, start=False) as told:
        monkeypatch.setattr(redis_store, "ANSWER_LIMIT", 0.0)
        outcome = await told.store.fetch(ALICE)
        assert isinstance(outcome, Unavailable)
        assert "Timeout" in outcome.reason


async def test_a_server_starts_without_its_redis(redis_server: RedisServer) -> None:
    redis_server.kill()
    async with opened(redis_server.url) as told:
        await eventually(told.is_away)
        assert isinstance(await told.store.fetch(ALICE), Unavailable)
        await redis_server.start()
        await add(redis_server, "alice")
        await eventually(lambda: told.knows(ALICE))
        assert told.events() == ["redis_away", "redis_back"]


async def test_secrets_come_and_go(redis_server: RedisServer) -> None:
    name = "1900000000:bob"
    async with opened(redis_server.url) as told:
        async with redis_admin(redis_server.url, REALM, "turnd") as admin:
            one = await admin.add_secret("one")
            await eventually(lambda: told.rest.candidates(name))
            two = await admin.rotate_secret(100.0)
            await eventually(lambda: len(told.rest.candidates(name)) == 2)
            assert [one.source for one in told.rest.candidates(name)] == [
                f"redis secret {two.identifier}",
                f"redis secret {one.identifier}",
            ]
            await admin.remove_secret(one.identifier)
            await eventually(lambda: len(told.rest.candidates(name)) == 1)
        redis_server.kill()
        await eventually(told.is_away)
        assert len(told.rest.candidates(name)) == 1  # they stay in use


async def test_the_first_question_brings_the_secrets(redis_server: RedisServer) -> None:
    name = "1900000000:bob"
    async with redis_admin(redis_server.url, REALM, "turnd") as admin:
        secret = await admin.add_secret("one")
        await admin.add_user(name, "pw")
    async with opened(redis_server.url, start=False) as told:
        outcome = await told.store.fetch(UsernameQuery(name))
        assert isinstance(outcome, Found)
        sources = [one.source for one in outcome.candidates]
        assert sources == [f"redis secret {secret.identifier}", "redis"]
        again = await told.store.fetch(UsernameQuery("1900000000:carol"))
        assert isinstance(again, Found)
        assert [one.source for one in again.candidates] == sources[:1]


async def test_coturns_records(redis_server: RedisServer) -> None:
    prefix = f"turn/realm/{REALM}/"
    redis_server.command("SET", prefix + "user-quota", 7)
    redis_server.command("SADD", prefix + "secret", "one")
    async with redis_admin(redis_server.url, REALM, "coturn") as admin:
        await admin.add_user("alice", "pw")
    async with opened(redis_server.url, schema=CoturnSchema(REALM)) as told:
        await eventually(lambda: told.store.realm_options == RealmOptions(None, 7))
        key = long_term_key("alice", REALM, "pw", PasswordAlgorithm.MD5)
        assert md5_of(await told.store.fetch(ALICE)) == key
        assert told.rest.candidates("1900000000:bob")
        changes = len(told.changes)
        redis_server.command("SET", prefix + "total-quota", 100)
        await eventually(lambda: told.store.realm_options == RealmOptions(100, 7))
        assert len(told.changes) == changes + 1
        redis_server.command("SET", prefix + "user/alice/key", "0" * 32)
        await eventually(partial(told.forgot, ALICE))
        assert md5_of(await told.store.fetch(ALICE)) == bytes(16)


async def test_malformed_records_hurt_nobody_else(redis_server: RedisServer) -> None:
    schema = TurndSchema(REALM)
    await add(redis_server, "alice")
    redis_server.command("SET", schema.user_key(b"bob"), "a string")
    redis_server.command("HSET", schema.user_key(b"carol"), "md5", "zz")
    redis_server.command("HSET", schema.secrets_key, "aa", "no JSON")
    async with opened(redis_server.url) as told:
        assert await told.store.fetch(BOB) == Unknown()
        assert await told.store.fetch(UsernameQuery("carol")) == Unknown()
        assert await told.knows(ALICE)
        assert set(told.reports) == {
            ("redis_bad_record", "a record has the wrong type"),
            ("redis_bad_record", "a user's keys are missing or malformed"),
            ("redis_bad_record", "a secret of the realm is malformed"),
        }
        assert told.store.away is None
        assert not told.store.username_anonymity


async def test_a_secret_that_is_no_text_does_not_take_redis_away(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    half_a_pair = '{"secret": "\\ud800"}'
    redis_server.command("HSET", TurndSchema(REALM).secrets_key, "aa", half_a_pair)
    async with opened(redis_server.url, start=False) as told:
        assert await told.knows(ALICE)
        assert told.reports == [("redis_bad_record", "a secret of the realm is malformed")]
        assert told.store.away is None


async def test_what_redis_refuses_is_no_open_door(start_redis: StartRedis) -> None:
    server = await start_redis("--rename-command", "HGETALL", "")
    async with opened(server.url) as told:
        outcome = await told.store.fetch(ALICE)
        assert isinstance(outcome, Unavailable)
        assert "unknown command" in outcome.reason


@pytest.mark.parametrize("chosen", ["turnd", "coturn"])
async def test_the_rights_that_the_documentation_names_suffice(
    redis_server: RedisServer, chosen: str
) -> None:
    rights = "+@connection +hgetall +get +smembers +client|id +client|tracking +subscribe"
    rights += " resetchannels &__redis__:invalidate"
    writing = "+eval +hset +hdel +exists +set +del +scan +sadd +srem"
    words = ("~turnd:*" if chosen == "turnd" else "~turn/realm/*", *rights.split())
    redis_server.command("ACL", "SETUSER", "reader", "on", ">pw", *words)
    redis_server.command("ACL", "SETUSER", "writer", "on", ">pw", *words, *writing.split())
    schema = TurndSchema(REALM) if chosen == "turnd" else CoturnSchema(REALM)
    async with opened(f"redis://reader:pw@127.0.0.1:{redis_server.port}", schema=schema) as told:
        assert await told.store.fetch(ALICE) == Unknown()
        address = f"redis://writer:pw@127.0.0.1:{redis_server.port}"
        async with redis_admin(address, REALM, chosen) as admin:
            await admin.add_user("alice", "pw")
            await eventually(partial(told.knows, ALICE))
            await admin.set_password("alice", "new")
            assert len(await admin.list_users()) == 1
            await admin.remove_user("alice")
            secret = await admin.add_secret()
            await eventually(lambda: told.rest.candidates("1900000000:bob"))
            await admin.rotate_secret(0.0)
            if chosen == "turnd":
                await admin.remove_secret(secret.identifier)
        assert told.reports == []


async def test_questions_for_one_user_wait_together(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    async with opened(redis_server.url) as told:
        asked = calls(redis_server, "hgetall")
        outcomes = await asyncio.gather(*(told.store.fetch(ALICE) for _ in range(100)))
        assert {md5_of(outcome) for outcome in outcomes} == {md5_of(outcomes[0])}
        assert calls(redis_server, "hgetall") == asked + 1


async def test_one_who_gives_up_takes_the_answer_from_no_other(redis_server: RedisServer) -> None:
    await add(redis_server, "alice")
    async with opened(redis_server.url) as told:
        redis_server.freeze()
        first, second = (asyncio.ensure_future(told.store.fetch(ALICE)) for _ in range(2))
        await eventually(lambda: told.store._asked)
        first.cancel()
        redis_server.thaw()
        assert isinstance(await second, Found | Unavailable)
        assert first.cancelled()


async def test_too_many_questions_at_once_are_refused_without_asking(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "MAX_WAITING", 2)
    async with opened(redis_server.url) as told:
        names = [UsernameQuery(str(number)) for number in range(5)]
        outcomes = await asyncio.gather(*(told.store.fetch(name) for name in names))
        assert outcomes[:2] == [Unknown(), Unknown()]
        assert {type(outcome) for outcome in outcomes[2:]} == {Unavailable}
        assert all(isinstance(each, Unavailable) and each.crowded for each in outcomes[2:])
        assert told.store.away is None


async def test_a_crowd_of_names_takes_redis_from_nobody(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "ANSWER_LIMIT", 2 * BRIEF)
    await add(redis_server, "alice")
    async with opened(redis_server.url) as told:
        assert await told.knows(ALICE)
        turns = [told.store._turns.acquire() for _ in range(redis_store._ASKED_AT_ONCE)]
        await asyncio.gather(*turns)  # as if Redis were slow, and each of these waited for it
        told.store._cache.expire_all()
        outcomes = await asyncio.gather(told.store.fetch(ALICE), told.store.fetch(BOB))
        assert isinstance(outcomes[0], Found)
        assert outcomes[1] == Unavailable("too many users are asked for at once", crowded=True)
        assert told.store.away is None
        assert told.reports == []
        told.store._turns.release()
        assert await told.store.fetch(BOB) == Unknown()
        assert await told.store.fetch(UsernameQuery("carol")) == Unknown()  # turns are given back


async def test_a_name_too_long_for_a_user_name_is_not_asked_for(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as told:
        asked = calls(redis_server, "hgetall")
        assert await told.store.fetch(UsernameQuery("é" * 255)) == Unknown()
        assert calls(redis_server, "hgetall") == asked


async def test_without_notifications_changes_show_in_time(start_redis: StartRedis) -> None:
    server = await start_redis("--rename-command", "CLIENT", "")
    limits = CacheLimits(ttl=0.1, negative_ttl=0.1)
    async with opened(server.url, limits=limits) as told:
        assert await told.store.fetch(ALICE) == Unknown()
        await add(server, "alice")
        await eventually(lambda: told.knows(ALICE))
        async with redis_admin(server.url, REALM, "turnd") as admin:
            await admin.add_secret()
        await eventually(lambda: told.rest.candidates("1900000000:bob"))
        server.kill()
        await eventually(lambda: told.store.away)
        await server.start()
        await eventually(told.is_back)
        assert told.events() == ["redis_not_notifying", "redis_away", "redis_back"]


async def test_sentinel_fails_over(
    sentinel: tuple[RedisSentinel, RedisServer, RedisServer],
) -> None:
    watcher, master, replica = sentinel
    await add(master, "alice", "bob")
    await eventually(lambda: replica.command("DBSIZE") == 4)  # users and their hashes
    address = f"redis+sentinel://127.0.0.1:{watcher.port}/turn"
    await eventually(lambda: _replicas(watcher) == 1)
    async with opened(address) as told:
        before = await told.store.fetch(ALICE)
        assert told.store.endpoints == {
            ("127.0.0.1", watcher.port),
            ("127.0.0.1", master.port),
        }
        master.kill()
        await eventually(told.is_away)
        assert await told.store.fetch(ALICE) == before
        await eventually(told.is_back, limit=3 * LIMIT)  # a failover may need several attempts
        await eventually(lambda: told.knows(BOB))
        assert ("127.0.0.1", replica.port) in told.store.endpoints


def _replicas(watcher: RedisSentinel) -> int:
    words = watcher.command("SENTINEL", "MASTER", "turn")
    return int(words[words.index(b"num-slaves") + 1])


async def test_a_cluster_tells_changes_of_every_node(cluster: list[RedisServer]) -> None:
    address = f"redis+cluster://127.0.0.1:{cluster[0].port}"
    async with opened(address, schema=CoturnSchema(REALM)) as told:
        names = [UsernameQuery(f"user{number}") for number in range(12)]
        outcomes = [await told.store.fetch(name) for name in names]
        assert outcomes == [Unknown()] * 12
        async with redis_admin(address, REALM, "coturn") as admin:
            for name in names:
                await admin.add_user(name.username, "pw")
        for name in names:
            await eventually(partial(told.knows, name))
        assert {port for _, port in told.store.endpoints} == {node.port for node in cluster}


async def test_by_a_unix_socket_there_is_no_endpoint(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    path = tmp_path / "r.sock"
    server = await start_redis("--unixsocket", str(path))
    await add(server, "alice")
    async with opened(f"unix://{path}", start=False) as told:
        told.store.start()
        assert await told.knows(ALICE)
        await eventually(lambda: told.store.username_anonymity)
        assert told.store.endpoints == frozenset()


async def test_closing_ends_what_waits(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as told:
        redis_server.freeze()
        question = asyncio.ensure_future(told.store.fetch(ALICE))
        await eventually(lambda: told.store._asked)
        await told.store.close()
        await asyncio.wait({question}, timeout=LIMIT)
        assert question.cancelled()


async def test_closing_insists_where_a_cancellation_was_lost() -> None:
    class HardOfHearing(RedisLink):
        async def execute(self, *_: bytes | str | int) -> Any:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    link = HardOfHearing(parse_redis_address("redis://127.0.0.1:1"), LIMIT)
    rest = RestSecrets(REALM, (), time.time)
    store = RedisStore(link, TurndSchema(REALM), rest, StoreHooks(lambda *_: None))
    question = asyncio.ensure_future(store.fetch(ALICE))
    await eventually(lambda: store._asked)
    async with asyncio.timeout(LIMIT):
        await store.close()
    await asyncio.wait({question}, timeout=LIMIT)
    assert question.cancelled()


async def test_keys_of_tokens_are_kept_and_changes_show_at_once(redis_server: RedisServer) -> None:
    schemas: dict[Schema, tuple[str, str]] = {
        TurndSchema(REALM): (f"turnd:{{{REALM}}}:oauth:north", "key"),
        CoturnSchema(REALM): ("turn/oauth/kid/north", "ikm_key"),
    }
    north = KeyQuery("north")
    for schema, (record, field_name) in schemas.items():
        redis_server.command("HSET", record, field_name, KEY_TEXT)
        async with opened(redis_server.url, schema=schema) as told:
            found = FoundKey(TokenKey(TokenAlgorithm.A256GCM, KEY))
            assert await told.store.fetch(north) == found
            assert told.store.cached(north, time.monotonic()) == found
            assert await told.store.fetch(KeyQuery("south")) == Unknown()
            assert await told.store.fetch(KeyQuery("k" * 600)) == Unknown()
            redis_server.command("DEL", record)
            await eventually(partial(told.forgot, north))
            assert await told.store.fetch(north) == Unknown()
            redis_server.command("HSET", record, field_name, "no base64")
            await eventually(partial(told.forgot, north))
            assert await told.store.fetch(north) == Unknown()
            assert told.events() == ["redis_bad_record"]


async def test_a_key_of_tokens_stays_good_while_redis_is_away(redis_server: RedisServer) -> None:
    redis_server.command("HSET", f"turnd:{{{REALM}}}:oauth:north", "key", KEY_TEXT)
    async with opened(redis_server.url) as told:
        found = await told.store.fetch(KeyQuery("north"))
        redis_server.kill()
        await eventually(told.is_away)
        assert told.store.cached(KeyQuery("north"), time.monotonic() + 1e6) == found
        assert isinstance(await told.store.fetch(KeyQuery("south")), Unavailable)
