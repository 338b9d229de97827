from __future__ import annotations

import pytest

from tests.auth.records import Records
from tests.tokens import KEY, KEY_TEXT
from turnd.auth.access_token import TokenAlgorithm, TokenKey
from turnd.auth.credentials import KeyQuery, Name, UserhashQuery, UsernameQuery
from turnd.auth.redis_schema import (
    BadRecordError,
    Change,
    RealmOptions,
    SecretRecord,
    TurndSchema,
    names_of,
    number_of,
    parse_secrets,
)
from turnd.auth.rest import MAX_SECRETS
from turnd.stun.keys import PasswordAlgorithm, long_term_key, userhash

MD5, SHA256 = PasswordAlgorithm.MD5, PasswordAlgorithm.SHA256
REALM = "example.org"
ALICE = b"turnd:{example.org}:user:alice"
SCHEMA = TurndSchema(REALM)


def record(**more: bytes) -> dict[bytes, bytes]:
    keys = {
        b"md5": long_term_key("alice", REALM, "pw", MD5).hex().encode(),
        b"sha256": long_term_key("alice", REALM, "pw", SHA256).hex().encode(),
        b"created": b"1700000000",
    }
    return keys | {name.encode(): value for name, value in more.items()}


def with_index(fields: dict[bytes, bytes]) -> Records:
    digest = userhash("alice", REALM).hex().encode()
    index = b"turnd:{example.org}:userhash:" + digest
    return Records(hashes={ALICE: fields}, strings={index: b"alice"})


async def test_a_user_is_found_by_name_and_by_hash() -> None:
    records = with_index(record(quota=b"5"))
    for name in names_of("alice", REALM):
        found = await SCHEMA.read_user(records.execute, name)
        assert found is not None
        assert (found.user, found.quota_user, found.quota) == ("alice", "alice", 5)
        assert found.source == "redis"
        assert found.keys[MD5] == long_term_key("alice", REALM, "pw", MD5)
        assert found.keys[SHA256] == long_term_key("alice", REALM, "pw", SHA256)


async def test_known_and_unknown_users_cost_the_same_commands() -> None:
    strangers: tuple[Name, ...] = (UsernameQuery("bob"), UserhashQuery(b"\xff" * 32))
    for known, unknown in zip(names_of("alice", REALM), strangers, strict=True):
        records = with_index(record())
        assert await SCHEMA.read_user(records.execute, known) is not None
        commands = [command for command, _ in records.asked]
        records.asked.clear()
        assert await SCHEMA.read_user(records.execute, unknown) is None
        assert [command for command, _ in records.asked] == commands


@pytest.mark.parametrize(("flag", "known"), [(b"1", False), (b"yes", False), (b"0", True)])
async def test_a_disabled_user_is_as_good_as_none(flag: bytes, known: bool) -> None:
    records = with_index(record(disabled=flag))
    for name in names_of("alice", REALM):
        assert (await SCHEMA.read_user(records.execute, name) is not None) is known


async def test_an_index_that_leads_to_another_user_proves_nothing() -> None:
    records = with_index(record())
    records.strings[b"turnd:{example.org}:userhash:" + b"00" * 32] = b"alice"
    assert await SCHEMA.read_user(records.execute, UserhashQuery(b"\0" * 32)) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"md5": b"zz"},
        {"md5": b"\xff"},
        {"sha256": b"00" * 31},
        {"md5": b"00" * 15},
        {"quota": b"many"},
        {"quota": b"-1"},
        {"quota": b"1" * 16},
    ],
)
async def test_a_malformed_record_is_said_to_be_so(broken: dict[str, bytes]) -> None:
    with pytest.raises(BadRecordError) as caught:
        await SCHEMA.read_user(with_index(record(**broken)).execute, UsernameQuery("alice"))
    assert "zz" not in str(caught.value)


async def test_a_record_without_keys_is_malformed() -> None:
    with pytest.raises(BadRecordError, match="keys are missing"):
        await SCHEMA.read_user(with_index({b"created": b"1"}).execute, UsernameQuery("alice"))


@pytest.mark.parametrize("user", ["*", "a}b", "{a", "user:x", "\n", "\0", "é" * 250])
async def test_a_name_is_only_ever_the_tail_of_its_key(user: str) -> None:
    records = Records()
    assert await SCHEMA.read_user(records.execute, UsernameQuery(user)) is None
    assert records.asked == [("HGETALL", b"turnd:{example.org}:user:" + user.encode())]


