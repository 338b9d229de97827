"""The portable engine's UDP sockets: listeners for clients, relays for peers.

Each is read by a bounded batch when epoll says so; the clock is read once a batch by the caller.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from turnd.engine import ancillary, sockets
from turnd.engine.ancillary import told_by
from turnd.engine.base import ClientMessage, Leg, ListenerId, ListenerSettings, RelayId, Transport
from turnd.engine.fields import SYSTEM, Fields
from turnd.engine.forwarding import or_classic
from turnd.engine.intake import BATCH, Intake
from turnd.engine.proxied import Proxies, ends_of, source_of
from turnd.engine.rules import Client, Relay, Transmit
from turnd.engine.sockaddr import SockAddr, raw_address
from turnd.stun.addresses import WILDCARDS, ServerAddress, TransportAddress

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from turnd.engine.associations import AssociationDoors, Associations
    from turnd.engine.forwarding import Forwarder
    from turnd.engine.handup import HandUp
    from turnd.engine.intake import Arrival


class UdpListener:
    """One endpoint that clients send to, bound to one address."""

    def __init__(
        self,
        listener_id: ListenerId,
        sock: socket.socket,
        settings: ListenerSettings,
        forwarder: Forwarder,
        hand_up: HandUp,
    ) -> None:
        sockets.let_fragment(sock, allowed=True)
        self.listener_id = listener_id
        ancillary.ask_for_fields(sock)
        self.sock = sock
        self.sender = sockets.Sender(sock)
        self._intake = Intake(sock)
        self.settings = settings
        self.endpoint = ServerAddress(sockets.bound_address(sock))
        self.clients: dict[Any, Client] = {}
        """By what `key_of` makes of a leg."""
        self.associations: Associations | None = None
        """Where DTLS is served."""
        forward = forwarder.from_client
        self._forward = or_classic(forward) if settings.classic_bindings else forward
        self._hand_up = hand_up
        self._tally = forwarder.tally
        self._proxies = self._trust(settings)

    def _trust(self, settings: ListenerSettings) -> Proxies | None:
        return Proxies(settings.proxies, self._tally) if settings.proxies else None

    def serve_dtls(self, doors: AssociationDoors) -> None:
        """Take DTLS as well, or alone.

        Raises:
            OSError: with these certificates it cannot be served.
        """
        from turnd.engine.associations import Associations  # noqa: PLC0415 - pyOpenSSL for few

        self.associations = Associations(self.settings, doors, self.leg_of, self.route_to)

    def configure(self, settings: ListenerSettings) -> None:
        """New settings, what is fixed from the beginning aside.

        Raises:
            OSError: these certificates cannot be served; the settings stay as they were.
        """
        if self.associations is not None:
            self.associations.configure(settings)
        self.settings = settings
        self._proxies = self._trust(settings)
        sockets.set_buffers(self.sock, settings)

    def key_of(self, leg: Leg) -> Any:
        """What a packet of this leg is looked up by."""
        return source_of(leg)

    def leg_of(self, key: Any, transport: Transport = Transport.UDP, stream: int = 0) -> Leg:
        """The leg of packets with that key."""
        client, via = ends_of(key)
        return Leg(self.listener_id, transport, self.endpoint, client, stream, via)

    def route_to(self, leg: Leg) -> tuple[Transmit, Any]:
        """How to send to a leg: the function and its second argument."""
        return self.sender.send, raw_address(leg.via or leg.client)

    def answer(self, leg: Leg, data: bytes) -> None:
        """Send a message of ours.

        Raises:
            OSError: the socket does not take it.
        """
        transmit, address = self.route_to(leg)
        transmit(data, address)

    def _arrivals(self, now: float) -> Iterable[Arrival]:
        """A bounded batch, without what trusted proxies put in front."""
        arrivals = self._intake.batch(now)
        return arrivals if self._proxies is None else self._proxies.unwrapped(arrivals)

    def ready(self, _mask: int, now: float) -> None:
        """Read what has arrived, a bounded batch."""
        client_of = self.clients.get
        forward = self._forward
        associations = self.associations
        for data, beside, _, source in self._arrivals(now):
            onward = told_by(*beside).onward
            if associations is not None and associations.takes(data, source, now, onward):
                continue
            client = client_of(source)
            if not forward(client, data, now, onward):
                leg = self.leg_of(source) if client is None else client.leg
                self._hand_up.add(ClientMessage(leg, data), preferred=client is not None)


class WildcardUdpListener(UdpListener):
    """One endpoint on every address of the host: answers leave from the address that was asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ancillary.ask_for_destination(self.sock)

    def key_of(self, leg: Leg) -> Any:
        """The client's and our own address."""
        return source_of(leg), leg.local.host

    def leg_of(self, key: Any, transport: Transport = Transport.UDP, stream: int = 0) -> Leg:
        """The leg of packets with that key."""
        source, host = key
        local = ServerAddress(TransportAddress(host, self.endpoint.port))
        client, via = ends_of(source)
        return Leg(self.listener_id, transport, local, client, stream, via)

    def route_to(self, leg: Leg) -> tuple[Transmit, Any]:
        """Send from the address that the leg has as ours."""
        return self.sender.send_from, (
            raw_address(leg.via or leg.client),
            ancillary.source_option(leg.local.host),
        )

    def ready(self, _mask: int, now: float) -> None:
        """Read what has arrived, a bounded batch."""
        forward = self._forward
        associations = self.associations
        for data, beside, _, source in self._arrivals(now):
            local, onward = told_by(*beside)
            if local is None:
                continue
            key = (source, local)
            if associations is not None and associations.takes(data, key, now, onward):
                continue
            client = self.clients.get(key)
            if not forward(client, data, now, onward):
                leg = self.leg_of(key) if client is None else client.leg
                self._hand_up.add(ClientMessage(leg, data), preferred=client is not None)


