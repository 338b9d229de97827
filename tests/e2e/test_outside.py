"""Who watches the server may hang: relaying goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests.e2e.calls import client_of, still_serves, two_allocated
from tests.e2e.server import USER, Server, Surroundings, serve
from tests.waiting import eventually
from turnd.client.errors import ClientError

PIPE_SIZE = 4096


async def fail_to_log_in(server: Server) -> None:
    """One warning in the log."""
    async with client_of(server, user=(USER, "x" * 40)) as client:
        with pytest.raises(ClientError):
            await client.allocate()


async def test_a_log_reader_that_never_reads(folder: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    fill(writer)
    try:
        with serve(
            folder,
            surroundings=Surroundings(stdout=writer),
            log={"format": "json", "level": "debug"},
            limits={"unauthenticated_per_second": 0},
        ) as server:
            async with two_allocated(server) as (one, other):
                before = server.memory_kib()
                for _ in range(60):
                    await asyncio.gather(*(fail_to_log_in(server) for _ in range(10)))
                await one.sends_to(other, b"unheard")
                assert await one.client.refresh(600) == 600
            await still_serves(server)
            assert server.memory_kib() - before < 8 * 1024
    finally:
        os.close(reader)
        os.close(writer)


def fill(writer: int) -> None:
    """Leave no room in a pipe."""
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(PIPE_SIZE))
    except BlockingIOError:
        os.set_blocking(writer, True)


async def test_a_log_reader_that_goes_away(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with serve(folder, surroundings=Surroundings(stdout=writer)) as server:
            await still_serves(server)
    finally:
        os.close(writer)


async def test_scrapes_that_hang(folder: Path) -> None:
    """Half a request, or an answer that nobody takes: more of them than are let in."""
    with serve(folder) as server:
        hanging = [socket.create_connection(("127.0.0.1", server.admin_port)) for _ in range(50)]
        half = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
        try:
            for number, connection in enumerate(hanging):
                # Those over the bound may be closed already: that is an answer as well.
                with contextlib.suppress(ConnectionError):
                    connection.sendall(half + b"\r\n" if number % 2 else half)
            await still_serves(server)
        finally:
            for connection in hanging:
                connection.close()
        await eventually(lambda: server.get("/readyz")[0] == 200)


async def test_metrics_count_a_call_while_it_lasts(folder: Path) -> None:
    with serve(folder) as server:
        sample = 'turnd_allocations{family="ipv4",realm="turn.test",transport="udp"}'
        packets = 'turnd_relay_packets_total{direction="tx",leg="peer"}'
        async with two_allocated(server):
            assert server.metric(sample) == 2
            await eventually(lambda: server.metric(packets) == 2)
        await eventually(lambda: server.metric(sample) == 0)
        assert server.metric(packets) == 2


def test_root_is_given_up(folder: Path) -> None:
    """The process that relays is nobody's superuser, whoever started it."""
    with serve(folder) as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
        ids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in ids
        capabilities = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        assert int(capabilities.split()[1], 16) == 0
