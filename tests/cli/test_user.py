from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.redis_config import REALM, config_for, redis_server
from turnd.stun.keys import PasswordAlgorithm, long_term_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.auth.redis_server import RedisServer
    from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def path(redis: RedisServer, elsewhere: Path) -> Path:
    redis.command("FLUSHALL")
    return config_for(redis, elsewhere)


def key_of(redis: RedisServer, user: str, realm: str = REALM) -> bytes:
    digits = redis.command("HGET", f"turnd:{{{realm}}}:user:{user}", "sha256")
    return bytes.fromhex(digits.decode())


def expected(user: str, password: str, realm: str = REALM) -> bytes:
    return long_term_key(user, realm, password, PasswordAlgorithm.SHA256)


def users(run: Run, path: Path, *words: str) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = run("user", "list", "--config", path, "--json", *words).json
    return listed


def test_from_adding_to_removing(run: Run, path: Path, redis: RedisServer) -> None:
    where = ("--config", path)
    added = run("user", "add", "alice", "--stdin", "--quota", "5", *where, stdin="s3cret\n")
    assert added == (0, "", "")
    assert key_of(redis, "alice") == expected("alice", "s3cret")

    assert run("user", "passwd", "alice", "--stdin", *where, stdin="other\n").status == 0
    assert key_of(redis, "alice") == expected("alice", "other")

    assert run("user", "disable", "alice", *where).status == 0
    (listed,) = users(run, path)
    created = listed.pop("created")
    assert isinstance(created, (int, float))
    assert listed == {"user": "alice", "quota": 5, "disabled": True}

    assert run("user", "enable", "alice", *where).status == 0
    assert users(run, path)[0]["disabled"] is False

    assert run("user", "remove", "alice", *where).status == 0
    assert users(run, path) == []


def test_the_list_for_people(run: Run, path: Path) -> None:
    for name in ("bob", "alice"):
        run("user", "add", name, "--stdin", "--config", path, stdin="s3cret\n")
    run("user", "disable", "bob", "--config", path)

    lines = run("user", "list", "--config", path).out.splitlines()

    assert lines[0].split() == ["USER", "QUOTA", "STATE", "CREATED"]
    assert [line.split()[:2] for line in lines[1:]] == [["alice", "enabled"], ["bob", "disabled"]]
    assert "s3cret" not in "".join(lines)


def test_a_further_realm(run: Run, path: Path, redis: RedisServer) -> None:
    words = ("--config", path, "--realm", "b.example")

    run("user", "add", "alice", "--stdin", *words, stdin="s3cret\n")

    assert key_of(redis, "alice", "b.example") == expected("alice", "s3cret", "b.example")
    assert users(run, path) == []
    assert len(users(run, path, "--realm", "b.example")) == 1


@pytest.mark.parametrize("verb", ["passwd", "disable", "enable", "remove"])
def test_no_such_user(run: Run, path: Path, verb: str) -> None:
    words = ["--stdin"] if verb == "passwd" else []

    result = run("user", verb, "nobody", *words, "--config", path, stdin="s3cret\n")

    assert result.status == 65
    assert result.err == "turnd: there is no user 'nobody'\n"


def test_a_name_that_is_taken(run: Run, path: Path) -> None:
    words = ("user", "add", "alice", "--stdin", "--config", path)
    assert run(*words, stdin="s3cret\n").status == 0

    result = run(*words, stdin="s3cret\n")

    assert result.status == 65
    assert "exists already" in result.err


def test_no_password_without_a_terminal_or_stdin(run: Run, path: Path) -> None:
    result = run("user", "add", "alice", "--config", path, stdin="s3cret\n")

    assert result.status == 64
    assert "--stdin" in result.err
    assert users(run, path) == []


def test_a_password_is_no_argument(run: Run, path: Path) -> None:
    result = run("user", "add", "alice", "s3cret", "--config", path)

    assert result.status == 64
    assert users(run, path) == []


def test_coturns_schema(run: Run, redis: RedisServer, elsewhere: Path) -> None:
    redis.command("FLUSHALL")
    path = config_for(redis, elsewhere, "coturn")

    run("user", "add", "alice", "--stdin", "--config", path, stdin="s3cret\n")

    key = redis.command("GET", f"turn/realm/{REALM}/user/alice/key")
    assert key.decode() == long_term_key("alice", REALM, "s3cret", PasswordAlgorithm.MD5).hex()
    result = run("user", "disable", "alice", "--config", path)
    assert result.status == 65
    assert "cannot disable" in result.err
