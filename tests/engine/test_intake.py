from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from turnd.engine.intake import BATCH, Intake

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Counted(socket.socket):
    """Counts how often it is read."""

    reads = 0

    def recvmsg(self, *sizes: int) -> Any:
        self.reads += 1
        return super().recvmsg(*sizes)


class Mailbox:
    """A socket whose datagrams are numbered."""

    def __init__(self) -> None:
        self.sock = _Counted(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind(("127.0.0.1", 0))
        self.intake = Intake(self.sock)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.bind(("127.0.0.1", 0))
        self._now = 0.0

    def close(self) -> None:
        self.sock.close()
        self._sender.close()

    def post(self, number: int) -> None:
        for index in range(number):
            self._sender.sendto(bytes([index]), self.sock.getsockname())

    def run(self, number: int) -> list[int]:
        """Post so many, read them all in one run. Returns the lengths of its batches."""
        self.post(number)
        self._now += 1
        arrived, lengths = 0, []
        while arrived < number:
            batch = self.intake.batch(self._now)
            assert [data[0] for data, *_ in batch] == list(range(arrived, arrived + len(batch)))
            assert all(source == self._sender.getsockname() for *_, source in batch)
            arrived += len(batch)
            lengths.append(len(batch))
        return lengths


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


def test_who_has_more_in_a_run_is_read_more_each_time(mailbox: Mailbox) -> None:
    assert mailbox.run(4 * BATCH) == [1, 2, 4, 8, 16, 32, 32, 32, 1]


def test_a_batch_is_what_the_last_run_found(mailbox: Mailbox) -> None:
    assert mailbox.run(10) == [1, 2, 4, 3]
    assert mailbox.run(10) == [10]
    assert mailbox.run(3) == [3]
    assert mailbox.run(4) == [3, 1]
    assert mailbox.run(4) == [4]


def test_no_read_is_in_vain_where_one_datagram_comes_at_a_time(mailbox: Mailbox) -> None:
    for _ in range(5):
        assert mailbox.run(1) == [1]
    assert mailbox.sock.reads == 5


def test_a_run_that_finds_nothing_is_no_end(mailbox: Mailbox) -> None:
    assert mailbox.intake.batch(0.5) == []
    assert mailbox.run(1) == [1]


def test_an_earlier_sends_error_is_no_datagram(mailbox: Mailbox) -> None:
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    address = gone.getsockname()
    gone.close()
    recverr = 11
    mailbox.sock.setsockopt(socket.IPPROTO_IP, recverr, 1)
    mailbox.run(2)
    mailbox.sock.sendto(b"?", address)
    mailbox.post(1)
    ((data, *_),) = mailbox.intake.batch(9.0)
    assert data == b"\0"