def open_listener(
    listener_id: ListenerId,
    sock: socket.socket,
    settings: ListenerSettings,
    forwarder: Forwarder,
    hand_up: HandUp,
) -> UdpListener:
    """The listener that fits what the socket is bound to."""
    wildcard = sockets.bound_address(sock).host in WILDCARDS
    kind = WildcardUdpListener if wildcard else UdpListener
    return kind(listener_id, sock, settings, forwarder, hand_up)


class UdpRelay(Relay):
    """A relayed transport address with its socket."""

    __slots__ = ("_forward", "_forward_icmp", "_intake", "sock")

    def __init__(
        self,
        relay_id: RelayId,
        bound: TransportAddress,
        deadline: float,
        settings: ListenerSettings,
        forwarder: Forwarder,
    ) -> None:
        """Binds the socket.

        Raises:
            OSError: it cannot be bound.
        """
        self.sock = sockets.bind_udp(bound, settings)
        sockets.let_fragment(self.sock, allowed=True)
        sockets.ask_for_icmp(self.sock)
        ancillary.ask_for_fields(self.sock)
        address = bound if bound.port else sockets.bound_address(self.sock)
        super().__init__(relay_id, address, deadline, sockets.Sender(self.sock).send)
        self._forward = forwarder.from_peer
        self._forward_icmp = forwarder.icmp_from_peer
        self._intake = Intake(self.sock)

    def transmit_unfragmented(self, data: bytes, target: SockAddr, fields: Fields = SYSTEM) -> None:
        """Send with the Don't Fragment bit."""
        sockets.let_fragment(self.sock, allowed=False)
        try:
            self.transmit(data, target, fields)
        finally:
            sockets.let_fragment(self.sock, allowed=True)

    def ready(self, mask: int, now: float) -> None:
        """Read what has arrived, a bounded batch."""
        if mask & select.EPOLLERR:
            self._read_icmp(now)
        forward = self._forward
        for data, beside, _, source in self._intake.batch(now):
            forward(self, data, source, now, told_by(*beside).onward)

    def _read_icmp(self, now: float) -> None:
        for _ in range(BATCH):
            try:
                error = sockets.read_icmp(self.sock)
            except OSError:
                return
            if error is not None:
                self._forward_icmp(self, *error, now)
