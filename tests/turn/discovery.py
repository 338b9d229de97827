"""A world in which NAT behavior discovery is offered, by UDP and TCP, on IPv4 and IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.turn.harness import Client, World
from turnd.engine.base import Leg, ListenerSettings, Transport
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress
from turnd.stun.message import Message, decode_untrusted
from turnd.turn.behavior_discovery import Host, Quartet

if TYPE_CHECKING:
    from turnd.engine.fake_network import SentToClient

PORTS = (3478, 3479)
HOSTS = ("192.0.2.1", "192.0.2.2")
QUARTET = Quartet(
    (Host("192.0.2.1", "192.0.2.1"), Host("192.0.2.2", "192.0.2.2")),
    PORTS,
    frozenset({Transport.UDP, Transport.TCP}),
)
QUARTET6 = Quartet((Host("2001:db8::1", "2001:db8::1"), Host("2001:db8::2", "2001:db8::2")), PORTS)
CLIENTS = {"192.0.2.1": "203.0.113.5", "2001:db8::1": "2001:db8:c::5"}
"""A client's host by the server's that it comes to."""


class Heard(NamedTuple):
    """An answer: who heard it, and from where."""

    message: Message
    to: TransportAddress
    from_: TransportAddress


class DiscoveryWorld(World):
    """With four more listeners a family, as many as the ones that are missing."""

    def __init__(self, quartets: tuple[Quartet, ...] = (QUARTET, QUARTET6)) -> None:
        super().__init__()
        self.state.quartets = quartets
        self.listeners = {TransportAddress("192.0.2.1", 3478): self.listener}
        for quartet in quartets:
            for host in quartet.hosts:
                for port in quartet.ports:
                    endpoint = TransportAddress(host.bound, port)
                    if endpoint not in self.listeners:
                        listener = self.engine.listen(endpoint, ListenerSettings())
                        self.listeners[endpoint] = listener

    def at(
        self, local: TransportAddress, port: int = 4000, host: str = "203.0.113.5", user: str = ""
    ) -> Client:
        """A client of UDP that has come to one of the endpoints."""
        client = ClientAddress(TransportAddress(host, port))
        leg = Leg(self.listeners[local], Transport.UDP, ServerAddress(local), client)
        made = self.client(user=user or "alice")
        made.leg = leg
        return made

    def heard(self, client: Client, data: bytes, *, classic: bool = False) -> list[Heard]:
        """What a datagram or stream of a client provoked, wherever it went."""
        before = len(self.engine.sent_to_client)
        client.send(data)
        sent: list[SentToClient] = self.engine.sent_to_client[before:]
        return [
            Heard(decode_untrusted(each.data, classic=classic), each.leg.client, each.leg.local)
            for each in sent
        ]
