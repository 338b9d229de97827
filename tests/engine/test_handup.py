from __future__ import annotations

from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Drop,
    Leg,
    LegClosed,
    LegOpened,
    ListenerId,
    Transport,
)
from turnd.engine.handup import POLL_BATCH, HandUp
from turnd.engine.tally import Tally
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress

SOMEWHERE = TransportAddress("192.0.2.1", 9)
LEG = Leg(ListenerId(1), Transport.TCP, ServerAddress(SOMEWHERE), ClientAddress(SOMEWHERE), 7)


def message(number: int) -> ClientMessage:
    return ClientMessage(LEG, bytes([number]))


def test_events_come_in_order_by_batches() -> None:
    hand_up = HandUp(Tally())
    messages = [message(number % 256) for number in range(POLL_BATCH + 3)]
    for each in messages:
        hand_up.message(each)
    assert len(hand_up) == POLL_BATCH + 3
    assert hand_up.take() == messages[:POLL_BATCH]
    assert hand_up.take() == messages[POLL_BATCH:]
    assert hand_up.take() == []


def test_beyond_the_bound_messages_are_dropped_and_streams_are_not() -> None:
    tally = Tally()
    hand_up = HandUp(tally, bound=2)
    opened, closed = LegOpened(LEG), LegClosed(LEG, CloseReason.CLIENT)
    hand_up.leg_event(opened)
    for number in range(4):
        hand_up.message(message(number))
    hand_up.leg_event(closed)
    assert hand_up.take() == [opened, message(0), message(1), closed]
    assert tally.drops[Drop.HAND_UP_FULL] == 2
    hand_up.message(message(5))
    assert hand_up.take() == [message(5)]
