"""Every endpoint that clients come to: bound at start, configured at reload, closed at the end."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turnd.engine.base import (
    CloseReason,
    Leg,
    LegClosed,
    ListenerId,
    ListenerSettings,
    RelayEngine,
    Transport,
)
from turnd.listeners.accept import Report, StreamAcceptor, StreamEndpoint
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.config import Endpoint
    from turnd.listeners.caps import StreamCaps
    from turnd.listeners.deadlines import AuthenticationDeadlines
    from turnd.system import InheritedSocket

_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""What binding [::] says on a host without IPv6, where "every IPv6 address" is none."""


class BindError(OSError):
    """An endpoint cannot be bound; the message says which, why, and how to mend it."""


@dataclass(slots=True)
class Endpoints:
    """The listeners of one server."""

    engine: RelayEngine
    caps: StreamCaps
    deadlines: AuthenticationDeadlines
    report: Report
    udp: dict[ListenerId, TransportAddress] = field(default_factory=dict)
    streams: dict[ListenerId, StreamAcceptor] = field(default_factory=dict)
    by_listener: dict[ListenerId, Endpoint] = field(default_factory=dict)
    """What was configured; ports may be 0 there."""
    closed: Counter[str] = field(default_factory=Counter)
    """Streams that ended, by reason."""

    def bind(
        self,
        wanted: Iterable[Endpoint],
        plain: ListenerSettings,
        tls: ListenerSettings,
        inherited: Iterable[InheritedSocket],
    ) -> None:
        """Bind all endpoints, on descriptors of the service manager where it gave fitting ones.

        Raises:
            BindError: one cannot be bound, or there is none.
        """
        spare = list(inherited)
        for endpoint in wanted:
            fd = _take(spare, endpoint)
            try:
                self._bind_one(endpoint, tls if endpoint.transport == "tls" else plain, fd)
            except OSError as error:
                if endpoint.host == "::" and error.errno in _NO_IPV6:
                    self.report("ipv6_unavailable", endpoint=str(endpoint))
                    continue
                raise BindError(_why(endpoint, error)) from error
        for unused in spare:
            address = str(TransportAddress(unused.host, unused.port))
            self.report("inherited_socket_unused", name=unused.name, endpoint=address)
            os.close(unused.fd)
        if not self.by_listener:
            raise BindError("cannot listen: this host has no IPv6, and `listen` names nothing else")

    def start(self) -> None:
        """Let streams in."""
        for acceptor in self.streams.values():
            acceptor.start()

    def bound(self) -> list[tuple[Endpoint, TransportAddress]]:
        """Each endpoint as configured, and where it is bound (port 0 resolved)."""
        return [
            (endpoint, self._address(listener)) for listener, endpoint in self.by_listener.items()
        ]

    def configure(self, plain: ListenerSettings, tls: ListenerSettings) -> None:
        """New settings for all; streams that are open keep their TLS session."""
        for listener, endpoint in self.by_listener.items():
            self.engine.configure(listener, tls if endpoint.transport == "tls" else plain)

    def leg_closed(self, event: LegClosed) -> None:
        """A stream has ended: its place is free."""
        self.closed[event.reason] += 1
        self.deadlines.removed(event.leg)
        acceptor = self.streams.get(event.leg.listener)
        if acceptor is not None:
            acceptor.leg_closed(event.leg)

    def close_overdue(self, now: float) -> None:
        """End streams that never authenticated."""
        for leg in self.deadlines.overdue(now):
            self.engine.close_leg(leg, CloseReason.UNAUTHENTICATED)

    def leg_opened(self, leg: Leg, now: float) -> None:
        """A stream is ready for requests, and has so long to make an authenticated one."""
        self.deadlines.add(leg, now)

    def close(self) -> None:
        """Let nobody in any more."""
        for acceptor in self.streams.values():
            acceptor.close()

    def _address(self, listener: ListenerId) -> TransportAddress:
        stream = self.streams.get(listener)
        return self.udp[listener] if stream is None else stream.endpoint

    def _bind_one(self, endpoint: Endpoint, settings: ListenerSettings, fd: int | None) -> None:
        address = TransportAddress(endpoint.host, endpoint.port)
        if endpoint.transport == "udp":
            listener = self.engine.listen(address, settings, fd)
            self.udp[listener] = self.engine.endpoint(listener)
        else:
            listener = self.engine.stream_listener(settings)
            stream = StreamEndpoint(address, Transport(endpoint.transport), fd)
            self.streams[listener] = StreamAcceptor(
                self.engine, listener, stream, self.caps, self.report
            )
        self.by_listener[listener] = endpoint


def _take(spare: list[InheritedSocket], endpoint: Endpoint) -> int | None:
    kind = socket.SOCK_DGRAM if endpoint.transport == "udp" else socket.SOCK_STREAM
    for each in spare:
        if (each.kind, each.host, each.port) == (kind, endpoint.host, endpoint.port):
            spare.remove(each)
            return each.fd
    return None


def _why(endpoint: Endpoint, error: OSError) -> str:
    hint = "is the address right?"
    if isinstance(error, PermissionError):
        hint = (
            "ports below 1024 need root at start, systemd's AmbientCapabilities="
            "CAP_NET_BIND_SERVICE, or a higher port"
        )
    elif error.errno == errno.EADDRINUSE:
        hint = "another program (another turnd, coturn?) has it: ss -lunpt shows which"
    elif error.errno == errno.EADDRNOTAVAIL:
        hint = "no interface of this host has that address: ip address shows them"
    return f"cannot listen on {endpoint}: {error.strerror}: {hint}"
