from __future__ import annotations

from turnd.client.check_settings import PATIENT, CheckSettings
from turnd.client.errors import TransactionTimeoutError
from turnd.client.transactions import Transaction


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(CheckSettings("alice", "s3cret"))


def test_a_silent_server_is_given_up_in_time() -> None:
    transaction, now = Transaction(b"request", 0.0, PATIENT, reliable=False), 0.0
    try:
        while True:
            transaction.poll(now)
            now = transaction.next_at
    except TransactionTimeoutError:
        assert now == 5.5
