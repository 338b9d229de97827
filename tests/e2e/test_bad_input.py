"""Floods and rubbish: they cost dropped packets, never memory, never the server."""

from __future__ import annotations

import contextlib
import random
import socket
from typing import TYPE_CHECKING

from tests.e2e.bare import TIMEOUT, request
from tests.e2e.calls import still_serves, two_allocated
from tests.e2e.nonsense import Nonsense
from tests.e2e.server import Server, serve
from turnd.stun.message import Method

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = 3000
MIB = 1024
UDP_MESSAGES, TCP_MESSAGES = 16_000, 4_000
MESSAGES = 10
"""Of each spoofed source."""
IN_FLIGHT = 80
"""Messages that the smallest receive buffer (208 KiB, with what the kernel adds) has room for."""
RESEND = 1.0
"""Seconds after which a request whose answer has not come is sent again."""
NO_LIMIT = {"unauthenticated_per_second": 0}


class RoundTrips:
    """A UDP client that can tell when the server has seen all that it sent."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(RESEND)
        self.socket.connect(("127.0.0.1", server.port))

    def ask(self, message: bytes) -> bytes:
        """Send until the answer of this transaction comes: a full queue loses requests, too."""
        for _ in range(int(TIMEOUT / RESEND)):
            self.socket.send(message)
            with contextlib.suppress(TimeoutError):
                while (answer := self.socket.recv(65536))[8:20] != message[8:20]:
                    continue
                return answer
        raise AssertionError(f"no answer in {TIMEOUT} s")

    def wait_for_server(self) -> None:
        """A Binding request is answered after everything that was sent before it."""
        self.ask(request(Method.BINDING))


def flood(server: Server, sources: int, seed: int) -> None:
    """Ten messages from each of so many addresses, one a /24 mostly; nobody reads the answers."""
    chance, waiter = random.Random(seed), RoundTrips(server)
    rubbish = Nonsense(seed)
    for number in range(sources):
        host = f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofed:
            spoofed.bind((host, 0))
            spoofed.connect(("127.0.0.1", server.port))
            for method in (Method.BINDING, Method.ALLOCATE, Method.REFRESH):
                spoofed.send(request(method))
            for _ in range(MESSAGES - 3):
                spoofed.send(rubbish.message())
        if number % (IN_FLIGHT // MESSAGES) == 0:
            waiter.wait_for_server()
    waiter.wait_for_server()
    waiter.socket.close()


async def test_a_flood_of_spoofed_sources_leaves_memory_flat(folder: Path) -> None:
    with serve(folder) as server:
        async with two_allocated(server) as (one, other):
            flood(server, sources=200, seed=1)
            before = server.memory_kib()
            flood(server, sources=SOURCES, seed=2)
            assert server.memory_kib() - before < 8 * MIB
            await one.sends_to(other, b"after the flood")
        await still_serves(server)


def udp_rubbish(server: Server, messages: int) -> None:
    client = RoundTrips(server)
    rubbish = Nonsense(3, challenge=client.ask(request(Method.ALLOCATE)))
    for number in range(messages):
        message = rubbish.message()
        if message:
            client.socket.send(message)
        if number % IN_FLIGHT == 0:
            client.wait_for_server()
    client.wait_for_server()
    client.socket.close()


def tcp_rubbish(server: Server, messages: int, per_connection: int = 8) -> None:
    rubbish = Nonsense(4)
    for _ in range(messages // per_connection):
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=TIMEOUT) as connection:
            connection.sendall(request(Method.ALLOCATE))
            challenge = connection.recv(65536)
            rubbish = Nonsense(rubbish_seed(rubbish), challenge=challenge)
            try:
                for _ in range(per_connection):
                    connection.sendall(rubbish.message())
            except OSError:
                continue  # garbage on a stream closes it, as it should


def rubbish_seed(rubbish: Nonsense) -> int:
    """A seed for the next connection, whose nonce is another."""
    return int.from_bytes(rubbish.valid()[-4:], "big")


async def test_20000_mutated_messages_do_no_harm(folder: Path) -> None:
    with serve(folder, limits=NO_LIMIT, log={"format": "json", "level": "warning"}) as server:
        async with two_allocated(server) as (one, other):
            udp_rubbish(server, UDP_MESSAGES)
            tcp_rubbish(server, TCP_MESSAGES)
            await one.sends_to(other, b"after the rubbish")
        await still_serves(server)
        assert server.get("/readyz")[0] == 200
        assert all(record["event"] for record in server.records())