def test_the_realm_is_the_hash_tag_whatever_it_holds() -> None:
    assert TurndSchema("a}b{c%").prefixes == (b"turnd:{a%7Db%7Bc%25}:",)


async def test_secrets_the_newest_first() -> None:
    old = SecretRecord("aa", "one", 100.0, 5000.0)
    new = SecretRecord("bb", "two", 200.0, None, "sha256")
    fields = {one.identifier.encode(): one.to_json().encode() for one in (old, new)}
    assert parse_secrets(fields) == [new, old]
    secrets = await SCHEMA.read_secrets(Records(hashes={SCHEMA.secrets_key: fields}).execute)
    assert [(one.label, one.value, one.not_after, one.hash_name) for one in secrets] == [
        ("redis secret bb", b"two", None, "sha256"),
        ("redis secret aa", b"one", 5000.0, "sha1"),
    ]


async def test_too_many_secrets_are_cut() -> None:
    fields = {b"%d" % n: b'{"secret": "s%d"}' % n for n in range(100)}
    secrets = await SCHEMA.read_secrets(Records(hashes={SCHEMA.secrets_key: fields}).execute)
    assert len(secrets) == MAX_SECRETS


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"plain",
        b'{"secret": ""}',
        b'{"secret": " "}',
        b'{"secret": null}',
        b'{"secret": 5}',
        b'{"secret": "x", "expires": "soon"}',
        b'{"secret": "x", "hash": "md5"}',
        b'{"secret": "\\ud800"}',
        b'{"secret": "x", "created": 1' + b"0" * 400 + b"}",
        b'{"secret": "x", "created": NaN}',
        b'{"secret": "x", "expires": 1e999}',
        b"[" * 100_000,
        b"\xff",
        b'"x"',
    ],
)
def test_malformed_secrets_are_said_to_be_so(text: bytes) -> None:
    with pytest.raises(BadRecordError) as caught:
        parse_secrets({b"aa": text})
    assert "plain" not in str(caught.value)


async def test_the_realm_has_no_options_here() -> None:
    assert await SCHEMA.read_options(Records().execute) == RealmOptions(None, None)


def test_what_a_changed_key_bears_on() -> None:
    assert SCHEMA.change(ALICE) == Change(names=names_of("alice", REALM))
    assert SCHEMA.change(b"turnd:{example.org}:secrets") == Change(realm=True)
    assert SCHEMA.change(b"turnd:{example.org}:userhash:00") == Change()
    assert SCHEMA.change(b"turnd:{example.org}:user:\x00") == Change(names=(UsernameQuery("\0"),))


def test_numbers() -> None:
    assert number_of(None, "x") is None
    assert number_of(b"0", "x") == 0
    with pytest.raises(BadRecordError, match="the quota is no number"):
        number_of(b"", "the quota")


TOKEN_KEY = b"turnd:{example.org}:oauth:north"


async def test_keys_of_tokens() -> None:
    record = {
        b"key": KEY_TEXT.encode(),
        b"algorithm": b"A128GCM",
        b"timestamp": b"1700000000",
        b"lifetime": b"3600",
    }
    key = await SCHEMA.read_key(Records(hashes={TOKEN_KEY: record}).execute, "north")
    assert key == TokenKey(TokenAlgorithm.A128GCM, KEY[:16], 1_700_003_600)
    bare = Records(hashes={TOKEN_KEY: {b"key": KEY_TEXT.encode()}})
    assert await SCHEMA.read_key(bare.execute, "north") == TokenKey(TokenAlgorithm.A256GCM, KEY)
    assert await SCHEMA.read_key(bare.execute, "south") is None


@pytest.mark.parametrize(
    "record",
    [
        {b"algorithm": b"A256GCM"},
        {b"key": b"zz"},
        {b"key": KEY_TEXT.encode(), b"algorithm": b"ROT13"},
        {b"key": b"\xff"},
        {b"key": KEY_TEXT.encode(), b"timestamp": b"today"},
        {b"key": KEY_TEXT.encode(), b"lifetime": b"-1"},
    ],
)
async def test_a_malformed_key_of_tokens_is_said_to_be_so(record: dict[bytes, bytes]) -> None:
    with pytest.raises(BadRecordError) as caught:
        await SCHEMA.read_key(Records(hashes={TOKEN_KEY: record}).execute, "north")
    assert KEY_TEXT not in str(caught.value)


def test_a_changed_key_of_tokens_is_a_name_to_forget() -> None:
    assert SCHEMA.change(TOKEN_KEY) == Change(names=(KeyQuery("north"),))
