from __future__ import annotations

from typing import Any

import pytest

from tests.turn.harness import OTHER_PEER, PEER, PEER6, World, code_of, from_peer
from tests.turn.tcp import tcp_client, tcp_world
from turnd.allocations.allocation import AllocationLimits
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.message import IntegrityAlgorithm, Method

DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)
MALFORMED = (a.raw(a.XOR_PEER_ADDRESS.number), b"\x00\x01\x00\x00")


def permitted(world: World) -> set[str]:
    return {
        host
        for allocation in world.state.table
        for relay in allocation.relays
        for host in relay.permissions
    }


def test_success_is_signed_and_lets_the_peer_in_from_any_port() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    assert from_peer(world, relayed, PEER, b"too early") == []
    answer = client.permit(PEER)
    assert code_of(answer) is None
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    assert from_peer(world, relayed, PEER, b"hello")
    assert from_peer(world, relayed, TransportAddress(PEER.host, 1), b"hello")
    assert from_peer(world, relayed, OTHER_PEER, b"hello") == []


def test_several_peers_at_once_and_the_port_does_not_matter() -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    assert code_of(client.permit(PEER, TransportAddress(OTHER_PEER.host, 0), PEER6, PEER)) is None
    assert permitted(world) == {PEER.host, OTHER_PEER.host, PEER6.host}


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ((), 400),
        ((MALFORMED,), 400),
        (((a.XOR_PEER_ADDRESS, PEER), MALFORMED), 400),
        (((a.XOR_PEER_ADDRESS, PEER), (a.XOR_PEER_ADDRESS, PEER6)), 443),
        (((a.XOR_PEER_ADDRESS, PEER), (a.XOR_PEER_ADDRESS, OTHER_PEER)), 403),
    ],
)
def test_all_or_nothing(attributes: Any, code: int) -> None:
    world = World(deny=[OTHER_PEER.host])
    client = world.client()
    client.allocated()
    del world.engine.calls[:]
    answer = client.request(Method.CREATE_PERMISSION, attributes)
    assert code_of(answer) == code
    assert answer.verify_integrity(client.key(), IntegrityAlgorithm.SHA1)
    assert permitted(world) == set()
    assert [call.verb for call in world.engine.calls] == ["send_to_client"]


def test_too_many_are_508_and_none_is_installed() -> None:
    world = World()
    client = world.client()
    client.allocated()
    world.state.table.limits = AllocationLimits(max_permissions=2)
    third = TransportAddress("198.51.100.11", 1)
    assert code_of(client.permit(PEER, OTHER_PEER, third)) == 508
    assert permitted(world) == set()
    assert code_of(client.permit(PEER, OTHER_PEER)) is None
    assert code_of(client.permit(third)) == 508
    assert code_of(client.permit(PEER)) is None


def test_a_permission_ends_on_its_300th_second_and_a_refresh_counts_anew() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.permit(PEER)
    world.pass_time(200)
    client.permit(PEER)
    world.pass_time(299.5)
    assert from_peer(world, relayed, PEER, b"alive")
    world.pass_time(0.5)
    assert from_peer(world, relayed, PEER, b"gone") == []
    assert permitted(world) == set()


def test_the_servers_own_relay_address_may_be_permitted() -> None:
    world = World(deny=["special-purpose"])
    client = world.client()
    client.allocated()
    assert code_of(client.permit(TransportAddress("192.0.2.1", 1))) is None


def test_without_an_allocation_it_is_437_and_on_anothers_441() -> None:
    world = World()
    client = world.client()
    assert code_of(client.permit(PEER)) == 437
    client.allocated()
    assert code_of(world.client(user="bob").permit(PEER)) == 441
    assert permitted(world) == set()


def test_a_tcp_allocations_permissions_are_no_matter_of_the_engine() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    del world.engine.calls[:]
    assert code_of(client.permit(PEER)) is None
    (allocation,) = world.state.table
    assert allocation.permits(PEER.host, world.now)
    assert [call.verb for call in world.engine.calls] == ["send_to_client"]
