"""The legs of the portable engine: from a five-tuple to its socket, its settings and its client.

A UDP leg is a plain value that its listener serves; any other is its connection. Either leads to a
`Client` once it has a relay, and only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from turnd.engine.base import CloseReason, Leg, ListenerId, ListenerSettings
from turnd.engine.rules import Client, Rules
from turnd.stun.addresses import WILDCARDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.engine.fields import Fields
    from turnd.engine.rules import Transmit
    from turnd.engine.udp import UdpListener
    from turnd.stun.addresses import ServerAddress, TransportAddress


def as_if_to(
    leg: Leg, local: ServerAddress, endpoints: Mapping[ListenerId, TransportAddress]
) -> Leg | None:
    """The leg of a UDP client as if it had come to another address; None: no listener is there."""
    everywhere = None
    for listener, endpoint in endpoints.items():
        if endpoint == local:
            return leg._replace(listener=listener, local=local)
        same_port = (endpoint.family, endpoint.port) == (local.family, local.port)
        if endpoint.host in WILDCARDS and same_port:
            everywhere = leg._replace(listener=listener, local=local)
    return everywhere


class Connection(Protocol):
    """One connected client: a stream, or a DTLS session."""

    leg: Leg
    client: Client | None
    """Set while the leg has a relay."""

    def serve(self, client: Client) -> None:
        """The client has a relay."""
        ...

    def transmit(self, data: bytes, address: object, fields: Fields = ..., /) -> None:
        """Send media; raises OSError when it cannot be sent."""
        ...

    def answer(self, message: bytes) -> None:
        """Send an answer to a request; raises OSError when it cannot be sent."""
        ...

    def overdue(self, now: float) -> CloseReason | None:
        """Why it is to be closed by now, if it is."""
        ...

    def farewell(self) -> None:
        """Say that it ends, and let go of what it holds."""
        ...


class Legs:
    """Listeners by their handles, and connections by their legs."""

    def __init__(self, rules: Rules) -> None:
        self.udp_listeners: dict[ListenerId, UdpListener] = {}
        self.stream_settings: dict[ListenerId, ListenerSettings] = {}
        """Of the listeners under which streams are adopted."""
        self.connections: dict[Leg, Connection] = {}
        self._rules = rules

    def settings_for(self, leg: Leg | None) -> ListenerSettings:
        """What the leg's listener is set to; None: a reservation, which no leg has yet."""
        if leg is None:
            return ListenerSettings()
        listener = self.udp_listeners.get(leg.listener)
        if listener is not None:
            return listener.settings
        return self.stream_settings.get(leg.listener, ListenerSettings())

    def client(self, leg: Leg) -> Client | None:
        """The leg's place in the tables, new or not; None: the leg has ended."""
        client = self._rules.clients.get(leg)
        if client is not None:
            return client
        route = self.route_to(leg)
        return None if route is None else Client(leg, *route)

    def route_to(self, leg: Leg) -> tuple[Transmit, object] | None:
        """How media goes to a leg; None: it has ended."""
        if leg.transport.is_connection:
            connection = self.connections.get(leg)
            return None if connection is None else (connection.transmit, None)
        listener = self.udp_listeners.get(leg.listener)
        return None if listener is None else listener.route_to(leg)

    def answer(self, leg: Leg, data: bytes, from_: ServerAddress | None) -> None:
        """Send a message to a leg, by UDP from another endpoint of ours where one is named.

        Raises:
            OSError: a socket does not take it.
        """
        if leg.transport.is_connection:
            connection = self.connections.get(leg)
            if connection is not None:
                connection.answer(data)
            return
        way: Leg | None = leg
        if from_ is not None:
            endpoints = {each: listener.endpoint for each, listener in self.udp_listeners.items()}
            way = as_if_to(leg, from_, endpoints)
        if way is not None and way.listener in self.udp_listeners:
            self.udp_listeners[way.listener].answer(way, data)

    def remember(self, client: Client) -> None:
        """Let the leg's packets find their client."""
        leg = client.leg
        if leg.transport.is_connection:
            self.connections[leg].serve(client)
        else:
            listener = self.udp_listeners[leg.listener]
            listener.clients[listener.key_of(leg)] = client

    def forget(self, client: Client) -> None:
        """The client has lost its last relay: its leg's packets find none, unless another's."""
        leg = client.leg
        if leg.transport.is_connection:
            connection = self.connections.get(leg)
            if connection is not None and connection.client is client:
                connection.client = None
        else:
            listener = self.udp_listeners.get(leg.listener)
            if listener is not None and listener.clients.get(listener.key_of(leg)) is client:
                del listener.clients[listener.key_of(leg)]
