from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.test_pipes import LEG
from turnd.engine import splicing
from turnd.engine.base import BucketId, CloseReason, LegClosed
from turnd.engine.handup import HandUp
from turnd.engine.pipes import PIECE, End
from turnd.engine.rules import Rules
from turnd.engine.splicing import Splicer
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class PlayedPump:
    """What is watched, and what is to be called later."""

    def __init__(self) -> None:
        self.masks: dict[int, int] = {}
        self.later: list[Callable[[], None]] = []
        self.planned = 0

    def watch_for(self, descriptor: int, source: Any, mask: int) -> None:
        assert source
        self.masks[descriptor] = mask

    def forget(self, descriptor: int) -> None:
        self.masks.pop(descriptor, None)

    def run_later(self, seconds: float, callback: Callable[[], None]) -> None:
        assert seconds == splicing.LOOK_AGAIN
        self.later.append(callback)

    def plan_wake(self) -> None:
        self.planned += 1


class Stage:
    def __init__(self) -> None:
        self.now = 0.0
        self.pump = PlayedPump()
        self.rules = Rules(lambda _: False)
        self.hand_up = HandUp(self.rules.tally)
        pump: Any = self.pump
        self.splicer = Splicer(pump, self.rules, self.hand_up, lambda: self.now)
        ours, self.client = socket.socketpair()
        self.theirs, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.end = End(ours)

    def join(self, *buckets: BucketId) -> None:
        self.splicer.join(LEG, self.end, self.theirs, buckets)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.splicer.stop()
    for sock in (stage.end.sock, stage.theirs, stage.client, stage.peer):
        sock.close()


def test_a_pipe_is_watched_until_it_ends(stage: Stage) -> None:
    stage.client.send(b"early")
    stage.join()
    assert stage.peer.recv(9) == b"early"
    assert list(stage.pump.masks.values()) == [select.EPOLLIN] * 2
    assert [leg for leg, _ in stage.splicer.counters()] == [LEG]
    stage.splicer.end(LEG, CloseReason.SERVER)
    stage.splicer.end(LEG, CloseReason.SERVER)
    assert stage.pump.masks == {}
    assert stage.hand_up.take() == [LegClosed(LEG, CloseReason.SERVER)]
    assert stage.splicer.counters() == []
    assert stage.rules.counters(0).totals.bytes_from_client == 5


def test_without_room_it_is_looked_at_again(stage: Stage) -> None:
    stage.rules.buckets.limit(BucketId(1), 8_000)
    stage.join(BucketId(1))
    pipe = stage.splicer._pipes[LEG]
    for _ in range(5):
        stage.client.send(bytes(PIECE))
        pipe.run(stage.now)
    assert len(stage.pump.later) == 1
    stage.pump.later.pop()()
    assert len(stage.pump.later) == 1, "there is still none"
    stage.now += 20
    stage.pump.later.pop()()
    assert stage.pump.later == []
    assert stage.rules.counters(0, stage.splicer.counters()).totals.bytes_from_client == 5 * PIECE


def test_what_has_ended_meanwhile_is_not_looked_at(stage: Stage) -> None:
    stage.rules.buckets.limit(BucketId(1), 8_000)
    stage.join(BucketId(1))
    pipe = stage.splicer._pipes[LEG]
    for _ in range(5):
        stage.client.send(bytes(PIECE))
        pipe.run(stage.now)
    stage.splicer.end(LEG, CloseReason.SERVER)
    stage.pump.later.pop()()
    assert stage.pump.later == []


def test_only_silence_after_an_end_is_ended_by_time(stage: Stage) -> None:
    stage.join()
    stage.splicer.tick(1e9)
    assert not len(stage.hand_up)
    stage.peer.shutdown(socket.SHUT_WR)
    stage.splicer._pipes[LEG].run(1e9)
    stage.splicer.tick(1e9 + 29)
    assert not len(stage.hand_up)
    stage.splicer.tick(1e9 + 30)
    assert stage.hand_up.take() == [LegClosed(LEG, CloseReason.PEER)]


def test_where_a_socket_leads_is_asked_of_the_socket(stage: Stage) -> None:
    with socket.socket() as ended:
        assert stage.splicer.may_lead_to(ended)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = TransportAddress(*server.getsockname())
        with socket.create_connection(address) as peer:
            assert stage.splicer.may_lead_to(peer)
            stage.rules.protect([address], {})
            assert not stage.splicer.may_lead_to(peer)
