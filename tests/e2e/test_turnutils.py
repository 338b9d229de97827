"""coturn's own clients. `turnutils_uclient` exits 0 whatever it loses, so its counts are read."""

from __future__ import annotations

import asyncio
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.server import LIMIT, PASSWORD, SECRET, USER, Server, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

MESSAGES = 25
MOST_STARTS = 300
"""Two channel numbers at random fit once in 16 times: 300 failures are one in 250 million."""
PAUSE = {"udp": 10, "dtls": 10, "tcp": 10, "tls": 50}
"""Milliseconds between messages. The client leaves messages unread that share a TLS record or a
segment with others, so that by TLS there must be time between them."""
MORE_RUNS = {"udp": 0, "dtls": 0, "tcp": 0, "tls": 3}
"""How often to run it again: where the machine is busy that is not enough time."""
BY_USER = ("-u", USER, "-w", PASSWORD)
BY_SECRET = ("-u", "bob", "-W", SECRET)
LEGS: dict[str, tuple[str, ...]] = {
    "udp": (), "dtls": ("-S",), "tcp": ("-t",), "tls": ("-t", "-S"),
}  # fmt: skip
HOSTS = {"127.0.0.1": ("-X",), "::1": ("-x",)}


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


async def run(*command: str) -> tuple[int, str]:
    """Exit status and output of a client that must end by itself."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 2 * LIMIT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def run_until_channels_fit(*command: str) -> str:
    """Output of `turnutils_uclient`, which must end with status 0.

    By channels (no `-s`) the client picks numbers as RFC 5766 has them, 0x4000 to 0x7FFF, of which
    RFC 8656 leaves a quarter: it is started again until all of its numbers are among those.
    """
    status, output = await run(*command)
    for _ in range(MOST_STARTS):
        if "-s" in command or "channel bind: error 400" not in output:
            break
        status, output = await run(*command)
    assert status == 0, output
    return output


async def loses_nothing(leg: str, *command: str) -> tuple[Counts, str]:
    """Counts and output of `turnutils_uclient`; every message of every client must have come back.

    Args:
        leg: how it comes to the server.
        command: with the options for that.
    """
    output = await run_until_channels_fit(*command)
    counts = counts_of(output)
    for _ in range(MORE_RUNS[leg]):
        if counts.received == counts.sent:
            break
        output = await run_until_channels_fit(*command)
        counts = counts_of(output)
    assert counts.received == counts.sent, output
    assert "Total lost packets 0 " in output, output
    return counts, output


async def uclient(server: Server, leg: str, host: str, *options: str) -> None:
    """One run that loses nothing."""
    port = server.tls_port if "-S" in LEGS[leg] else server.port
    load = ("-n", str(MESSAGES), "-z", str(PAUSE[leg]), "-l", "170", "-p", str(port))
    counts, output = await loses_nothing(
        leg, "turnutils_uclient", *load, *LEGS[leg], *options, host
    )
    assert counts.sent >= MESSAGES, output


async def side_by_side(*runs: Coroutine[None, None, None]) -> None:
    """All of them; the first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        for each in runs:
            group.create_task(each)


@contextmanager
def echoing(port: int, *hosts: str, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """coturn's UDP echo, once it is bound to all of `hosts`; `prefix` may bring it elsewhere."""
    where = (word for host in hosts for word in ("-L", host))
    command = [*prefix, "turnutils_peer", *where, "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: udp_sockets(process.pid, port) == len(hosts), "the echo is bound")
        yield
    finally:
        process.terminate()
        process.wait(LIMIT)


def udp_sockets(pid: int, port: int) -> int:
    """How many UDP sockets the network of a process has at a port."""
    tables = (Path(f"/proc/{pid}/net/{name}").read_text() for name in ("udp", "udp6"))
    bound = (line.split()[1] for table in tables for line in table.splitlines()[1:])
    return sum(address.endswith(f":{port:04X}") for address in bound)


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """coturn's UDP echo as the peer, on both loopback addresses."""
    port = free_port()
    with echoing(port, "127.0.0.1", "::1"):
        yield port


async def test_indications_between_clients(server: Server) -> None:
    """Two clients a run, from relayed address to relayed address of the same server."""
    await side_by_side(
        *(
            uclient(server, leg, host, "-y", "-s", "-m", "2", *family, *BY_USER)
            for leg in LEGS
            for host, family in HOSTS.items()
        )
    )


async def test_channels_to_a_peer(server: Server, echo_port: int) -> None:
    await side_by_side(
        *(
            uclient(server, leg, host, "-c", *family, "-e", host, "-r", str(echo_port), *BY_USER)
            for leg in LEGS
            for host, family in HOSTS.items()
        )
    )


async def test_credentials_by_rest_secret(server: Server, echo_port: int) -> None:
    """By every leg, and through channels between two clients."""
    await side_by_side(
        uclient(server, "udp", "127.0.0.1", "-y", "-c", *BY_SECRET),
        *(uclient(server, leg, "127.0.0.1", "-y", "-s", *BY_SECRET) for leg in LEGS),
    )


async def test_odd_requests(server: Server, echo_port: int) -> None:
    """Don't-fragment, padded ChannelData by UDP, permissions asked for many times."""
    peer = ("-c", "-e", "127.0.0.1", "-r", str(echo_port), *BY_USER)
    await side_by_side(
        uclient(server, "udp", "127.0.0.1", "-g", "-s", *peer),
        uclient(server, "udp", "127.0.0.1", "-D", *peer),
        uclient(server, "udp", "127.0.0.1", "-G", "-s", *peer),
    )


async def test_a_wrong_password_gets_no_allocation(server: Server) -> None:
    load = ("-n", "1", "-y", "-s", "-p", str(server.port))
    wrong = ("-u", USER, "-w", "wrong")
    _, output = await run("turnutils_uclient", *load, *wrong, "127.0.0.1")
    assert "Cannot complete Allocation" in output, output
    assert "tot_recv_msgs" not in output, output


@pytest.mark.parametrize("host", HOSTS)
async def test_stunclient_sees_its_own_address(server: Server, host: str) -> None:
    status, output = await run("turnutils_stunclient", "-p", str(server.port), host)
    family = "IPv6" if ":" in host else "IPv4"
    assert status == 0, output
    assert re.search(rf"{family}\. UDP reflexive addr: \[?{re.escape(host)}\]?:\d+", output), output
