"""What the contract's tests cannot see of the tables."""

from __future__ import annotations

import pytest

from turnd.engine.base import FORMER_LEGS, Leg, ListenerId, RelayId, Transport
from turnd.engine.rules import Client, Relay, Rules
from turnd.stun.addresses import (
    AddressFamily,
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
)

SERVER = ServerAddress(TransportAddress("192.0.2.1", 3478))
BOUND = "10.0.0.5"
ANNOUNCED = "203.0.113.7"
NUMBER = ChannelNumber(0x4000)


def nowhere(_data: bytes, _address: object, _fields: object = None) -> None:
    raise AssertionError("nothing is sent here")


def peer(host: str, port: int) -> PeerAddress:
    return PeerAddress(TransportAddress(host, port))


class Tables:
    """Rules with one relay and its client."""

    def __init__(self) -> None:
        self.local = {"127.0.0.1", "127.0.0.2", BOUND, "::1"}
        self.rules = Rules(self.local.__contains__)
        self.client = self.add_client(1)
        self.relay = self.add_relay(1, 50_000)
        self.rules.assign(self.relay, self.client)

    def add_client(self, number: int) -> Client:
        address = ClientAddress(TransportAddress("198.51.100.1", number))
        return Client(Leg(ListenerId(1), Transport.UDP, SERVER, address), nowhere, None)

    def add_relay(self, number: int, port: int, host: str = BOUND) -> Relay:
        relay = Relay(RelayId(number), TransportAddress(host, port), 1_000, nowhere)
        self.rules.add(relay)
        return relay


@pytest.fixture
def tables() -> Tables:
    return Tables()


def test_the_client_goes_with_its_last_relay(tables: Tables) -> None:
    second = tables.add_relay(2, 50_001, "::1")
    assert tables.rules.assign(second, tables.client) is None
    assert tables.client.relay_for(AddressFamily.IPV4) is tables.relay
    assert tables.client.relay_for(AddressFamily.IPV6) is second
    assert tables.rules.remove(RelayId(1)) == (tables.relay, None)
    assert tables.client.relay_for(AddressFamily.IPV4) is None
    assert tables.rules.remove(RelayId(2)) == (second, tables.client)
    assert tables.rules.clients == {}
    assert tables.rules.remove(RelayId(2)) == (None, None)


def test_channels_move_with_their_relay(tables: Tables) -> None:
    tables.rules.bind_channel(RelayId(1), NUMBER, peer("192.0.2.9", 9), 10, now=0)
    other = tables.add_client(2)
    assert tables.rules.assign(tables.relay, other) is tables.client
    assert tables.client.channels == {}
    assert other.channels[NUMBER].peer == peer("192.0.2.9", 9)


def test_a_channel_of_a_reservation_waits_for_its_client(tables: Tables) -> None:
    reserved = tables.add_relay(2, 50_002)
    tables.rules.bind_channel(RelayId(2), NUMBER, peer("192.0.2.9", 9), 10, now=0)
    tables.rules.bind_channel(RelayId(2), NUMBER, peer("192.0.2.9", 10), 10, now=0)
    client = tables.add_client(2)
    tables.rules.assign(reserved, client)
    assert client.channels[NUMBER].peer == peer("192.0.2.9", 10)
    assert len(reserved.channels) == 1


def test_extending_keeps_the_binding(tables: Tables) -> None:
    tables.rules.bind_channel(RelayId(1), NUMBER, peer("192.0.2.9", 9), 10, now=0)
    channel = tables.client.channels[NUMBER]
    tables.rules.bind_channel(RelayId(1), NUMBER, peer("192.0.2.9", 9), 20, now=0)
    assert tables.client.channels[NUMBER] is channel
    assert channel.deadline == 20


def test_only_what_may_be_ours_is_looked_at_per_packet(tables: Tables) -> None:
    endpoints = [TransportAddress("0.0.0.0", 3478), TransportAddress("192.0.2.8", 6379)]
    tables.rules.protect(endpoints, {ANNOUNCED: BOUND})
    guarded = {
        peer("192.0.2.9", 9): False,
        peer("192.0.2.9", 3478): True,
        peer("192.0.2.9", 6379): True,
        peer(ANNOUNCED, 9): True,
        peer(BOUND, 9): True,
    }
    for index, (target, expected) in enumerate(guarded.items()):
        number = ChannelNumber(NUMBER + index)
        tables.rules.bind_channel(RelayId(1), number, target, 10, now=0)
        assert tables.client.channels[number].guarded is expected


