"""A real Redis, and a config file that names it."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.auth.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REALM = "a.example"


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    asyncio.run(server.start())
    try:
        yield server
    finally:
        server.kill()


def config_for(server: RedisServer, folder: Path, schema: str = "turnd") -> Path:
    """A config file with a further realm, `b.example`, on the same Redis."""
    auth = {"redis": server.url, "redis_schema": schema}
    further = {"listen": ["udp://127.0.0.1:3479"], "auth": auth}
    path = folder / f"{schema}.yaml"
    path.write_text(json.dumps({"realm": REALM, "auth": auth, "realms": {"b.example": further}}))
    return path
