"""Between accepting a connection and serving it: whose it is, what it speaks, where it goes.

Rules of the house
    1.  What needs no look goes through at once. Else the first bytes are read, and are handed on
        along with the connection.
    2.  Nobody waits for ever: one deadline for the PROXY header and the first bytes together.
    3.  The kernel wakes us when as many bytes are there as it takes to go on (SO_RCVLOWAT): a
        client that trickles costs a look for each thing it says, not one for each byte.
    4.  Proxies are asked for their header always, and nobody else ever: there is no guessing. The
        client that the header names is the one that caps count, logs show and answers tell of.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Protocol, TypeVar

from turnd.engine.base import Transport
from turnd.engine.proxy_v2 import LONGEST
from turnd.listeners.caps import StreamCaps, StreamRefusal
from turnd.listeners.client_hello import LARGEST
from turnd.listeners.first_bytes import Goal, sort
from turnd.listeners.incomplete import Incomplete
from turnd.listeners.proxy_header import read_proxy_header
from turnd.stun.addresses import ClientAddress, ServerAddress
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.listeners.passthrough import Backend
    from turnd.listeners.report import Report

NO_LINGER = socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
"""On, 0 s: close() sends RST, and leaves no TIME_WAIT."""

MOST_NAMED = 256
"""Hosts of proxies that are remembered to be in the log already."""

_T = TypeVar("_T")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class FrontRules:
    """What an admin wants to be in front of the streams, and beside them."""

    patience: float = 10.0
    """Seconds until the first bytes are there."""
    proxies: tuple[Network, ...] = ()
    """Networks whose connections begin with a PROXY header."""
    backend: Backend | None = None
    """Where to go with what is not ours."""
    is_ours: Callable[[str], bool] = lambda _: True
    """Whether a TLS client that asks for that host name means us."""


@dataclass(slots=True)
class Arrival:
    """A connection that was accepted and not yet let in."""

    connection: socket.socket
    client: ClientAddress
    local: ServerAddress
    counted: str | None
    """The host that caps count it for; None: not known yet."""
    received: bytes = b""
    """What was read already, without the PROXY header."""


class Exits(Protocol):
    """Where connections go that have passed; each is theirs from then on."""

    def serve(self, arrival: Arrival, transport: Transport) -> None:
        """To the engine."""
        ...

    def pass_on(self, arrival: Arrival, backend: Backend) -> None:
        """To the web server."""
        ...


class _RefusedError(Exception):
    def __init__(self, reason: StreamRefusal) -> None:
        self.reason = reason


class Gate:
    """Judges the connections of one endpoint."""

    def __init__(
        self, accepts: tuple[Transport, ...], caps: StreamCaps, exits: Exits, report: Report
    ) -> None:
        self.rules = FrontRules()
        """Whoever waits keeps its deadline, and meets what holds when it is judged."""
        self._accepts = accepts
        self._caps = caps
        self._exits = exits
        self._report = report
        self._waiting: set[asyncio.Task[None]] = set()
        self._named: set[str] = set()
        """Proxies whose headers the log has complained of."""

    def enter(self, connection: socket.socket, client: ClientAddress, local: ServerAddress) -> None:
        """A connection was accepted: it is ours from now on. It does not block."""
        proxies = self.rules.proxies
        is_proxy = bool(proxies) and any(ip_address(client.host) in each for each in proxies)
        arrival = Arrival(connection, client, local, None if is_proxy else client.host)
        if self._caps.admit(arrival.counted) is not None:
            reset(connection)
        elif is_proxy or self._looks:
            task = asyncio.get_running_loop().create_task(self._judge(arrival, is_proxy))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        else:
            self._exits.serve(arrival, self._accepts[0])

    def close(self) -> None:
        """Let nobody in any more who still waits."""
        for task in self._waiting:
            task.cancel()

    @property
    def _looks(self) -> bool:
        """Whether the first bytes tell anything."""
        shared = Transport.TLS in self._accepts and self.rules.backend is not None
        return shared or len(self._accepts) > 1

    async def _judge(self, arrival: Arrival, is_proxy: bool) -> None:
        try:
            async with asyncio.timeout(self.rules.patience):
                goal = await self._hear(arrival, is_proxy)
        except BaseException as error:
            self._caps.release(arrival.counted)
            reset(arrival.connection)
            reason = _reason(error)
            if reason is None:
                raise
            self._caps.refuse(reason)
            return
        backend = self.rules.backend
        if goal is Goal.BACKEND and backend is not None:
            self._exits.pass_on(arrival, backend)
        else:
            self._exits.serve(arrival, Transport(goal))

    async def _hear(self, arrival: Arrival, is_proxy: bool) -> Goal:
        """Listen until it is clear where the connection goes."""
        if is_proxy:
            await self._hear_proxy(arrival)
        goal = await self._sort(arrival) if self._looks else Goal(self._accepts[0])
        if goal is Goal.NOBODY:
            raise _RefusedError(StreamRefusal.UNKNOWN_PROTOCOL)
        arrival.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return goal

    async def _hear_proxy(self, arrival: Arrival) -> None:
        """Learn who the client is."""
        try:
            header = await _read(arrival, read_proxy_header)
        except DecodeError as error:
            self._complain(arrival.client, error)
            raise _RefusedError(StreamRefusal.PROXY_HEADER) from error
        self._named.discard(arrival.client.host)
        arrival.received = arrival.received[header.length :]
        if header.addresses is not None:
            arrival.client = ClientAddress(header.addresses.client)
            arrival.local = ServerAddress(header.addresses.local)
        refusal = self._caps.name(arrival.client.host)
        if refusal is not None:
            raise _RefusedError(refusal)
        arrival.counted = arrival.client.host

    def _complain(self, proxy: ClientAddress, error: DecodeError) -> None:
        """One side's configuration: said once a host, until its headers are good."""
        if proxy.host in self._named:
            return
        if len(self._named) >= MOST_NAMED:
            self._named.clear()
        self._named.add(proxy.host)
        self._report("proxy_header_refused", proxy=str(proxy), error=str(error))

    async def _sort(self, arrival: Arrival) -> Goal:
        def sorted_by(data_untrusted: bytes) -> Goal | Incomplete:
            rules = self.rules
            is_ours = None if rules.backend is None else rules.is_ours
            return sort(data_untrusted, self._accepts, is_ours)

        return await _read(arrival, sorted_by)


async def _read(arrival: Arrival, parse: Callable[[bytes], _T | Incomplete]) -> _T:
    """What the first bytes say, as soon as there are enough of them."""
    loop, connection = asyncio.get_running_loop(), arrival.connection
    while isinstance(found := parse(arrival.received), Incomplete):
        missing = found.wanted - len(arrival.received)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, missing)
        data = await loop.sock_recv(connection, LONGEST + LARGEST - len(arrival.received))
        if not data:
            raise _RefusedError(StreamRefusal.LEFT)
        arrival.received += data
    return found


def _reason(error: BaseException) -> StreamRefusal | None:
    """Why a connection is refused that met with an error; None: it is not its own fault."""
    match error:
        case _RefusedError(reason=reason):
            return reason
        case TimeoutError():
            return StreamRefusal.SILENT
        case OSError():
            return StreamRefusal.LEFT
        case _:
            return None


def reset(connection: socket.socket) -> None:
    """Close at once: no state stays."""
    connection.setsockopt(*NO_LINGER)
    connection.close()
