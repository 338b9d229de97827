"""Short ways to TCP allocations and their connections (RFC 6062)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.turn.harness import PEER, Client, World, code_of
from turnd.allocations.allocation import RelayedTransport
from turnd.stun import attributes as a
from turnd.stun.message import Message, Method, decode_untrusted
from turnd.turn.settings import TurnSettings

if TYPE_CHECKING:
    from turnd.stun.addresses import TransportAddress

TCP = (a.REQUESTED_TRANSPORT, RelayedTransport.TCP)


def tcp_world(**options: Any) -> World:
    return World(settings=TurnSettings(tcp=True), **options)


def tcp_client(
    world: World, *attributes: tuple[a.Attribute[Any], Any], user: str = "alice"
) -> tuple[Client, TransportAddress]:
    """A client with a TCP allocation, and its first relayed transport address."""
    client = world.stream_client(user=user)
    answer = client.request(Method.ALLOCATE, (TCP, *attributes))
    assert code_of(answer) is None, answer
    relayed = answer.get(a.XOR_RELAYED_ADDRESS)
    assert relayed is not None
    return client, relayed


def ask_to_connect(
    client: Client, peer: TransportAddress = PEER, transaction_id: bytes | None = None
) -> list[Message]:
    """Send a Connect; what is answered at once."""
    attributes = ((a.XOR_PEER_ADDRESS, peer),)
    data = client.signed(Method.CONNECT, attributes, transaction_id=transaction_id)
    return [decode_untrusted(each) for each in client.send(data)]


def connected(client: Client, peer: TransportAddress = PEER) -> int:
    """A connection that waits to be bound; its CONNECTION-ID."""
    assert ask_to_connect(client, peer) == []
    client.world.peer_sockets.stands(client.world.now)
    number = told(client).get(a.CONNECTION_ID)
    assert number is not None
    return number


def told(client: Client) -> Message:
    """The last that the client was sent."""
    mine = [each for each in client.world.engine.sent_to_client if each.leg == client.leg]
    return decode_untrusted(mine[-1].data)


def bind(client: Client, number: int) -> Message:
    """ConnectionBind on a stream; its answer."""
    return client.request(Method.CONNECTION_BIND, ((a.CONNECTION_ID, number),))


def bound(client: Client, peer: TransportAddress = PEER) -> tuple[Client, int]:
    """A stream of the same user that is one with a peer's connection, and its number."""
    number = connected(client, peer)
    data = client.world.stream_client(user=client.user)
    assert code_of(bind(data, number)) is None
    return data, number
