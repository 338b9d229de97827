"""Every endpoint that clients come to: bound at start, configured at reload, closed at the end."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable
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
from turnd.listeners.accept import StreamAcceptor, StreamEndpoint
from turnd.listeners.passthrough import Passthrough
from turnd.listeners.sessions import Sessions
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.config import Endpoint
    from turnd.listeners.caps import StreamCaps
    from turnd.listeners.deadlines import AuthenticationDeadlines
    from turnd.listeners.gate import FrontRules
    from turnd.listeners.report import Report
    from turnd.system import InheritedSocket

_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""What binding [::] says on a host without IPv6, where "every IPv6 address" is none."""


SettingsOf = Callable[[tuple["Endpoint", ...]], ListenerSettings]
"""What holds for one socket, by its endpoints."""


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
    by_listener: dict[ListenerId, tuple[Endpoint, ...]] = field(default_factory=dict)
    """What was configured; ports may be 0 there. Those that share a socket are several."""
    closed: Counter[str] = field(default_factory=Counter)
    """Connections that ended, by reason."""
    sessions: Sessions = field(init=False)
    """By DTLS."""
    passthrough: Passthrough = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.engine, self.caps)
        self.passthrough = Passthrough(self.caps, self.report)

    def bind(
        self,
        wanted: Iterable[Endpoint],
        settings_of: SettingsOf,
        inherited: Iterable[InheritedSocket],
    ) -> None:
        """Bind all endpoints, on descriptors of the service manager where it gave fitting ones.

        Raises:
            BindError: one cannot be bound, or there is none.
        """
        spare = list(inherited)
        _check_families(spare)
        for endpoints in _by_socket(wanted):
            endpoint = endpoints[0]
            fd = _take(spare, endpoint)
            try:
                self._bind_one(endpoints, settings_of(endpoints), fd)
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
            (endpoint, self.address(listener))
            for listener, endpoints in self.by_listener.items()
            for endpoint in endpoints
        ]

    def address(self, listener: ListenerId) -> TransportAddress:
        """Where a listener is bound."""
        stream = self.streams.get(listener)
        return self.udp[listener] if stream is None else stream.endpoint

    def configure(self, settings_of: SettingsOf) -> None:
        """New settings for all; connections that are open keep their TLS session."""
        for listener, endpoints in self.by_listener.items():
            self.engine.configure(listener, settings_of(endpoints))

    def follow(self, rules: FrontRules) -> None:
        """Whom to trust, and what to give to a web server, from now on."""
        for acceptor in self.streams.values():
            acceptor.follow(rules)

    def opened(self) -> Counter[str]:
        """Connections let in since the start, by transport."""
        opened = Counter({str(Transport.DTLS): self.sessions.opened})
        for acceptor in self.streams.values():
            opened.update(acceptor.opened)
        return +opened

    def leg_closed(self, event: LegClosed) -> None:
        """A connection has ended: its place is free."""
        self.closed[event.reason] += 1
        self.deadlines.removed(event.leg)
        self.sessions.leg_closed(event.leg)
        acceptor = self.streams.get(event.leg.listener)
        if acceptor is not None:
            acceptor.leg_closed(event.leg)

    def close_overdue(self, now: float) -> None:
        """End connections that never authenticated."""
        for leg in self.deadlines.overdue(now):
            self.engine.close_leg(leg, CloseReason.UNAUTHENTICATED)

    def leg_opened(self, leg: Leg, now: float) -> None:
        """A connection is ready for requests, and has so long to make an authenticated one."""
        if leg.transport is not Transport.DTLS or self.sessions.let_in(leg):
            self.deadlines.add(leg, now)

    def close(self) -> None:
        """Let nobody in any more."""
        for acceptor in self.streams.values():
            acceptor.close()
        self.passthrough.close()

    def _bind_one(
        self, endpoints: tuple[Endpoint, ...], settings: ListenerSettings, fd: int | None
    ) -> None:
        endpoint = endpoints[0]
        address = TransportAddress(endpoint.host, endpoint.port)
        if endpoint.is_udp:
            listener = self.engine.listen(address, settings, fd)
            self.udp[listener] = self.engine.endpoint(listener)
        else:
            listener = self.engine.stream_listener(settings)
            accepts = tuple(Transport(each.transport) for each in endpoints)
            stream = StreamEndpoint(address, accepts, fd)
            self.streams[listener] = StreamAcceptor(
                self.engine, listener, stream, self.caps, self.passthrough, self.report
            )
        self.by_listener[listener] = endpoints


def _by_socket(wanted: Iterable[Endpoint]) -> list[tuple[Endpoint, ...]]:
    """One socket serves plain UDP and DTLS at one address and port, and one plain TCP and TLS."""
    sockets: dict[object, tuple[Endpoint, ...]] = {}
    for index, endpoint in enumerate(wanted):
        key = (endpoint.is_udp, endpoint.host, endpoint.port) if endpoint.port else index
        sockets[key] = (*sockets.get(key, ()), endpoint)
    return list(sockets.values())


def _check_families(inherited: Iterable[InheritedSocket]) -> None:
    """Refuse UDP sockets of both families; of a stream's client the one is told from the other.

    Raises:
        BindError: one takes IPv4 as well, whose clients would be told mapped addresses.
    """
    for each in inherited:
        if each.kind is socket.SOCK_DGRAM and each.takes_ipv4:
            address = TransportAddress(each.host, each.port)
            raise BindError(
                f"cannot listen on the inherited UDP socket '{each.name}' at {address}, since it "
                "takes IPv4 as well: write BindIPv6Only=ipv6-only into its socket unit, and "
                f"ListenDatagram=0.0.0.0:{each.port} for IPv4"
            )


def _take(spare: list[InheritedSocket], endpoint: Endpoint) -> int | None:
    kind = socket.SOCK_DGRAM if endpoint.is_udp else socket.SOCK_STREAM
    for each in spare:
        if (each.kind, each.host, each.port) == (kind, endpoint.host, endpoint.port):
            spare.remove(each)
            return each.fd
    return None


def _why(endpoint: Endpoint, error: OSError) -> str:
    if error.strerror is None:
        return f"cannot listen on {endpoint}: {error}"  # the engine, not the system
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
