from __future__ import annotations

import pytest

from tests.turn.harness import OTHER_PEER, PEER, World, from_peer
from tests.turn.tcp import bound, tcp_client, tcp_world
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.table import AllocationEnded, RelayEnded
from turnd.stun import attributes as a
from turnd.stun.addresses import AddressFamily
from turnd.turn import events
from turnd.turn.ending import carry_out, end_allocation, forget_expired, revoke_refused_peers
from turnd.turn.events import EndReason

DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6)
LONG_AGO = float("-inf")


def verbs(world: World) -> list[str]:
    return [call.verb for call in world.engine.calls]


@pytest.mark.parametrize("reason", list(EndReason))
def test_an_allocation_ends_with_all_it_has(reason: EndReason) -> None:
    world = World()
    client = world.client()
    client.allocated(DUAL)
    (allocation,) = world.state.table
    world.pass_time(7)
    del world.engine.calls[:]
    end_allocation(world.state, allocation, reason, world.now)
    assert verbs(world) == ["close_relay", "close_relay"]
    assert len(world.state.table) == world.engine.counters().relays == 0
    assert world.realm.quotas.in_use == world.state.table.quotas.in_use == 0
    assert [each.ports.in_use for each in world.relays] == [0, 0]
    assert world.reported(events.AllocationEnded) == [
        events.AllocationEnded(client.leg, "alice", "example.org", reason, 7)
    ]


def test_what_has_ended_already_ends_no_second_time() -> None:
    world = World()
    world.client().allocated()
    (allocation,) = world.state.table
    end_allocation(world.state, allocation, EndReason.DELETED, world.now)
    end_allocation(world.state, allocation, EndReason.SHUTDOWN, world.now)
    assert len(world.reported(events.AllocationEnded)) == 1


def test_the_records_of_one_relay_leave_the_other_alone() -> None:
    world = World()
    world.client().allocated(DUAL)
    (allocation,) = world.state.table
    ended = world.state.table.remove(allocation, AddressFamily.IPV4)
    assert [type(each) for each in ended] == [RelayEnded]
    carry_out(world.state, ended, EndReason.DELETED, world.now)
    assert world.engine.counters().relays == 1
    assert world.reported(events.AllocationEnded) == []
    ended = world.state.table.remove(allocation, AddressFamily.IPV6)
    assert [type(each) for each in ended] == [RelayEnded, AllocationEnded]
    carry_out(world.state, ended, EndReason.DELETED, world.now)
    assert len(world.reported(events.AllocationEnded)) == 1


def test_things_end_in_the_order_of_their_deadlines() -> None:
    world = World()
    client = world.client()
    client.allocated((a.EVEN_PORT, True), (a.LIFETIME, 900))
    client.permit(OTHER_PEER)
    client.bind(0x4000, PEER)
    del world.engine.calls[:]
    ended: list[tuple[float, list[str]]] = []
    for second in range(901):
        forget_expired(world.state, world.now + second)
        if world.engine.calls:
            ended.append((second, verbs(world)))
            del world.engine.calls[:]
    assert ended == [
        (30, ["close_relay"]),  # the reservation
        (300, ["permit", "permit"]),
        (600, ["bind_channel"]),
        (900, ["close_relay"]),
    ]
    (event,) = world.reported(events.AllocationEnded)
    assert (event.reason, event.duration) == (EndReason.EXPIRED, 900)


def test_a_reservation_that_nobody_claims_gives_its_port_back() -> None:
    world = World()
    world.client().allocated((a.EVEN_PORT, True))
    ipv4 = next(iter(world.relays)).ports
    assert ipv4.in_use == 2
    forget_expired(world.state, world.now + 29.9)
    assert ipv4.in_use == 2
    forget_expired(world.state, world.now + 30)
    assert ipv4.in_use == 1
    assert world.engine.counters().relays == 1


def test_a_new_policy_takes_back_what_it_refuses_and_nothing_else() -> None:
    world = World()
    client = world.client()
    relayed = client.allocated()
    client.permit(OTHER_PEER)
    client.bind(0x4000, PEER)
    client.bind(0x4001, OTHER_PEER)
    world.realm.policy = PeerPolicy.build([PEER.host])
    del world.engine.calls[:]
    revoke_refused_peers(world.state, world.now)
    assert [(call.verb, call.arguments[-1]) for call in world.engine.calls] == [
        ("permit", LONG_AGO),
        ("bind_channel", LONG_AGO),
    ]
    assert from_peer(world, relayed, PEER, b"in") == []
    client.channel_data(0x4000, b"out")
    assert world.engine.sent_to_peer == []
    assert from_peer(world, relayed, OTHER_PEER, b"in")
    client.channel_data(0x4001, b"out")
    assert [each.target for each in world.engine.sent_to_peer] == [OTHER_PEER]


def test_a_policy_that_refuses_nothing_new_changes_nothing() -> None:
    world = World()
    client = world.client()
    client.allocated()
    client.bind(0x4000, PEER)
    del world.engine.calls[:]
    revoke_refused_peers(world.state, world.now)
    assert world.engine.calls == []


def test_a_client_that_is_expected_elsewhere_is_no_more() -> None:
    world = World()
    client, elsewhere = world.client(), world.client(port=4001)
    client.allocated()
    (allocation,) = world.state.table
    ticket = world.state.tickets.issue(allocation)
    world.state.table.expect(allocation, elsewhere.leg)
    del world.engine.calls[:]
    end_allocation(world.state, allocation, EndReason.DELETED, world.now)
    assert verbs(world) == ["close_relay", "hand_over"]
    assert world.engine.calls[1].arguments == ((), elsewhere.leg)
    assert world.state.tickets.find(ticket) is None


def test_a_tcp_allocations_permissions_end_without_the_engine() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    client.permit(PEER, OTHER_PEER)
    world.realm.policy = PeerPolicy.build([PEER.host])
    del world.engine.calls[:]
    revoke_refused_peers(world.state, world.now)
    (allocation,) = world.state.table
    assert not allocation.permits(PEER.host, world.now)
    assert allocation.permits(OTHER_PEER.host, world.now)
    forget_expired(world.state, world.now + 300)
    assert not allocation.relays[0].permissions
    assert world.engine.calls == []


def test_a_tcp_allocation_frees_its_address_and_its_connections() -> None:
    world = tcp_world()
    client, _ = tcp_client(world)
    bound(client)
    (allocation,) = world.state.table
    end_allocation(world.state, allocation, EndReason.DELETED, world.now)
    assert (world.state.listening, world.peer_sockets.listening) == ({}, {})
    assert len(world.state.connections) == 0
    assert next(iter(world.relays)).ports.in_use == 0
