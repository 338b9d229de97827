"""Where the legs of the portable engine lead to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine.contract import Allocation
from tests.engine.socket_worlds import PortableWorld
from tests.engine.worlds import SETTINGS
from turnd.engine.base import CloseReason, Leg, ListenerId, ListenerSettings, Transport
from turnd.engine.legs import as_if_to
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world() -> AsyncIterator[PortableWorld]:
    surroundings = PortableWorld()
    yield surroundings
    await surroundings.close()


async def test_settings_are_those_of_the_listener_that_a_leg_came_by(world: PortableWorld) -> None:
    legs = world.engine._legs
    datagrams = world.leg(world.client())
    stream, _ = world.adopt(Transport.TCP, replace(SETTINGS, stream_backlog=7))
    assert legs.settings_for(datagrams) is SETTINGS
    assert legs.settings_for(stream).stream_backlog == 7
    assert legs.settings_for(None) == ListenerSettings()
    world.engine.close_listener(stream.listener)
    assert legs.settings_for(stream) == ListenerSettings()


async def test_a_leg_keeps_its_client_as_long_as_it_has_relays(world: PortableWorld) -> None:
    legs = world.engine._legs
    allocation = Allocation(world)
    client = legs.client(allocation.leg)
    assert client is legs.client(allocation.leg)
    assert client in legs.udp_listeners[world.listener].clients.values()
    world.engine.close_relay(allocation.relay)
    assert legs.client(allocation.leg) is not client
    assert not legs.udp_listeners[world.listener].clients


async def test_a_leg_that_has_ended_leads_nowhere(world: PortableWorld) -> None:
    legs = world.engine._legs
    datagrams = world.leg(world.client())
    stream, _ = world.adopt(Transport.TCP)
    assert None not in {legs.route_to(datagrams), legs.route_to(stream)}
    world.engine.close_leg(stream, CloseReason.SERVER)
    world.engine.close_listener(world.listener)
    assert legs.route_to(datagrams) is legs.route_to(stream) is None
    assert legs.client(datagrams) is legs.client(stream) is None


def test_a_leg_as_if_it_had_come_to_another_address() -> None:
    here, there = (ServerAddress(TransportAddress(f"192.0.2.{n}", 3478)) for n in (1, 2))
    client = ClientAddress(TransportAddress("203.0.113.5", 4000))
    leg = Leg(ListenerId(1), Transport.UDP, here, client)
    both = {ListenerId(1): here, ListenerId(2): there}
    everywhere = {ListenerId(3): TransportAddress("0.0.0.0", 3478)}
    other_port = {ListenerId(4): TransportAddress("0.0.0.0", 3479)}
    other_family = {ListenerId(5): TransportAddress("::", 3478)}
    assert as_if_to(leg, there, both) == leg._replace(listener=ListenerId(2), local=there)
    assert as_if_to(leg, there, everywhere) == leg._replace(listener=ListenerId(3), local=there)
    assert as_if_to(leg, there, other_port | other_family) is None