@pytest.mark.parametrize(
    ("target", "forbidden"),
    [
        (peer("192.0.2.9", 3478), False),
        (peer("127.0.0.2", 3478), True),
        (peer("::1", 3478), True),
        (peer(ANNOUNCED, 3478), True),
        (peer(BOUND, 3478), True),
        (peer("192.0.2.8", 6379), True),
        (peer("192.0.2.9", 6379), False),
        (peer("fe80::1%2", 8080), True),
        (peer(ANNOUNCED, 8081), True),
        (peer(ANNOUNCED, 50_000), False),
        (peer(BOUND, 50_000), False),
        (peer(ANNOUNCED, 50_001), True),
        (peer("192.0.2.9", 9), False),
    ],
)
def test_what_is_forbidden(tables: Tables, target: PeerAddress, forbidden: bool) -> None:
    endpoints = [
        TransportAddress("0.0.0.0", 3478),
        TransportAddress("192.0.2.8", 6379),
        TransportAddress("fe80::1", 8080),
        TransportAddress(BOUND, 8081),
    ]
    tables.rules.protect(endpoints, {ANNOUNCED: BOUND})
    assert tables.rules.is_forbidden(target, now=0) is forbidden
    assert (tables.rules.send_target(target, now=0) is None) is forbidden


def test_addresses_of_ours_have_two_faces(tables: Tables) -> None:
    tables.rules.protect([], {ANNOUNCED: BOUND})
    assert tables.rules.send_target(peer(ANNOUNCED, 50_000), now=0) == (BOUND, 50_000)
    assert tables.rules.peer_of((BOUND, 50_001)) == peer(ANNOUNCED, 50_001)
    assert tables.rules.peer_of((BOUND, 50_000)) == peer(BOUND, 50_000), "it was opened before"
    assert tables.rules.peer_of(("192.0.2.9", 9)) == peer("192.0.2.9", 9)


def test_a_relay_that_has_expired_is_not_relayed(tables: Tables) -> None:
    tables.rules.protect([], {ANNOUNCED: BOUND})
    assert not tables.rules.is_forbidden(peer(ANNOUNCED, 50_000), now=999.999)
    assert tables.rules.is_forbidden(peer(ANNOUNCED, 50_000), now=1_000)


def test_two_names_of_one_peer_do_not_undo_each_other(tables: Tables) -> None:
    """By its announced and by its bound host a peer is one for the sockets."""
    tables.rules.bind_channel(RelayId(1), NUMBER, peer(ANNOUNCED, 50_000), 10, now=0)
    second = ChannelNumber(NUMBER + 1)
    tables.rules.bind_channel(RelayId(1), second, peer(BOUND, 50_000), 10, now=0)
    tables.rules.protect([], {ANNOUNCED: BOUND})
    tables.rules.tidy(now=11)
    assert tables.client.channels == {}
    assert tables.relay.channels == {}


def test_tidying_walks_through_all_relays_by_batches(tables: Tables) -> None:
    relays = [tables.add_relay(number, number) for number in range(2, 4_502)]
    for relay in relays:
        tables.rules.permit(relay.relay_id, "192.0.2.9", 5, now=0)
    kept = relays[1_234]
    tables.rules.permit(kept.relay_id, "192.0.2.10", 50, now=0)
    left = []
    for _ in range(3):
        tables.rules.tidy(now=5)
        left.append(sum(len(relay.permissions) for relay in relays))
    assert left == [2_501, 501, 1]
    assert kept.permissions == {"192.0.2.10": 50}


def test_so_many_late_clients_are_followed_and_no_more(tables: Tables) -> None:
    late = [tables.add_client(number) for number in range(2, FORMER_LEGS + 3)]
    followed = [tables.rules.follow(former, tables.client, 0.0) for former in late]
    assert followed == [True] * FORMER_LEGS + [False]
    assert tables.rules.forget_former(1e9) == late[:-1]
    assert tables.rules.follow(late[-1], tables.client, 1e9)
