from __future__ import annotations

import errno

import pytest

from turnd.engine.base import Drop, RelayCounters, Transport
from turnd.engine.tally import Tally, add_counters


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


def test_sums_hold_what_is_gone_and_what_lives() -> None:
    tally = Tally()
    tally.retire(Transport.UDP, RelayCounters(1, 10, 2, 20))
    live = [(Transport.UDP, RelayCounters(1, 1, 1, 1)), (Transport.TLS, RelayCounters(5, 6, 7, 8))]
    assert tally.by_transport(live) == {
        Transport.UDP: RelayCounters(2, 11, 3, 21),
        Transport.TCP: RelayCounters(),
        Transport.TLS: RelayCounters(5, 6, 7, 8),
    }


def test_a_relay_that_moves_leaves_its_counters_behind() -> None:
    tally = Tally()
    counters = RelayCounters(3, 30, 4, 40)
    before = tally.by_transport([(Transport.UDP, counters)])
    tally.transfer(Transport.UDP, Transport.TCP, counters)
    assert tally.by_transport([(Transport.TCP, counters)]) == before
    add_counters(counters, RelayCounters(1, 1, 1, 1))
    tally.retire(Transport.TCP, counters)
    after = tally.by_transport([])
    assert after[Transport.UDP] == RelayCounters(3, 30, 4, 40)
    assert after[Transport.TCP] == RelayCounters(1, 1, 1, 1)
