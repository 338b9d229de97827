from __future__ import annotations

import pytest

from turnd.client.errors import IntegrityError, TransactionTimeoutError
from turnd.client.transactions import RoundTripEstimate, Timing, Transaction


def sending_times(transaction: Transaction, end: float) -> list[float]:
    """When the request leaves, by a clock that jumps from `next_at` to `next_at`."""
    times = []
    while transaction.next_at < end:
        now = transaction.next_at
        if transaction.poll(now) is not None:
            times.append(now)
    return times


def test_requests_leave_when_rfc_8489_says() -> None:
    transaction = Transaction(b"request", 0.0, Timing(), reliable=False)

    assert sending_times(transaction, 39.5) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert transaction.next_at == 39.5
    assert transaction.poll(39.499) is None
    with pytest.raises(TransactionTimeoutError, match=r"no answer to 7 requests in 39\.5 s"):
        transaction.poll(39.5)


def test_a_stream_carries_one_request_and_waits_ti() -> None:
    transaction = Transaction(b"request", 10.0, Timing(), reliable=True)

    assert sending_times(transaction, 49.5) == [10.0]
    assert transaction.poll(49.4) is None
    with pytest.raises(TransactionTimeoutError, match=r"no answer to request in 39\.5 s"):
        transaction.poll(49.5)


def test_one_request_over_udp_waits_rm_times_the_rto() -> None:
    transaction = Transaction(b"", 0.0, Timing(max_requests=1, stream_timeout=8), reliable=False)

    transaction.poll(0.0)

    assert transaction.next_at == 0.5


def test_a_late_poll_makes_no_burst() -> None:
    transaction = Transaction(b"request", 0.0, Timing(), reliable=False)
    transaction.poll(0.0)

    assert transaction.poll(20.0) == b"request"
    assert transaction.poll(20.0) is None
    assert transaction.next_at == 21.0


def test_what_was_discarded_turns_a_timeout_into_a_violation() -> None:
    transaction = Transaction(b"request", 0.0, Timing(max_requests=2), reliable=False)
    sending_times(transaction, 8.5)
    transaction.discard("its integrity does not hold")

    with pytest.raises(IntegrityError, match="integrity does not hold"):
        transaction.poll(8.5)


def test_a_round_trip_counts_only_for_a_request_that_was_sent_once() -> None:
    transaction = Transaction(b"request", 1.0, Timing(), reliable=False)
    transaction.poll(1.0)
    assert transaction.round_trip(1.2) == pytest.approx(0.2)

    transaction.poll(1.5)

    assert transaction.round_trip(1.6) is None


def test_the_rto_of_the_server_replaces_the_default() -> None:
    transaction = Transaction(b"request", 0.0, Timing(), reliable=False, rto=2.0)

    assert sending_times(transaction, 7.0) == [0, 2.0, 6.0]


class TestEstimate:
    def test_it_starts_at_the_floor_and_never_goes_below(self) -> None:
        estimate = RoundTripEstimate(0.5)
        assert estimate.rto(0.0) == 0.5

        estimate.update(0.01, 0.0)

        assert estimate.rto(1.0) == 0.5

    def test_a_slow_path_is_learnt_as_rfc_6298_has_it(self) -> None:
        estimate = RoundTripEstimate(0.5)

        estimate.update(1.0, 0.0)
        assert estimate.rto(0.0) == 3.0  # 1 + 4 * 0.5

        estimate.update(2.0, 1.0)
        # RTTVAR = 0.75 * 0.5 + 0.25 * |1 - 2|, SRTT = 0.875 * 1 + 0.125 * 2
        assert estimate.rto(1.0) == pytest.approx(1.125 + 4 * 0.625)

    def test_it_is_forgotten_after_ten_minutes(self) -> None:
        estimate = RoundTripEstimate(0.5)
        estimate.update(1.0, 0.0)

        assert estimate.rto(600.0) == 3.0
        assert estimate.rto(600.1) == 0.5
        assert estimate.rto(0.0) == 0.5
