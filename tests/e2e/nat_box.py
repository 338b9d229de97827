"""A NAT between a client and a server: mapping and filtering as RFC 4787 names them.

The server is bound to two hosts and announces two others, at which this NAT stands in for it: what
a client sends there goes on to the bound host from the NAT's outside, and what the server sends to
the outside comes to the client from the announced host, if the filter lets it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.namespaces import LIMIT, Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Address = tuple[str, int]


class Dependence(Enum):
    """On what a mapping depends, or whom a filter lets through (RFC 4787 sections 4.1 and 5)."""

    NOTHING = "Endpoint Independent"
    ADDRESS = "Address Dependent"
    ADDRESS_AND_PORT = "Address and Port Dependent"

    def part_of(self, remote: Address) -> Address | str | None:
        """What of a remote endpoint counts."""
        if self is Dependence.NOTHING:
            return None
        return remote[0] if self is Dependence.ADDRESS else remote


@dataclass(frozen=True)
class Way:
    """The server and the NAT before it."""

    bound_of: Mapping[str, str]
    """Announced host → bound host."""
    ports: Sequence[int]
    """The server's."""
    outside: str
    """The NAT's own host."""


@dataclass
class OutsidePort:
    """Whose it is, and whom that client has sent to."""

    client: Address
    transport: asyncio.DatagramTransport
    sent_to: set[Address] = field(default_factory=set)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, received: asyncio.Queue[tuple[bytes, Address, object]], key: object) -> None:
        self._received = received
        self._key = key

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received.put_nowait((data, addr, self._key))


class NatBox:
    """The NAT itself."""

    def __init__(self, way: Way, mapping: Dependence, filtering: Dependence) -> None:
        self._way = way
        self._announced_of = {bound: announced for announced, bound in way.bound_of.items()}
        self._mapping = mapping
        self._filtering = filtering
        self._inside: dict[Address, asyncio.DatagramTransport] = {}
        self._mappings: dict[object, OutsidePort] = {}
        self._received: asyncio.Queue[tuple[bytes, Address, object]] = asyncio.Queue()

    async def run(self) -> None:
        """Stand in for the server at every announced host and port; carry packets for ever."""
        for local in product(self._way.bound_of, self._way.ports):
            self._inside[local] = await self._bind(local, local)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            data, source, key = await self._received.get()
            for local in self._inside.keys() & {key}:
                await self._outwards(data, source, local)
            for mapping in self._mappings.keys() & {key}:
                self._inwards(data, source, self._mappings[mapping])

    async def _bind(self, local: Address, key: object) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self._received, key), local_addr=local
        )
        return transport

    async def _outwards(self, data: bytes, client: Address, remote: Address) -> None:
        key = "outside", client, self._mapping.part_of(remote)
        if key not in self._mappings:
            self._mappings[key] = OutsidePort(client, await self._bind((self._way.outside, 0), key))
        mapping = self._mappings[key]
        mapping.sent_to.add(remote)
        mapping.transport.sendto(data, (self._way.bound_of[remote[0]], remote[1]))

    def _inwards(self, data: bytes, source: Address, mapping: OutsidePort) -> None:
        remote = self._announced_of[source[0]], source[1]
        part_of = self._filtering.part_of
        if part_of(remote) in map(part_of, mapping.sent_to):
            self._inside[remote].sendto(data, mapping.client)


@contextmanager
def nat_box(
    host: Namespace, way: Way, mapping: Dependence, filtering: Dependence
) -> Iterator[None]:
    """A NAT on a host, in front of a server on the same one."""
    pairs = (f"{announced}={bound}" for announced, bound in way.bound_of.items())
    words = (mapping.name, filtering.name, way.outside, ",".join(map(str, way.ports)), *pairs)
    process = subprocess.Popen(
        [*host.prefix, sys.executable, "-m", "tests.e2e.nat_box", *words],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


def main(mapping: str, filtering: str, outside: str, ports: str, *pairs: str) -> None:
    """What `nat_box` starts."""
    bound_of = dict(pair.split("=") for pair in pairs)
    way = Way(bound_of, [int(port) for port in ports.split(",")], outside)
    asyncio.run(NatBox(way, Dependence[mapping], Dependence[filtering]).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
