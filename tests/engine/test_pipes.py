"""Pipes between socket pairs, where they are more than the contract shows."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

import pytest

from tests.engine.socket_worlds import tls_sides
from turnd.engine.base import (
    SPLICE_LINGER,
    BucketId,
    CloseReason,
    Leg,
    ListenerId,
    RelayCounters,
    Transport,
)
from turnd.engine.buckets import Buckets
from turnd.engine.pipes import PIECE, PIECES, End, Pipe
from turnd.engine.tls import TlsSession
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

SOMEWHERE = TransportAddress("192.0.2.1", 9)
LEG = Leg(ListenerId(1), Transport.TCP, ServerAddress(SOMEWHERE), ClientAddress(SOMEWHERE), 7)
READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Both:
    """A pipe, and the two at its ends."""

    def __init__(self, arrived: bytes = b"", tls: TlsSession | None = None) -> None:
        ours, self.client = socket.socketpair()
        theirs, self.peer = socket.socketpair()
        for sock in (ours, theirs, self.client, self.peer):
            sock.setblocking(False)
        self.buckets = Buckets()
        self.settled = 0
        ends = (End(ours, tls, b"", arrived), End(theirs))
        self.pipe = Pipe(LEG, ends, self.buckets.named([BucketId(1)]), self.note, 0.0)

    def note(self, pipe: Pipe) -> None:
        assert pipe is self.pipe
        self.settled += 1

    def is_over(self) -> bool:
        return self.pipe.is_over

    def masks(self) -> list[int]:
        return [mask for _, mask in self.pipe.wanted()]

    def close(self) -> None:
        self.pipe.close()
        self.client.close()
        self.peer.close()


@pytest.fixture
def both() -> Iterator[Both]:
    both = Both()
    yield both
    both.close()


def drained(sock: socket.socket) -> int:
    size = 0
    try:
        while data := sock.recv(1 << 20):
            size += len(data)
    except BlockingIOError:
        pass
    return size


def fill(sock: socket.socket) -> int:
    size = 0
    try:
        while True:
            size += sock.send(bytes(PIECE))
    except BlockingIOError:
        return size


def test_what_is_ready_passes_and_is_counted(both: Both) -> None:
    both.client.send(b"up")
    both.peer.send(b"down!")
    both.pipe.ready(READ, 1.0)
    assert (both.peer.recv(9), both.client.recv(9)) == (b"up", b"down!")
    assert both.pipe.counters == RelayCounters(1, 2, 1, 5)
    assert both.masks() == [READ, READ]
    assert both.settled == 1


def test_who_takes_nothing_stops_who_sends(both: Both) -> None:
    sent = fill(both.client)
    while both.pipe.wanted()[0][1] & READ:
        both.pipe.run(0.0)
        sent += fill(both.client)
    assert both.masks() == [0, READ | WRITE], "the peer is waited for, and may still speak"
    assert len(both.pipe.peer.unsent) <= PIECE
    passed = 0
    while passed < sent:
        passed += drained(both.peer)
        both.pipe.run(0.0)
    assert passed == sent
    assert both.masks() == [READ, READ]


def test_bytes_at_hand_are_not_left_behind() -> None:
    arrived = bytes(PIECE) * (PIECES + 3)
    both = Both(arrived)
    passed = 0
    while passed < len(arrived):
        both.pipe.run(0.0)
        got = drained(both.peer)
        assert got, "no socket would tell of the rest"
        passed += got
    both.close()


def test_what_finds_no_room_waits_with_its_sender(both: Both) -> None:
    both.buckets.limit(BucketId(1), 8_000)
    for _ in range(8):
        both.client.send(bytes(PIECE))
        both.pipe.run(0.0)
    passed = drained(both.peer)
    assert passed == 64 << 10
    assert both.pipe.waits_for_room
    assert both.masks() == [0, READ]
    both.pipe.run(20.0)
    assert drained(both.peer) == PIECE
    assert both.pipe.waits_for_room


def test_each_side_ends_for_itself(both: Both) -> None:
    both.client.send(b"last")
    both.client.shutdown(socket.SHUT_WR)
    both.pipe.run(0.0)
    assert both.peer.recv(9) == b"last"
    assert both.peer.recv(9) == b""
    assert both.pipe.reason is CloseReason.CLIENT
    assert not both.is_over()
    assert both.masks() == [0, READ]
    both.peer.shutdown(socket.SHUT_WR)
    both.pipe.run(0.0)
    assert both.is_over()
    assert both.client.recv(9) == b""


def test_an_end_waits_for_what_was_sent_before_it(both: Both) -> None:
    sent = fill(both.client)
    while both.pipe.wanted()[0][1] & READ:
        both.pipe.run(0.0)
        sent += fill(both.client)
    both.client.shutdown(socket.SHUT_WR)
    passed = 0
    while passed < sent:
        both.pipe.run(0.0)
        passed += drained(both.peer)
    both.pipe.run(0.0)
    assert passed == sent
    assert both.peer.recv(1) == b""


def test_who_is_gone_gets_nothing_and_the_other_hears_of_it(both: Both) -> None:
    fill(both.peer)
    both.client.close()
    both.pipe.run(0.0)
    both.pipe.run(0.0)
    assert both.pipe.reason is CloseReason.CLIENT
    assert both.pipe.client.unsent == b""
    assert both.is_over()
    assert both.peer.recv(1) == b""


def test_silence_after_an_end_has_a_limit(both: Both) -> None:
    both.pipe.run(0.0)
    assert not both.pipe.is_overdue(1e9)
    both.peer.shutdown(socket.SHUT_WR)
    both.pipe.run(5.0)
    both.client.send(b"still there")
    both.pipe.run(10.0)
    assert not both.pipe.is_overdue(9.9 + SPLICE_LINGER)
    assert both.pipe.is_overdue(10.0 + SPLICE_LINGER)


def test_what_is_no_tls_ends_the_client() -> None:
    both = Both(tls=TlsSession(tls_sides()[0].context))
    both.client.send(b"\x80 no record")
    both.pipe.run(0.0)
    assert both.pipe.reason is CloseReason.CLIENT
    both.pipe.run(0.0)
    assert both.peer.recv(1) == b""
    both.close()


def test_a_session_that_cannot_encrypt_ends_the_client() -> None:
    both = Both(tls=TlsSession(tls_sides()[0].context))
    both.peer.send(b"down")
    both.pipe.run(0.0)
    both.pipe.run(0.0)
    assert both.pipe.reason is CloseReason.CLIENT
    both.close()


def test_who_asks_for_new_keys_and_reads_none_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both(tls=TlsSession(tls_sides()[0].context))
    monkeypatch.setattr(TlsSession, "read", lambda _: (b"", False))
    monkeypatch.setattr(TlsSession, "outgoing", lambda _: bytes(PIECE))
    fill(both.pipe.client.sock)
    for _ in range(9):
        assert both.pipe.reason is None
        both.client.send(b"new keys, please")
        both.pipe.run(0.0)
    assert both.pipe.reason is CloseReason.CLIENT
    assert not both.pipe.client.unsent
    both.close()
