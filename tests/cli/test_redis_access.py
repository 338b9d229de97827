from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turnd.cli.realms import find_realm
from turnd.cli.redis_access import day, redis_address
from turnd.config.loader import load_text

if TYPE_CHECKING:
    from tests.cli.conftest import Run

Write = Callable[..., Path]


def address_of(redis: str, authority: str | None = None) -> str:
    more = f", redis_tls_ca: {authority}" if authority else ""
    config = load_text(f"auth: {{redis: '{redis}'{more}}}", "config.yaml", {})
    return redis_address(find_realm(config, None))


@pytest.mark.parametrize(
    ("redis", "authority", "address"),
    [
        ("redis://h/0", None, "redis://h/0"),
        ("rediss://h/0", "/etc/c a.pem", "rediss://h/0?ssl_ca_certs=/etc/c%20a.pem"),
        ("rediss://h/0?db=1", "/ca.pem", "rediss://h/0?db=1&ssl_ca_certs=/ca.pem"),
        ("ip=h dbname=0 tls=1", "/ca.pem", "ip=h dbname=0 tls=1 ca=/ca.pem"),
    ],
)
def test_the_address_with_its_authority(redis: str, authority: str | None, address: str) -> None:
    assert address_of(redis, authority) == address


def test_no_redis_in_the_config(run: Run, config: Write) -> None:
    config(auth={"users": {"alice": "s3cret"}})

    result = run("user", "list")

    assert result.status == 78
    assert result.err == "turnd: the realm 'turnd' has no Redis: set auth.redis in the config\n"


def test_redis_is_away(run: Run, config: Write) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config(auth={"redis": f"redis://:hidden@127.0.0.1:{port}/0"})

    result = run("secret", "list")

    assert result.status == 69
    assert result.err.startswith("turnd: Redis: ")
    assert len(result.err.splitlines()) == 1
    assert "hidden" not in result.err


def test_an_address_that_is_none(run: Run, config: Write) -> None:
    config(auth={"redis": "redis://127.0.0.1/0?nope=1"})

    result = run("user", "list")

    assert result.status == 78
    assert "nope" in result.err


def test_days() -> None:
    assert day(None) == ""
    assert day(0.0) == "1970-01-01 00:00"
    assert day(1.7e12) == "1.7e+12"  # milliseconds, which another program has written
    assert day(1e300) == "1e+300"
