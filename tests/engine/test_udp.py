"""The UDP sockets of the portable engine, where they are more than the contract shows."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import ANSWER, REQUEST, Allocation, channel_data, send_indication
from tests.engine.socket_worlds import PortableWorld
from tests.engine.worlds import LOOPBACK, SETTINGS
from turnd.engine import ancillary, udp
from turnd.engine.ancillary import Told
from turnd.engine.base import ClientMessage, Leg, RelayId, Transport
from turnd.engine.fields import SYSTEM, Fields
from turnd.engine.forwarding import Forwarder
from turnd.engine.intake import BATCH
from turnd.engine.rules import Rules
from turnd.engine.udp import UdpRelay
from turnd.stun import attributes
from turnd.stun.addresses import (
    ClientAddress,
    ServerAddress,
    TransportAddress,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.engine.socket_worlds import SocketParty
    from turnd.engine.base import ListenerId

_IP_MTU_DISCOVER = 10
_IP_RECVERR = 11
_PROBE, _OMIT = 3, 5
"""Modes of the option: the Don't Fragment bit, and none; neither believes what ICMP says."""


@pytest.fixture
async def world() -> AsyncIterator[PortableWorld]:
    surroundings = PortableWorld()
    yield surroundings
    await surroundings.close()


def leg_at(world: PortableWorld, listener: ListenerId, host: str, client: SocketParty) -> Leg:
    port = world.engine.endpoint(listener).port
    local = ServerAddress(TransportAddress(host, port))
    return Leg(listener, Transport.UDP, local, ClientAddress(client.address))


@pytest.mark.parametrize(
    ("wildcard", "hosts", "from_host"),
    [("0.0.0.0", [LOOPBACK, "127.0.0.2"], LOOPBACK), ("::", ["::1"], "::1")],
)
async def test_a_wildcard_listener_answers_from_the_address_asked(
    world: PortableWorld, wildcard: str, hosts: list[str], from_host: str
) -> None:
    listener = world.engine.listen(TransportAddress(wildcard, 0), SETTINGS)
    client = world.client(from_host)
    for host in hosts:
        leg = leg_at(world, listener, host, client)
        client.send(REQUEST, leg.local)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]
        world.engine.send_to_client(leg, ANSWER)
        assert await client.receive() == (ANSWER, leg.local)


async def test_our_address_is_part_of_the_five_tuple(world: PortableWorld) -> None:
    listener = world.engine.listen(TransportAddress("0.0.0.0", 0), SETTINGS)
    client, relays = world.client(), []
    for index, host in enumerate([LOOPBACK, "127.0.0.2"]):
        leg = leg_at(world, listener, host, client)
        relay, relayed = world.open_relay(leg)
        peer = world.peer()
        world.permit(relay, peer)
        world.bind(relay, peer)
        relays.append(relay)
        client.send(channel_data(bytes([index])), leg.local)
        assert await peer.receive() == (bytes([index]), relayed)
        peer.send(b"back", relayed)
        assert await client.receive() == (channel_data(b"back"), leg.local)
        client.send(REQUEST, leg.local)
        assert await world.events(1) == [ClientMessage(leg, REQUEST)]
    world.engine.close_relay(relays[0])
    client.send(channel_data(b"late"), leg_at(world, listener, LOOPBACK, client).local)
    await world.dropped(no_allocation=1)


async def test_a_listener_may_be_inherited(world: PortableWorld) -> None:
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs.bind((LOOPBACK, 0))
    endpoint = TransportAddress(*theirs.getsockname())
    listener = world.engine.listen(endpoint, SETTINGS, theirs.detach())
    assert world.engine.endpoint(listener) == endpoint
    client = world.client()
    client.send(REQUEST, endpoint)
    leg = leg_at(world, listener, LOOPBACK, client)
    assert await world.events(1) == [ClientMessage(leg, REQUEST)]


async def test_an_endpoint_that_is_taken_says_so(world: PortableWorld) -> None:
    with pytest.raises(OSError, match="in use"):
        world.engine.listen(world.engine.endpoint(world.listener), SETTINGS)
    with pytest.raises(OSError, match="assign"):
        world.engine.listen(TransportAddress("198.51.100.77", 0), SETTINGS)


