"""coturn's own clients. `turnutils_uclient` exits 0 whatever it loses, so its counts are read."""

from __future__ import annotations

import asyncio
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.server import PASSWORD, SECRET, USER, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

MESSAGES = 25
CLIENTS = 2
PAUSE = {"udp": 10, "tcp": 10, "tls": 50}
"""Milliseconds between messages. The client leaves messages unread that share a TLS record or a
segment with others, so that by TLS there must be time between them."""
BY_USER = ("-u", USER, "-w", PASSWORD)
BY_SECRET = ("-u", "bob", "-W", SECRET)
AT_ONCE = asyncio.Semaphore(8)


@dataclass(frozen=True)
class Counts:
    sent: int
    received: int


def counts_of(output: str) -> Counts:
    """The last totals that the client printed; none at all when it got no allocation."""
    found = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)$", output, re.MULTILINE)
    assert found, output
    sent, received = found[-1]
    return Counts(int(sent), int(received))


async def run(*command: str) -> str:
    """Output of a client that must end by itself, with status 0, within 40 s."""
    async with AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 40)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def uclient(server: Server, leg: str, host: str, *options: str) -> None:
    """One run; every message of every client must have come back."""
    port = server.tls_port if leg == "tls" else server.port
    load = ("-n", str(MESSAGES), "-m", str(CLIENTS), "-z", str(PAUSE[leg]), "-l", "170")
    output = await run("turnutils_uclient", *load, "-p", str(port), *LEGS[leg], *options, host)
    counts = counts_of(output)
    assert counts.sent >= MESSAGES * CLIENTS, output
    assert counts.received == counts.sent, output
    assert "Total lost packets 0 " in output, output


async def side_by_side(*runs: Coroutine[None, None, None]) -> None:
    """All of them; the first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        for each in runs:
            group.create_task(each)


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """coturn's UDP echo as the peer, on both loopback addresses."""
    port = free_port()
    command = ["turnutils_peer", "-L", "127.0.0.1", "-L", "::1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield port
    process.terminate()
    process.wait(10)


LEGS = {"udp": (), "tcp": ("-t",), "tls": ("-t", "-S")}
HOSTS = {"127.0.0.1": ("-X",), "::1": ("-x",)}
MOVES = {"channels": (), "indications": ("-s",)}


async def test_every_leg_family_and_way_between_clients(server: Server) -> None:
    """12 runs at once: client to client through two relayed addresses of the server."""
    await side_by_side(
        *(
            uclient(server, leg, host, "-y", *family, *move, *BY_USER)
            for leg in LEGS
            for host, family in HOSTS.items()
            for move in MOVES.values()
        )
    )


async def test_credentials_by_rest_secret_on_every_leg(server: Server) -> None:
    await side_by_side(*(uclient(server, leg, "127.0.0.1", "-y", *BY_SECRET) for leg in LEGS))


async def test_a_peer_that_echoes(server: Server, echo_port: int) -> None:
    """The peer is no client of the server; with don't-fragment, padding and extra requests too."""
    await side_by_side(
        *(
            uclient(server, "udp", host, *options, "-e", host, "-r", str(echo_port), *BY_USER)
            for host, family in HOSTS.items()
            for options in (family, (*family, "-s"), (*family, "-g"), (*family, "-D", "-G"))
        )
    )


async def test_one_allocation_with_both_families(server: Server) -> None:
    await uclient(server, "udp", "127.0.0.1", "-y", "-Z", *BY_USER)


async def test_a_wrong_password_gets_no_allocation(server: Server) -> None:
    load = ("-n", "1", "-m", "1", "-y", "-p", str(server.port))
    process = await asyncio.create_subprocess_exec(
        *("turnutils_uclient", *load, "-u", USER, "-w", "wrong", "127.0.0.1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 40)
    assert b"Cannot complete Allocation" in output, output.decode()
    assert b"tot_recv_msgs" not in output, output.decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_stunclient_sees_its_own_address(server: Server, host: str) -> None:
    output = await run("turnutils_stunclient", "-p", str(server.port), host)
    family = "IPv6" if ":" in host else "IPv4"
    assert re.search(rf"{family}\. UDP reflexive addr: \[?{re.escape(host)}\]?:\d+", output), output
