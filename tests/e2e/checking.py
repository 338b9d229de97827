"""`turnd check` as an admin runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.server import TURND, USER, Server
from tests.e2e.test_turnutils import run

if TYPE_CHECKING:
    from tests.e2e.certificates import Authority


async def checked(
    server: Server, target: str, authority: Authority, *options: str
) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and reports of a check as a user of the server's config."""
    user = ("--config", str(server.config_file), "--user", USER)
    trust = ("--ca", str(authority.file))
    status, output = await run(str(TURND), "check", target, *user, *trust, *options, "--json")
    return status, json.loads(output)["transports"]


def steps(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By their names."""
    return {step["name"]: step for step in report["steps"]}
