from __future__ import annotations

import pytest

from turnd.cli.errors import CommandError
from turnd.cli.realms import find_realm
from turnd.config.loader import load_text

CONFIG = load_text(
    "realm: a.example\n"
    "realms:\n"
    "  b.example:\n"
    "    listen: ['udp://0.0.0.0:3479']\n"
    "    auth: {secrets: [x]}\n",
    "config.yaml",
    {},
)


def test_the_servers_own_realm() -> None:
    assert find_realm(CONFIG, None).name == "a.example"


def test_a_further_realm() -> None:
    assert find_realm(CONFIG, "b.example").name == "b.example"


def test_no_such_realm() -> None:
    with pytest.raises(CommandError, match=r"it has a\.example, b\.example") as caught:
        find_realm(CONFIG, "c.example")

    assert caught.value.status == 64
