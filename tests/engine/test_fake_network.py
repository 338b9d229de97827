"""The network around the fake engine, where it is more than the contract shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine import contract
from tests.engine.worlds import LOOPBACK, SETTINGS, FakeWorld
from turnd.engine.base import CloseReason, Leg, LegClosed, Transport
from turnd.stun import attributes
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    surroundings = FakeWorld()
    yield surroundings
    await surroundings.close()


async def test_what_can_be_asked(world: FakeWorld) -> None:
    relay, bound = world.open_relay(None)
    assert world.engine.relay_at(bound) == relay
    assert world.engine.bound_of(relay) == bound
    with pytest.raises(KeyError):
        world.engine.relay_at(TransportAddress(LOOPBACK, 9))


async def test_dont_fragment_can_be_seen(world: FakeWorld) -> None:
    allocation = contract.Allocation(world)
    engine, peer = world.engine, allocation.peer.address
    marked = contract.send_indication(peer, b"x", (attributes.DONT_FRAGMENT, True))
    for data in (contract.send_indication(peer, b"x"), marked):
        engine.datagram_from_client(allocation.leg, data)
    assert [sent.dont_fragment for sent in engine.sent_to_peer] == [False, True]


async def test_dont_fragment_is_for_ipv4_alone_unless_it_comes_by_a_stream(
    world: FakeWorld,
) -> None:
    engine = world.engine
    six = engine.listen(TransportAddress("::1", 3478), SETTINGS)
    by_ipv4, by_stream = world.leg(world.client()), (await world.connect(Transport.TCP)).leg
    client = ClientAddress(TransportAddress("::1", 7))
    by_ipv6 = Leg(six, Transport.UDP, ServerAddress(engine.endpoint(six)), client)
    for leg in (by_ipv4, by_ipv6, by_stream):
        for host in (LOOPBACK, "::1"):
            relay, _ = world.open_relay(leg, host)
            peer = world.peer(host)
            world.permit(relay, peer)
            data = contract.send_indication(peer.address, b"x", (attributes.DONT_FRAGMENT, True))
            if leg is by_stream:
                engine.stream_bytes(leg, data)
            else:
                engine.datagram_from_client(leg, data)
    heeded = [sent.dont_fragment for sent in engine.sent_to_peer]
    assert heeded == [True, False, False, False, True, True]


async def test_an_answer_that_cannot_be_sent_is_counted(world: FakeWorld) -> None:
    client = world.client()
    world.engine.refused[client.address] = 1
    world.engine.send_to_client(world.leg(client), contract.ANSWER)
    await world.dropped(refused=1)


async def test_a_handshake_fails(world: FakeWorld) -> None:
    stream = await world.handshake()
    world.engine.handshake_failed(stream.leg)
    assert world.engine.poll() == [LegClosed(stream.leg, CloseReason.HANDSHAKE_FAILED)]
