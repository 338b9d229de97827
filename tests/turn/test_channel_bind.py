from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import OTHER_PEER, PEER, PEER6, World, code_of, from_peer
from tests.turn.tcp import tcp_client, tcp_world
from turnd.allocations.allocation import AllocationLimits
from turnd.engine.base import Drop
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, ChannelNumber, TransportAddress
from turnd.stun.channel_data import decode_channel_data_untrusted
from turnd.stun.message import IntegrityAlgorithm, Method

DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)


def test_success_is_signed_and_relays_both_ways() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    answer = client.bind(0x4000, PEER)
    assert code_of(answer) is None
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    client.channel_data(0x4000, b"up")
    (sent,) = world.engine.sent_to_peer
    assert (sent.target, sent.data) == (PEER, b"up")
    (received,) = from_peer(world, relayed, PEER, b"down")
    assert decode_channel_data_untrusted(received) == (0x4000, b"down")


@pytest.mark.parametrize("number", [0, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF])
def test_numbers_out_of_range_are_400(number: int) -> None:
    client = World().client()
    client.allocated()
    assert code_of(client.bind(number, PEER)) == 400


@pytest.mark.parametrize("number", [0x4000, 0x4FFF])
def test_both_ends_of_the_range_are_in_it(number: int) -> None:
    client = World().client()
    client.allocated()
    assert code_of(client.bind(number, PEER)) is None


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        ((a.CHANNEL_NUMBER, 0x4000),),
        ((a.XOR_PEER_ADDRESS, PEER),),
        ((a.CHANNEL_NUMBER, 0x4000), (a.XOR_PEER_ADDRESS, TransportAddress(PEER.host, 0))),
        ((a.raw(a.CHANNEL_NUMBER.number), b"\x40"), (a.XOR_PEER_ADDRESS, PEER)),
        ((a.CHANNEL_NUMBER, 0x4000), (a.raw(a.XOR_PEER_ADDRESS.number), b"\x00\x01\x00")),
    ],
)
def test_missing_or_malformed_attributes_are_400(attributes: Any) -> None:
    world = World()
    client = world.client()
    client.allocated()
    answer = client.request(Method.CHANNEL_BIND, attributes)
    assert code_of(answer) == 400
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    (allocation,) = world.state.table
    assert not allocation.relays[0].channels


def test_a_number_belongs_to_one_peer_and_a_peer_to_one_number() -> None:
    client = World().client()
    client.allocated()
    client.bind(0x4000, PEER)
    assert code_of(client.bind(0x4000, OTHER_PEER)) == 400
    assert code_of(client.bind(0x4000, TransportAddress(PEER.host, PEER.port + 1))) == 400
    assert code_of(client.bind(0x4001, PEER)) == 400
    assert code_of(client.bind(0x4000, PEER)) is None
    assert code_of(client.bind(0x4001, TransportAddress(PEER.host, PEER.port + 1))) is None


def test_number_and_peer_are_free_again_when_the_channel_has_ended() -> None:
    world = World()
    client = world.client()
    client.allocated((a.LIFETIME, 3600))
    client.bind(0x4000, PEER)
    world.pass_time(599.5)
    assert code_of(client.bind(0x4001, PEER)) == 400
    world.pass_time(0.5)
    assert code_of(client.bind(0x4001, PEER)) is None
    assert code_of(client.bind(0x4000, OTHER_PEER)) is None


def test_a_channel_lasts_600_seconds_from_its_last_refresh() -> None:
    world = World()
    client = world.client()
    client.allocated((a.LIFETIME, 3600))
    client.bind(0x4000, PEER)
    world.pass_time(400)
    client.bind(0x4000, PEER)
    world.pass_time(599)
    client.channel_data(0x4000, b"alive")
    assert [each.data for each in world.engine.sent_to_peer] == [b"alive"]
    world.pass_time(1)
    client.channel_data(0x4000, b"gone")
    assert len(world.engine.sent_to_peer) == 1
    assert world.engine.counters().drops[Drop.NO_CHANNEL] == 1


def test_its_permission_lasts_300_seconds_while_the_channel_lasts_600() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.bind(0x4000, PEER)
    world.pass_time(299)
    assert from_peer(world, relayed, PEER, b"in")
    world.pass_time(1)
    assert from_peer(world, relayed, PEER, b"in") == []
    client.channel_data(0x4000, b"out")
    assert [each.data for each in world.engine.sent_to_peer] == [b"out"]


def test_another_family_than_the_relays_is_443() -> None:
    client = World().client()
    client.allocated()
    assert code_of(client.bind(0x4000, PEER6)) == 443


def test_a_dual_allocation_binds_peers_of_both_families() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    assert code_of(client.bind(0x4000, PEER)) is None
    assert code_of(client.bind(0x4001, PEER6)) is None
    client.channel_data(0x4000, b"4")
    client.channel_data(0x4001, b"6")
    assert [(each.target, each.data) for each in world.engine.sent_to_peer] == [
        (PEER, b"4"),
        (PEER6, b"6"),
    ]


def test_a_peer_that_the_policy_refuses_is_403_and_binds_nothing() -> None:
    world = World(deny=[PEER.host])
    client = world.client()
    client.allocated()
    assert code_of(client.bind(0x4000, PEER)) == 403
    (allocation,) = world.state.table
    assert not allocation.relays[0].channels
    assert not allocation.relays[0].permissions


def test_the_servers_own_listener_is_403_at_its_port_alone() -> None:
    client = World().client()
    client.allocated()
    assert code_of(client.bind(0x4000, TransportAddress("192.0.2.1", 3478))) == 403
    assert code_of(client.bind(0x4000, TransportAddress("192.0.2.1", 50_005))) is None


def test_too_many_channels_or_permissions_are_508() -> None:
    world = World()
    client = world.client()
    client.allocated()
    world.state.table.limits = AllocationLimits(max_channels=1)
    client.bind(0x4000, PEER)
    assert code_of(client.bind(0x4001, OTHER_PEER)) == 508
    world.state.table.limits = AllocationLimits(max_permissions=1)
    assert code_of(client.bind(0x4001, OTHER_PEER)) == 508
    assert code_of(client.bind(0x4000, PEER)) is None


def test_without_an_allocation_it_is_437_and_on_anothers_441() -> None:
    world = World()
    client = world.client()
    assert code_of(client.bind(0x4000, PEER)) == 437
    client.allocated()
    assert code_of(world.client(user="bob").bind(0x4000, PEER)) == 441


def test_the_engine_learns_the_permission_before_the_channel() -> None:
    world = World()
    client = world.client()
    client.allocated()
    del world.engine.calls[:]
    client.bind(0x4000, PEER)
    verbs = [call.verb for call in world.engine.calls]
    assert verbs == ["permit", "bind_channel", "send_to_client"]
    permit, bind, _ = (call.arguments for call in world.engine.calls)
    assert permit[1:] == (PEER.host, world.now + 300)
    assert bind[1:] == (ChannelNumber(0x4000), PEER, world.now + 600)


def test_a_tcp_allocation_has_no_channels() -> None:
    client, _ = tcp_client(tcp_world())
    assert code_of(client.bind(0x4000, PEER)) == 400
