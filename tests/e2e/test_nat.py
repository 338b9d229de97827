"""Behind 1:1 NAT: the server is bound to 10.0.0.5 and announced as 203.0.113.7.

Two clients address each other at 203.0.113.7. Nothing translates packets from the server to its
own public address (no hairpin), so that only the server itself can bring them together. Everything
happens in network namespaces that the test makes and that end with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.namespaces import Namespace, join, new_namespace
from tests.e2e.server import PASSWORD, USER, Server, Surroundings, serve
from tests.e2e.test_turnutils import (
    Counts,
    counts_of,
    echoing,
    run_until_channels_fit,
    side_by_side,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSIDE, OUTSIDE, CLIENT = "10.0.0.5", "203.0.113.7", "10.0.0.20"
MESSAGES = 5


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Namespace, Namespace]]:
    """The server's host and the clients', on one network; 203.0.113.7 is nowhere."""
    with new_namespace() as server_host, new_namespace(beside=server_host) as client_host:
        join(server_host, [f"{INSIDE}/24"], client_host, [f"{CLIENT}/24"])
        server_host.run("ip", "route", "add", "unreachable", f"{OUTSIDE}/32")
        yield server_host, client_host


@pytest.fixture(scope="module")
def server(hosts: tuple[Namespace, Namespace], folders: Path) -> Iterator[Server]:
    """The default peer policy: 10.0.0.5 and 203.0.113.7 are special-purpose addresses to it."""
    with serve(
        folders / "nat",
        surroundings=Surroundings(prefix=hosts[0].server_prefix, is_remote=True),
        listen=[f"udp://{INSIDE}:3478", f"tcp://{INSIDE}:3478"],
        relay={"addresses": [f"{INSIDE}={OUTSIDE}"]},
        peers={},
    ) as running:
        yield running


async def uclient(host: Namespace, *options: str) -> tuple[Counts, str]:
    """What a client counts, and all that it says."""
    load = ("-v", "-c", "-n", str(MESSAGES), "-z", "5", "-p", "3478", "-u", USER, "-w", PASSWORD)
    output = await run_until_channels_fit(
        *host.prefix, "turnutils_uclient", *load, *options, INSIDE
    )
    return counts_of(output), output


async def reaches_itself(host: Namespace, *options: str) -> None:
    """`-y`: each client of a pair sends to the other's relayed address, as it was announced."""
    counts, output = await uclient(host, "-y", *options)
    assert set(re.findall(r"Received relay addr: ([\d.]+):", output)) == {OUTSIDE}, output
    assert counts.sent == counts.received >= MESSAGES, output


async def test_clients_reach_each_other_at_the_announced_address(
    server: Server, hosts: tuple[Namespace, Namespace]
) -> None:
    await side_by_side(*(reaches_itself(hosts[1], *how) for how in (["-s"], [], ["-t", "-s"])))
    assert not server.logged("auth_failed")


@pytest.fixture
def echo_port(hosts: tuple[Namespace, Namespace]) -> Iterator[int]:
    """An echo on the server's host, at a port that is no relayed address."""
    with echoing(9999, INSIDE, prefix=hosts[0].prefix):
        yield 9999


async def does_not_reach(host: Namespace, port: int, *options: str) -> None:
    counts, output = await uclient(host, *options, "-e", OUTSIDE, "-r", str(port))
    assert counts.sent >= MESSAGES, output
    assert counts.received == 0, output


async def test_nothing_else_of_the_host_is_reached_by_it(
    server: Server, hosts: tuple[Namespace, Namespace], echo_port: int
) -> None:
    await side_by_side(*(does_not_reach(hosts[1], echo_port, *how) for how in ([], ["-s"])))