async def test_new_buffers_are_for_the_listener_and_its_next_relays(world: PortableWorld) -> None:
    smaller = SETTINGS.__class__(receive_buffer=30_000, send_buffer=20_000)
    world.engine.configure(world.listener, smaller)
    allocation = Allocation(world)
    relay = world.engine._rules.relays[allocation.relay]
    assert isinstance(relay, UdpRelay)
    assert relay.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000
    listener = world.engine._legs.udp_listeners[world.listener]
    assert listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000


async def test_a_claimed_reservation_has_the_listeners_buffers(world: PortableWorld) -> None:
    relay, _ = world.open_relay(None)
    found = world.engine._rules.relays[relay]
    assert isinstance(found, UdpRelay)
    world.engine.move(relay, world.leg(world.client()), 9e9)
    size = found.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert size == 2 * SETTINGS.receive_buffer


async def test_what_is_too_big_for_the_client_is_dropped(world: PortableWorld) -> None:
    allocation = Allocation(world)
    allocation.answer(bytes(65_504))
    await world.dropped(too_big=1)
    await allocation.passes()
    allocation.answer(bytes(65_503))
    assert len((await allocation.client.receive())[0]) == 65_507


async def test_more_than_a_batch_passes(world: PortableWorld) -> None:
    allocation = Allocation(world)
    number = 3 * BATCH + 5
    for index in range(number):
        allocation.send(channel_data(bytes([index])))
        allocation.answer(bytes([index]))
    for index in range(number):
        assert (await allocation.peer.receive())[0] == bytes([index])
        assert (await allocation.client.receive())[0] == channel_data(bytes([index]))


@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
async def test_an_icmp_error_of_a_client_disturbs_no_other(world: PortableWorld, host: str) -> None:
    listener = world.engine.listen(TransportAddress(host, 0), SETTINGS)
    sock = world.engine._legs.udp_listeners[listener].sock
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    gone, client = world.client(), world.client()
    gone.sock.close()
    world.engine.send_to_client(leg_at(world, listener, LOOPBACK, gone), ANSWER)
    leg = leg_at(world, listener, LOOPBACK, client)
    client.send(REQUEST, leg.local)
    assert await world.events(1) == [ClientMessage(leg, REQUEST)]


class _Spy:
    """Stands in for what sends by a relay's socket and notes under which mode it did."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.modes: list[int] = []

    def transmit(self, data: bytes, _target: object, _fields: Fields = SYSTEM) -> None:
        self.modes.append(self._sock.getsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER))
        if not data:
            raise PermissionError(1, "refused")


def test_dont_fragment_holds_for_one_datagram() -> None:
    forwarder = Forwarder(Rules(lambda _host: False))
    bound = TransportAddress(LOOPBACK, 0)
    relay = UdpRelay(RelayId(1), bound, 9e9, SETTINGS, forwarder)
    with relay.sock as sock:
        spy = _Spy(sock)
        relay.transmit = spy.transmit
        relay.transmit_unfragmented(b"whole", (LOOPBACK, 9))
        with pytest.raises(PermissionError):
            relay.transmit_unfragmented(b"", (LOOPBACK, 9))
        assert spy.modes == [_PROBE, _PROBE]
        assert sock.getsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER) == _OMIT


async def test_what_is_long_reaches_clients_in_fragments(world: PortableWorld) -> None:
    listener = world.engine._legs.udp_listeners[world.listener]
    assert listener.sock.getsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER) == _OMIT


async def test_a_relay_may_take_any_port(world: PortableWorld) -> None:
    client = world.client()
    relay = world.engine.open_relay(world.leg(client), TransportAddress(LOOPBACK, 0), 9e9)
    assert isinstance(relay, int)
    bound = world.engine._rules.relays[relay].bound
    peer = world.peer()
    world.permit(relay, peer)
    client.send(
        send_indication(peer.address, b"hello", (attributes.DONT_FRAGMENT, True)),
        world.engine.endpoint(world.listener),
    )
    assert await peer.receive() == (b"hello", bound)


async def test_a_datagram_whose_address_is_not_told_is_left_out(
    world: PortableWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = world.engine.listen(TransportAddress("0.0.0.0", 0), SETTINGS)
    client = world.client()
    leg = leg_at(world, listener, LOOPBACK, client)
    told = ancillary.told_by
    answers = iter([Told(None, SYSTEM)])
    monkeypatch.setattr(udp, "told_by", lambda *beside: next(answers, told(*beside)))
    client.send(b"first", leg.local)
    client.send(REQUEST, leg.local)
    assert await world.events(1) == [ClientMessage(leg, REQUEST)]
    assert world.drops() == {}
