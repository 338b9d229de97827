"""The contract on the fake engine, and what is particular to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine import contract, contract_protection, contract_streams
from tests.engine.worlds import LOOPBACK, SETTINGS, FakeWorld
from turnd.engine.base import (
    CloseReason,
    LegClosed,
    ListenerSettings,
    RelayError,
    Transport,
)
from turnd.stun import attributes
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    surroundings = FakeWorld()
    yield surroundings
    await surroundings.close()


class TestHandingUp(contract.HandingUp):
    pass


class TestRelays(contract.Relays):
    pass


class TestChannels(contract.Channels):
    pass


class TestIndications(contract.Indications):
    pass


class TestFailures(contract.Failures):
    pass


class TestProtection(contract_protection.Protection):
    pass


class TestOwnAddresses(contract_protection.OwnAddresses):
    pass


class TestStreams(contract_streams.Streams):
    pass


async def test_it_writes_down_the_verbs(world: FakeWorld) -> None:
    engine = world.engine
    relay, bound = world.open_relay(None)
    engine.extend(relay, 5)
    engine.close_relay(relay)
    assert engine.calls[-3:] == [
        ("open_relay", (None, bound, world.clock.now + 600)),
        ("extend", (relay, 5)),
        ("close_relay", (relay,)),
    ]


async def test_its_descriptors_run_out(world: FakeWorld) -> None:
    world.engine.descriptors = 1
    world.open_relay(None)
    bound = TransportAddress(LOOPBACK, 9)
    assert world.engine.open_relay(None, bound, 9e9) is RelayError.NO_DESCRIPTORS


async def test_others_have_ports(world: FakeWorld) -> None:
    bound = TransportAddress(LOOPBACK, 9)
    world.engine.taken.add(bound)
    assert world.engine.open_relay(None, bound, 9e9) is RelayError.PORT_TAKEN
    with pytest.raises(OSError, match="in use"):
        world.engine.listen(world.engine.endpoint(world.listener), SETTINGS)
    anywhere = world.engine.listen(TransportAddress(LOOPBACK, 0), SETTINGS)
    assert world.engine.endpoint(anywhere).port


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


async def test_an_answer_that_cannot_be_sent_is_counted(world: FakeWorld) -> None:
    client = world.client()
    world.engine.refused[client.address] = 1
    world.engine.send_to_client(world.leg(client), contract.ANSWER)
    await world.dropped(refused=1)


async def test_a_handshake_fails(world: FakeWorld) -> None:
    stream = await world.handshake()
    world.engine.handshake_failed(stream.leg)
    assert world.engine.poll() == [LegClosed(stream.leg, CloseReason.HANDSHAKE_FAILED)]


async def test_new_settings_are_for_new_streams(world: FakeWorld) -> None:
    stream = await world.connect(Transport.TCP)
    world.engine.configure(stream.leg.listener, ListenerSettings(frame_timeout=1))
    new = world.adopt_by(stream.leg.listener)
    for leg in (stream.leg, new):
        world.engine.stream_bytes(leg, contract.BINDING[:4])
    world.clock.now += 1
    world.engine.tick()
    assert world.engine.is_open(stream.leg)
    assert not world.engine.is_open(new)
