from __future__ import annotations

import errno

import pytest

from turnd.engine.base import Drop, Leg, ListenerId, RelayCounters, Transport
from turnd.engine.tally import Tally, add_counters
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress


def test_every_reason_starts_at_nothing() -> None:
    assert Tally().drops == dict.fromkeys(Drop, 0)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EAGAIN, Drop.QUEUE_FULL),
        (errno.ENOBUFS, Drop.QUEUE_FULL),
        (errno.EMSGSIZE, Drop.TOO_BIG),
        (errno.EPERM, Drop.REFUSED),
        (errno.ENETUNREACH, Drop.REFUSED),
        (errno.ECONNREFUSED, Drop.REFUSED),
        (errno.EINVAL, Drop.REFUSED),
    ],
)
def test_why_a_send_failed(number: int, reason: Drop) -> None:
    tally = Tally()
    tally.send_failed(OSError(number, "why"))
    assert tally.drops == dict.fromkeys(Drop, 0) | {reason: 1}


def leg(listener: int, transport: Transport) -> Leg:
    address = TransportAddress("127.0.0.1", 3478)
    return Leg(ListenerId(listener), transport, ServerAddress(address), ClientAddress(address))


UDP, DTLS, TCP, TLS = (leg(number, each) for number, each in enumerate(Transport, 1))


def test_sums_hold_what_is_gone_and_what_lives() -> None:
    tally = Tally()
    tally.retire(UDP, RelayCounters(1, 10, 2, 20))
    once = RelayCounters(1, 1, 1, 1)
    live = [(UDP, once), (DTLS, once), (TLS, RelayCounters(5, 6, 7, 8))]
    assert tally.sums(live) == (
        RelayCounters(8, 18, 11, 30),
        {
            Transport.UDP: RelayCounters(2, 11, 3, 21),
            Transport.DTLS: RelayCounters(1, 1, 1, 1),
            Transport.TCP: RelayCounters(),
            Transport.TLS: RelayCounters(5, 6, 7, 8),
        },
        {
            UDP.listener: RelayCounters(2, 11, 3, 21),
            DTLS.listener: RelayCounters(1, 1, 1, 1),
            TLS.listener: RelayCounters(5, 6, 7, 8),
        },
    )


def test_listeners_of_one_transport_are_told_apart() -> None:
    tally = Tally()
    other = leg(9, Transport.UDP)
    tally.retire(UDP, RelayCounters(1, 10, 2, 20))
    sums = tally.sums([(other, RelayCounters(1, 1, 1, 1))])
    assert sums.by_transport[Transport.UDP] == RelayCounters(2, 11, 3, 21)
    assert sums.by_listener == {
        UDP.listener: RelayCounters(1, 10, 2, 20),
        other.listener: RelayCounters(1, 1, 1, 1),
    }


def test_a_relay_that_moves_leaves_its_counters_behind() -> None:
    tally = Tally()
    counters = RelayCounters(3, 30, 4, 40)
    before = tally.sums([(UDP, counters)])
    tally.retire(UDP, counters)
    assert tally.sums([]).totals == before.totals
    tally.resume(TCP, counters)
    moved = tally.sums([(TCP, counters)])
    assert moved.by_transport == before.by_transport
    add_counters(counters, RelayCounters(1, 1, 1, 1))
    tally.retire(TCP, counters)
    after = tally.sums([])
    assert after.totals == RelayCounters(4, 31, 5, 41)
    assert after.by_listener == {
        UDP.listener: RelayCounters(3, 30, 4, 40),
        TCP.listener: RelayCounters(1, 1, 1, 1),
    }
