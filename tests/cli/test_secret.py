from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.redis_config import config_for, redis_server

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


def secrets(run: Run, path: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = run("secret", "list", "--show", "--json", "--config", path).json
    return listed


def test_a_random_secret_is_printed_alone(run: Run, path: Path) -> None:
    result = run("secret", "add", "--config", path)

    (listed,) = secrets(run, path)
    assert result.status == 0
    assert result.out == f"{listed['secret']}\n"
    assert len(listed["secret"]) > 30
    assert listed["id"] in result.err


def test_a_given_secret(run: Run, path: Path) -> None:
    made = run("secret", "add", "--stdin", "--json", "--config", path, stdin="north\n").json

    assert made["secret"] == "north"
    assert made["expires"] is None
    assert secrets(run, path) == [made]


def test_rotation_leaves_the_old_ones_their_grace(run: Run, path: Path) -> None:
    old = run("secret", "add", "--json", "--config", path).json

    new = run("secret", "rotate", "--grace", "2h", "--json", "--config", path).json

    by_id = {each["id"]: each for each in secrets(run, path)}
    assert by_id[new["id"]]["expires"] is None
    assert abs(by_id[old["id"]]["expires"] - time.time() - 7200) < 60


def test_rotation_to_a_given_secret_at_once(run: Run, path: Path) -> None:
    run("secret", "add", "--config", path)

    result = run("secret", "rotate", "--grace", "0", "--stdin", "--config", path, stdin="south\n")

    assert result.out == "south\n"
    ended = [each for each in secrets(run, path) if each["expires"] is not None]
    assert len(ended) == 1
    assert ended[0]["expires"] <= time.time()


def test_the_list_hides_the_secrets(run: Run, path: Path) -> None:
    run("secret", "add", "--stdin", "--config", path, stdin="north\n")

    table = run("secret", "list", "--config", path).out
    shown = run("secret", "list", "--show", "--config", path).out

    assert table.splitlines()[0].split() == ["ID", "CREATED", "ENDS", "HASH"]
    assert "north" not in table
    assert "north" in shown
    assert "secret" not in run("secret", "list", "--json", "--config", path).json[0]


@pytest.mark.parametrize("verb", ["add", "rotate"])
def test_a_secret_for_another_hash(verb: str, run: Run, path: Path) -> None:
    made = run("secret", verb, "--hash", "sha256", "--json", "--config", path).json

    assert made["hash"] == "sha256"
    assert secrets(run, path) == [made]
    assert "sha256" in run("secret", "list", "--config", path).out
    assert run("secret", verb, "--hash", "md5", "--config", path).status == 64


def test_removing(run: Run, path: Path) -> None:
    made = run("secret", "add", "--json", "--config", path).json

    assert run("secret", "remove", made["id"], "--config", path) == (0, "", "")
    assert secrets(run, path) == []
    result = run("secret", "remove", made["id"], "--config", path)
    assert result.status == 65
    assert "there is no secret" in result.err


def test_usage(run: Run, path: Path) -> None:
    assert run("secret", "rotate", "--grace", "never", "--config", path).status == 64
    assert run("secret", "add", "--stdin", "--config", path, stdin="\n").status == 64
    assert secrets(run, path) == []
