from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING

import pytest

from tests.waiting import eventually
from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Leg,
    LegClosed,
    ListenerId,
    Transport,
)
from turnd.engine.handup import HandUp
from turnd.engine.pump import ROUNDS, Pump
from turnd.engine.tally import Tally
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

SOMEWHERE = TransportAddress("192.0.2.1", 9)
LEG = Leg(ListenerId(1), Transport.TCP, ServerAddress(SOMEWHERE), ClientAddress(SOMEWHERE), 7)


class Pipe:
    """A source that hands a message up for every byte."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reader, self.writer = os.pipe()
        self.forgets: Pipe | None = None
        engine.pump.watch(self.reader, self)

    def ready(self, _mask: int, now: float) -> None:
        data = os.read(self.reader, 1)
        self.engine.times.append(now)
        self.engine.hand_up.add(ClientMessage(LEG, data), preferred=False)
        if self.forgets is not None:
            self.engine.pump.forget(self.forgets.reader)

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class Engine:
    """What a pump belongs to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rounds = 0
        self.woken: list[int] = []
        self.times: list[float] = []
        self.hand_up = HandUp(Tally())
        self.pump = Pump(self.clock, self.hand_up, self.after_round)

    def clock(self) -> float:
        self.now += 1
        return self.now

    def after_round(self) -> None:
        self.rounds += 1

    def wake(self) -> None:
        self.woken.append(len(self.hand_up.take()))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.pump.stop()


@pytest.fixture
def pipes(engine: Engine) -> Iterator[tuple[Pipe, Pipe]]:
    both = Pipe(engine), Pipe(engine)
    yield both
    for pipe in both:
        pipe.close()


async def test_what_is_ready_is_called_and_told_about_once(
    engine: Engine, pipes: tuple[Pipe, Pipe]
) -> None:
    engine.pump.start(engine.wake)
    os.write(pipes[0].writer, b"ab")
    os.write(pipes[1].writer, b"c")
    await eventually(lambda: engine.woken)
    assert engine.woken == [3]
    assert engine.rounds == 2
    assert engine.times == [1.0] * 3


async def test_the_loop_has_its_turn_before_all_is_read(
    engine: Engine, pipes: tuple[Pipe, Pipe]
) -> None:
    engine.pump.start(engine.wake)
    os.write(pipes[0].writer, bytes(3 * ROUNDS))
    await eventually(lambda: sum(engine.woken) == 3 * ROUNDS)
    assert engine.woken == [ROUNDS] * 3


async def test_what_a_source_closed_is_not_called(engine: Engine, pipes: tuple[Pipe, Pipe]) -> None:
    for pipe, other in (pipes, reversed(pipes)):
        pipe.forgets = other
        os.write(pipe.writer, b"x")
    engine.pump.start(engine.wake)
    await eventually(lambda: engine.woken)
    assert engine.woken == [1]
    assert [engine.pump.watches(pipe.reader) for pipe in pipes].count(True) == 1
    engine.pump.forget(pipes[0].reader)
    engine.pump.forget(pipes[1].reader)


async def test_writing_is_asked_for_and_not_any_more(
    engine: Engine, pipes: tuple[Pipe, Pipe]
) -> None:
    masks: list[int] = []

    class Writer:
        def ready(self, mask: int, _now: float) -> None:
            masks.append(mask)
            engine.pump.want(pipes[0].writer, select.EPOLLIN)

    engine.pump.watch(pipes[0].writer, Writer())
    engine.pump.start(engine.wake)
    os.write(pipes[1].writer, b"x")
    await eventually(lambda: engine.woken)
    assert masks == []
    engine.pump.want(pipes[0].writer, select.EPOLLIN | select.EPOLLOUT)
    await eventually(lambda: masks)
    os.write(pipes[1].writer, b"x")
    await eventually(lambda: len(engine.woken) == 2)
    assert len(masks) == 1


async def test_a_verb_wakes_later_and_once(engine: Engine) -> None:
    engine.pump.start(engine.wake)
    engine.hand_up.add(LegClosed(LEG, CloseReason.SERVER), preferred=False)
    engine.pump.plan_wake()
    engine.pump.plan_wake()
    assert engine.woken == []
    await asyncio.sleep(0)
    assert engine.woken == [1]
    engine.pump.plan_wake()
    await asyncio.sleep(0)
    assert engine.woken == [1]


async def test_what_waits_at_the_start_is_told(engine: Engine) -> None:
    engine.hand_up.add(LegClosed(LEG, CloseReason.SERVER), preferred=False)
    engine.pump.plan_wake()
    engine.pump.start(engine.wake)
    await asyncio.sleep(0)
    assert engine.woken == [1]


async def test_nobody_is_woken_after_the_end(engine: Engine) -> None:
    engine.pump.start(engine.wake)
    engine.hand_up.add(LegClosed(LEG, CloseReason.SERVER), preferred=False)
    engine.pump.plan_wake()
    engine.pump.stop()
    await asyncio.sleep(0)
    assert engine.woken == []


async def test_what_is_wanted_of_a_source_may_change_to_nothing_and_back(
    engine: Engine, pipes: tuple[Pipe, Pipe]
) -> None:
    source, other = pipes
    engine.pump.start(engine.wake)
    engine.pump.watch_for(source.reader, source, 0)
    assert not engine.pump.watches(source.reader)
    os.write(source.writer, b"x")
    os.write(other.writer, b"x")
    await eventually(lambda: engine.woken)
    assert len(engine.times) == 1, "nothing is wanted of the first"
    engine.pump.watch_for(source.reader, source, select.EPOLLIN)
    engine.pump.watch_for(source.reader, source, select.EPOLLIN)
    await eventually(lambda: len(engine.times) == 2)


async def test_later_is_while_it_runs(engine: Engine) -> None:
    called: list[str] = []
    engine.pump.run_later(0.0, lambda: called.append("never"))
    engine.pump.start(engine.wake)
    engine.pump.run_later(0.0, lambda: called.append("later"))
    assert called == []
    await eventually(lambda: called)
    assert called == ["later"]
