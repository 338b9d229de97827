"""Redis servers, as the tests of the store have them, and how long one waits for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.auth.conftest import redis_server, start_redis
from tests.waiting import LIMIT
from turnd.auth import redis_store, redis_watch
from turnd.auth.redis_connection import RedisLink
from turnd.runtime import credentials

__all__ = ["redis_server", "start_redis"]

WaitForRedis = Callable[[float], None]


@pytest.fixture
def wait_for_redis(monkeypatch: pytest.MonkeyPatch) -> WaitForRedis:
    """Sets the seconds: a machine busy with other tests may take longer than a client should."""

    def wait(limit: float) -> None:
        monkeypatch.setattr(redis_store, "ANSWER_LIMIT", limit)
        monkeypatch.setattr(redis_watch, "_QUIET", LIMIT)
        monkeypatch.setattr(credentials, "RedisLink", lambda address, _: RedisLink(address, limit))

    return wait


@pytest.fixture
def patient(wait_for_redis: WaitForRedis) -> None:
    """For tests of what Redis answers, and of what happens while it is waited for."""
    wait_for_redis(LIMIT)
