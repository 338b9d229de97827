"""The contract on the fake engine, and what is particular to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine import (
    contract,
    contract_bounds,
    contract_discovery,
    contract_fields,
    contract_icmp,
    contract_mobility,
    contract_protection,
    contract_splicing,
    contract_streams,
)
from tests.engine.worlds import LOOPBACK, SETTINGS, FakeWorld
from turnd.engine.base import (
    ListenerSettings,
    RelayError,
    Transport,
)
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


class TestFields(contract_fields.HeaderFields):
    """See the contract."""


class TestIcmp(contract_icmp.Icmp):
    """See the contract."""


class TestWaiting(contract_bounds.Waiting):
    """See the contract."""


class TestBudget(contract_bounds.Budget):
    """See the contract."""


class TestBandwidth(contract_bounds.Bandwidth):
    """See the contract."""


class TestProtection(contract_protection.Protection):
    pass


class TestOwnAddresses(contract_protection.OwnAddresses):
    pass


class TestDiscovery(contract_discovery.Discovery):
    """See the contract."""


class TestMobility(contract_mobility.Mobility):
    pass


class TestStreams(contract_streams.Streams):
    pass


class TestSplicing(contract_splicing.Splicing):
    """See the contract."""


async def test_it_writes_down_the_verbs(world: FakeWorld) -> None:
    engine = world.engine
    relay, bound = world.open_relay(None)
    engine.extend(relay, 5)
    engine.close_relay(relay)
    assert engine.calls[-3:] == [
        ("open_relay", (None, bound, world.clock.now + 600, ())),
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


async def test_new_settings_are_for_new_streams(world: FakeWorld) -> None:
    stream = await world.connect(Transport.TCP)
    world.engine.configure(stream.leg.listener, ListenerSettings(frame_timeout=1))
    new = world.adopt_by(stream.leg.listener)
    for leg in (stream.leg, new):
        world.engine.stream_bytes(leg, contract.REQUEST[:4])
    world.clock.now += 1
    world.engine.tick()
    assert world.engine.is_open(stream.leg)
    assert not world.engine.is_open(new)
