"""Accepting TCP and TLS connections: judged by the gate, served by the engine.

Rules of the house
    1.  One turn of the event loop accepts a bounded batch, so that a flood of connections leaves
        time for those who are connected.
    2.  Running out of descriptors or buffers stops accepting for a while; new clients wait in the
        kernel's queue meanwhile. Nothing spins, and the log gets one line until it is over.
    3.  A connection that is over a cap is reset at once and counted by reason: no state stays.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from turnd.listeners.caps import StreamCaps, StreamRefusal
from turnd.listeners.gate import Arrival, FrontRules, Gate
from turnd.stun.addresses import (
    AddressFamily,
    ClientAddress,
    ServerAddress,
    TransportAddress,
    pack_host,
    unpack_host,
)

if TYPE_CHECKING:
    from turnd.engine.base import Leg, ListenerId, RelayEngine, Transport
    from turnd.listeners.passthrough import Backend, Passthrough
    from turnd.listeners.report import Report

BATCH = 64
"""Connections accepted in one turn of the loop at most."""
BACKLOG = 1024
PAUSE = 0.5
"""Seconds without accepting after the system ran out of something."""

# accept(2): errors of the connection that waited, not of the listener: take the next one.
CONNECTION_ERRORS = frozenset(
    {
        errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT,
        errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamEndpoint:
    """Where streams come in, and as what."""

    address: TransportAddress
    accepts: tuple[Transport, ...]
    """One, or both that their first bytes tell apart."""
    fd: int | None = None
    """A bound descriptor that was handed to us; then `address` is only what was asked for."""


class StreamAcceptor:
    """One listening socket; bound when constructed, accepting from `start` on.

    Raises:
        OSError: the endpoint cannot be bound.
    """

    def __init__(
        self,
        engine: RelayEngine,
        listener: ListenerId,
        endpoint: StreamEndpoint,
        caps: StreamCaps,
        passthrough: Passthrough,
        report: Report,
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._caps = caps
        self._passthrough = passthrough
        self._report = report
        self._gate = Gate(endpoint.accepts, caps, self, report)
        self._legs: dict[Leg, str] = {}
        self._reading = False
        self._retry: asyncio.TimerHandle | None = None
        self._exhausted = False
        self._socket = _listening_socket(endpoint)
        self.opened: Counter[Transport] = Counter()
        """Streams let in since the start."""

    @property
    def endpoint(self) -> TransportAddress:
        """Where the socket is bound (port 0 resolved)."""
        return _address(self._socket.getsockname())

    @property
    def listener(self) -> ListenerId:
        """The engine's handle that the accepted legs carry."""
        return self._listener

    def follow(self, rules: FrontRules) -> None:
        """Whom to trust, and what to give away, from now on."""
        self._gate.rules = rules

    def start(self) -> None:
        """Accept from now on, in the running loop."""
        asyncio.get_running_loop().add_reader(self._socket, self._accept_batch)
        self._reading = True

    def close(self) -> None:
        """Accept no more. Streams that are open stay; `leg_closed` still wants to hear of them."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._stop_reading()
        self._socket.close()
        self._gate.close()

    def leg_closed(self, leg: Leg) -> None:
        """The engine said `LegClosed`: its place is free. Legs of other acceptors are fine."""
        host = self._legs.pop(leg, None)
        if host is not None:
            self._caps.release(host)

    def _accept_batch(self) -> None:
        for _ in range(BATCH):
            try:
                connection, peer = self._socket.accept()
            except BlockingIOError:
                self._drained()
                return
            except OSError as error:
                if error.errno not in CONNECTION_ERRORS:
                    self._pause(error)
                    return
                self._caps.refuse(StreamRefusal.FAILED)
                continue
            self._let_in(connection, peer)

    def _let_in(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        try:
            client = ClientAddress(_address(peer))
            local = ServerAddress(_address(connection.getsockname()))
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self._caps.refuse(StreamRefusal.FAILED)
            connection.close()
            return
        self._gate.enter(connection, client, local)

    def serve(self, arrival: Arrival, transport: Transport) -> None:
        """Let a connection in; the engine's `LegClosed` frees its place."""
        self.opened[transport] += 1
        leg = self._engine.adopt(
            arrival.connection.detach(),
            self._listener,
            transport,
            arrival.client,
            arrival.local,
            arrival.received,
        )
        self._legs[leg] = arrival.client.host

    def pass_on(self, arrival: Arrival, backend: Backend) -> None:
        """Give a connection to the web server."""
        self._passthrough.carry(arrival, backend)

    def _pause(self, error: OSError) -> None:
        self._stop_reading()
        self._retry = asyncio.get_running_loop().call_later(PAUSE, self._resume)
        if self._exhausted:
            return
        self._exhausted = True
        endpoint, reason = str(self.endpoint), os.strerror(error.errno or 0)
        self._report("accept_paused", endpoint=endpoint, error=reason, open=self._caps.open)

    def _resume(self) -> None:
        self._retry = None
        self.start()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._socket)

    def _drained(self) -> None:
        """Nobody waits any more: only then is a shortage over, however often it flickered."""
        if self._exhausted:
            self._exhausted = False
            endpoint = str(self.endpoint)
            self._report("accept_resumed", level="info", endpoint=endpoint, open=self._caps.open)


def _listening_socket(endpoint: StreamEndpoint) -> socket.socket:
    if endpoint.fd is not None:
        listening = socket.socket(fileno=endpoint.fd)
    else:
        listening = bind_tcp(endpoint.address)
    listening.setblocking(False)
    listening.listen(BACKLOG)
    return listening


def bind_tcp(endpoint: TransportAddress) -> socket.socket:
    """A TCP socket at an endpoint; one at `::` takes IPv6 alone.

    Raises:
        OSError: it cannot be bound.
    """
    v6 = endpoint.family is AddressFamily.IPV6
    bound = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(endpoint)
    except OSError:
        bound.close()
        raise
    return bound


@lru_cache(maxsize=4096)
def _canonical_host(host: str) -> str:
    """Without zone; IPv4 that an inherited dual-stack socket shows as mapped is IPv4 again."""
    packed = pack_host(host)
    mapped = IPv6Address(packed).ipv4_mapped if len(packed) == 16 else None
    return str(mapped) if mapped else unpack_host(packed)


def _address(name: tuple[str, int]) -> TransportAddress:
    """From what `getsockname` and `accept` give (IPv6: with flow and scope behind)."""
    return TransportAddress(_canonical_host(name[0]), name[1])
