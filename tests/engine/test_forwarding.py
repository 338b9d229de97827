"""Forwarding as such is the contract's; here is what its transmitters may do."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from turnd.engine.base import Drop, Leg, ListenerId, RelayCounters, RelayId, Transport
from turnd.engine.forwarding import Forwarder
from turnd.engine.rules import Client, Relay, Rules
from turnd.stun import attributes
from turnd.stun.addresses import (
    ChannelNumber,
    ClientAddress,
    PeerAddress,
    ServerAddress,
    TransportAddress,
)
from turnd.stun.message import MessageClass, Method, decode_untrusted, encode_message

PEER = PeerAddress(TransportAddress("192.0.2.9", 9))
OTHER = ("2001:db8::9", 9, 0, 0)
LEG = Leg(
    ListenerId(1),
    Transport.UDP,
    ServerAddress(TransportAddress("192.0.2.1", 3478)),
    ClientAddress(TransportAddress("198.51.100.1", 9)),
)
NOW = 100.0


class Wires:
    """A relay whose transmitters are here: they note what is sent, or fail as they are told."""

    def __init__(self) -> None:
        self.rules = Rules(lambda _host: False)
        self.forwarder = Forwarder(self.rules, lambda size: b"\x07" * size)
        self.failure: int | None = None
        self.to_client: list[bytes] = []
        self.to_peer: list[bytes] = []
        self.client = Client(LEG, self._to_client, None)
        bound = TransportAddress("192.0.2.1", 50_000)
        self.relay = Relay(RelayId(1), bound, 1_000, self._to_peer)
        self.rules.add(self.relay)
        self.rules.assign(self.relay, self.client)
        for host in (PEER.host, OTHER[0]):
            self.rules.permit(RelayId(1), host, 1_000, NOW)
        self.rules.bind_channel(RelayId(1), ChannelNumber(0x4000), PEER, 1_000, NOW)

    def _to_client(self, data: bytes, _address: object, _fields: object = None) -> None:
        self._fail()
        self.to_client.append(data)

    def _to_peer(self, data: bytes, _address: object, _fields: object = None) -> None:
        self._fail()
        self.to_peer.append(data)

    def _fail(self) -> None:
        if self.failure is not None:
            raise OSError(self.failure, "as told")


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EAGAIN, Drop.QUEUE_FULL),
        (errno.EMSGSIZE, Drop.TOO_BIG),
        (errno.EPERM, Drop.REFUSED),
        (errno.ECONNREFUSED, Drop.REFUSED),
    ],
)
def test_a_send_that_fails_is_counted_and_no_more(wires: Wires, number: int, reason: Drop) -> None:
    wires.failure = number
    send = encode_message(
        Method.SEND,
        MessageClass.INDICATION,
        bytes(12),
        [(attributes.XOR_PEER_ADDRESS, PEER), (attributes.DATA, b"data")],
    )
    assert wires.forwarder.from_client(wires.client, b"\x40\0\0\x04data", NOW)
    assert wires.forwarder.from_client(wires.client, send, NOW)
    wires.forwarder.from_peer(wires.relay, b"data", PEER, NOW)
    wires.forwarder.from_peer(wires.relay, b"data", OTHER, NOW)
    assert wires.rules.tally.drops[reason] == 4
    assert wires.relay.counters == RelayCounters()
    wires.failure = None
    wires.forwarder.from_peer(wires.relay, b"data", PEER, NOW)
    assert wires.to_client == [b"\x40\0\0\x04data"]


@pytest.mark.parametrize("dont_fragment", [False, True])
def test_a_relay_sends_what_it_is_asked_to(wires: Wires, dont_fragment: bool) -> None:
    values: list[tuple[Any, Any]] = [(attributes.XOR_PEER_ADDRESS, PEER), (attributes.DATA, b"x")]
    if dont_fragment:
        values.append((attributes.DONT_FRAGMENT, True))
    send = encode_message(Method.SEND, MessageClass.INDICATION, bytes(12), values)
    assert wires.forwarder.from_client(wires.client, send, NOW)
    assert wires.to_peer == [b"x"]


def test_an_indication_has_a_transaction_id_of_its_own(wires: Wires) -> None:
    wires.forwarder.from_peer(wires.relay, b"data", OTHER, NOW)
    message = decode_untrusted(wires.to_client[0])
    assert message.transaction_id == b"\x07" * 12
    assert message.get(attributes.XOR_PEER_ADDRESS) == (OTHER[0], OTHER[1])


def test_what_no_indication_can_hold_is_too_big(wires: Wires) -> None:
    wires.forwarder.from_peer(wires.relay, bytes(65_527), OTHER, NOW)
    assert wires.rules.tally.drops[Drop.TOO_BIG] == 1
    assert wires.to_client == []


def test_a_relay_without_client_passes_nothing(wires: Wires) -> None:
    wires.rules.remove(RelayId(1))
    wires.forwarder.from_peer(wires.relay, b"data", PEER, NOW)
    assert wires.rules.tally.drops[Drop.EXPIRED] == 1


def test_an_error_of_an_earlier_packet_costs_no_other(wires: Wires) -> None:
    failures = [errno.ECONNREFUSED]

    def to_peer(data: bytes, _address: object, _fields: object = None) -> None:
        if failures:
            raise OSError(failures.pop(), "of an earlier packet")
        wires.to_peer.append(data)

    wires.relay.transmit = to_peer
    assert wires.forwarder.from_client(wires.client, b"\x40\0\0\3abc\0", NOW)
    assert wires.to_peer == [b"abc"]
    assert wires.relay.counters == RelayCounters(1, 3, 0, 0)
    failures.extend((errno.EHOSTUNREACH, errno.ECONNREFUSED))
    assert wires.forwarder.from_client(wires.client, b"\x40\0\0\3abc\0", NOW)
    assert wires.to_peer == [b"abc"]
    assert wires.rules.tally.drops[Drop.REFUSED] == 1


def test_an_icmp_error_is_told_while_there_is_somebody_to_tell(wires: Wires) -> None:
    error = attributes.IcmpValue(3, 4, 1400)
    wires.forwarder.icmp_from_peer(wires.relay, PEER, error, NOW)
    (told,) = wires.to_client
    message = decode_untrusted(told)
    assert (message.method, message.message_class) == (Method.DATA, MessageClass.INDICATION)
    assert message.get(attributes.XOR_PEER_ADDRESS) == PEER
    assert message.get(attributes.ICMP) == error
    wires.failure = errno.EAGAIN
    wires.forwarder.icmp_from_peer(wires.relay, PEER, error, NOW)
    wires.failure = None
    wires.forwarder.icmp_from_peer(wires.relay, ("192.0.2.8", 9), error, NOW)
    wires.forwarder.icmp_from_peer(wires.relay, PEER, error, 1_000)
    assert len(wires.to_client) == 1
    drops = wires.rules.tally.drops
    assert drops[Drop.QUEUE_FULL] == drops[Drop.NO_PERMISSION] == drops[Drop.EXPIRED] == 1
