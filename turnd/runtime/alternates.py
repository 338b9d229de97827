"""The other servers that clients may be sent to: where they are, and which of them live."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from turnd import logs
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.errors import ClientError
from turnd.client.session import ClientOptions
from turnd.client.tls import Trust
from turnd.client.transactions import Timing
from turnd.client.uri import STUN_PORT, Transport
from turnd.client.uri import Server as Target
from turnd.runtime import assembly
from turnd.runtime.names import UnknownNameError
from turnd.stun.addresses import TransportAddress
from turnd.system import EXHAUSTED, host_addresses
from turnd.turn.redirect import Alternate
from turnd.turn.throughput import Throughput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnd import config as configuration
    from turnd.runtime.server import Server

log = logs.get_logger("turnd.runtime.alternates")

TIMING = Timing(rto=0.4, max_requests=3, last_wait=2, stream_timeout=2.0)
CONNECT_LIMIT = 2.0
MOST_OF_A_NAME = 16
"""Addresses of one name: more is nobody's list of servers."""
NAMES_EVERY = 60.0
"""Seconds between two look-ups where nothing is asked whether it lives."""


class Health(NamedTuple):
    """What was found of one address of an entry, or of a name that has none."""

    entry: configuration.Alternate
    alternate: Alternate | None
    problem: str
    """Empty: it lives."""

    @property
    def label(self) -> str:
        """For logs and metrics."""
        if self.alternate is None:
            return self.entry.host
        address = self.alternate.address
        return str(address) if address.port else address.host


class Alternates:
    """One for a server. Nobody is sent to who has not been seen to live."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._throughput = Throughput()
        self._found: list[Health] = []
        self._due_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def living(self) -> dict[str, bool]:
        """By address, or by the name that has none."""
        return {health.label: not health.problem for health in self._found}

    def due(self, now: float) -> bool:
        """Whether it is time for another look, and none is being taken."""
        return now >= self._due_at and not self._lock.locked()

    def measure(self, now: float) -> None:
        """Once a second: how much is relayed, where that matters."""
        redirection = self._server.turn.state.redirection
        if redirection.when.bits_per_second:
            totals = self._server.engine.counters().totals
            moved = totals.bytes_from_client + totals.bytes_to_client
            redirection.bits_per_second = self._throughput.observe(moved, now)

    def configure(self) -> None:
        """Take over the configuration: what is new in it is looked at soon."""
        section = self._server.config.redirect
        self._server.turn.state.redirection.when = assembly.redirect_when(section)
        self._use([health for health in self._found if health.entry in section.to])
        self._due_at = 0.0

    async def look(self) -> None:
        """Find every address of every entry and ask it; takes some seconds, and never fails.

        All stays as it was while descriptors have run out here: nobody can be asked then, and that
        is when clients are to be sent elsewhere.
        """
        async with self._lock:
            section = self._server.config.redirect
            self._due_at = time.monotonic() + (section.check_every or NAMES_EVERY)
            found = await asyncio.gather(
                *(self._of(entry, ask=section.check_every > 0) for entry in section.to)
            )
            known = [healths for healths in found if healths is not None]
            if len(known) < len(found):
                return
            if section is self._server.config.redirect:  # else there will be another look soon
                self._tell([health for healths in known for health in healths])

    async def _of(self, entry: configuration.Alternate, *, ask: bool) -> list[Health] | None:
        """None: it is not to be found out now."""
        nameless: list[Health] = []
        try:
            hosts = await self._server.names.look_up(entry.host)
        except UnknownNameError as error:
            nameless.append(Health(entry, None, str(error)))
            hosts = self._last_hosts(entry)
        addresses = [TransportAddress(host, entry.port) for host in hosts[:MOST_OF_A_NAME]]
        try:
            others = [address for address in addresses if not self._is_ours(address)]
        except OSError:
            return None
        port = entry.port or self._own_port()
        problems = await asyncio.gather(
            *(_problem_of(address.host, port) if ask else _nothing() for address in others)
        )
        if None in problems:
            return None
        return nameless + [
            Health(entry, Alternate(address, entry.domain), problem)
            for address, problem in zip(others, problems, strict=True)
            if problem is not None
        ]

    def _last_hosts(self, entry: configuration.Alternate) -> tuple[str, ...]:
        """Where a name led to: a name server that is away takes nobody away who answers."""
        last = (health.alternate for health in self._found if health.entry == entry)
        return tuple(alternate.address.host for alternate in last if alternate is not None)

    def _is_ours(self, address: TransportAddress) -> bool:
        """A name may be that of all servers: nobody is sent to where he comes from.

        Raises:
            OSError: descriptors or memory have run out.
        """
        ports = {bound.port for _, bound in self._server.endpoints.bound()}
        if address.port and address.port not in ports:
            return False
        ours = {*host_addresses(), *self._server.relays.known}
        return address.host in ours

    def _own_port(self) -> int:
        """Where a server like this one is asked: at our first port of UDP, else TCP, TLS, DTLS."""
        bound = self._server.endpoints.bound()
        ports = (at.port for asked in Transport for each, at in bound if each.transport == asked)
        return next(ports, STUN_PORT)

    def _tell(self, found: Sequence[Health]) -> None:
        before = self.living
        for health in found:
            if health.problem and before.get(health.label, True):
                log.warning("alternate_down", server=health.label, reason=health.problem)
            elif not health.problem and not before.get(health.label, False):
                log.info("alternate_up", server=health.label)
        self._use(found)

    def _use(self, found: Sequence[Health]) -> None:
        self._found = list(found)
        self._server.turn.state.redirection.alternates = tuple(
            health.alternate for health in found if health.alternate and not health.problem
        )


async def _nothing() -> str:
    return ""


async def _problem_of(host: str, port: int) -> str | None:
    """Why nobody answers a Binding request there, by whatever transport; empty: somebody does.

    Whether it is the right server is for the clients to see: they have its certificate's name.
    None: descriptors or memory have run out, and nobody can be asked.
    """
    connect = ConnectOptions(trust=Trust(verify=False), limit=CONNECT_LIMIT)
    options = ClientOptions(connect=connect, timing=TIMING)
    problems: list[str] = []
    for transport in Transport:
        try:
            async with TurnClient(Target(host, port, transport), options=options) as client:
                await client.binding()
        except ClientError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in EXHAUSTED:
                return None
            problems.append(f"{transport}: {error}")
        else:
            return ""
    return "; ".join(problems)
