from __future__ import annotations

from turnd.engine.base import (
    ClientMessage,
    CloseReason,
    Drop,
    Event,
    Leg,
    LegClosed,
    LegOpened,
    ListenerId,
    Transport,
)
from turnd.engine.handup import IN_A_ROW, POLL_BATCH, ROOM, HandUp
from turnd.engine.networks import network_of
from turnd.engine.tally import Tally
from turnd.stun.addresses import ClientAddress, ServerAddress, TransportAddress


def leg(host: str) -> Leg:
    address = TransportAddress(host, 9)
    return Leg(ListenerId(1), Transport.TCP, ServerAddress(address), ClientAddress(address), 7)


LEG = leg("192.0.2.1")


def message(number: int, of: Leg = LEG) -> ClientMessage:
    return ClientMessage(of, bytes([number]))


def apart(number: int) -> list[Leg]:
    """Legs whose networks do not share a queue."""
    queues: dict[int, Leg] = {}
    for net in range(256):
        each = leg(f"198.18.{net}.1")
        queues.setdefault(hash(network_of(each.client.host)) % 256, each)
    return list(queues.values())[:number]


def take_all(hand_up: HandUp) -> list[Event]:
    taken: list[Event] = []
    while batch := hand_up.take():
        taken.extend(batch)
    return taken


def fill(hand_up: HandUp, of: Leg, number: int, *, preferred: bool = False) -> None:
    for _ in range(number):
        hand_up.add(message(0, of), preferred=preferred)


def test_events_come_in_order_by_batches() -> None:
    hand_up = HandUp(Tally())
    messages = [message(number % 256) for number in range(POLL_BATCH + 3)]
    for each in messages:
        hand_up.add(each, preferred=True)
    assert len(hand_up) == POLL_BATCH + 3
    assert hand_up.take() == messages[:POLL_BATCH]
    assert hand_up.take() == messages[POLL_BATCH:]
    assert hand_up.take() == []


def test_beyond_the_bound_messages_are_dropped_and_streams_are_not() -> None:
    tally = Tally()
    hand_up = HandUp(tally, room=4)
    opened, closed = LegOpened(LEG), LegClosed(LEG, CloseReason.CLIENT)
    for number in range(4):
        hand_up.add(message(number), preferred=True)
    hand_up.add(opened, preferred=True)
    hand_up.add(closed, preferred=False)
    assert tally.drops[Drop.HAND_UP_FULL] == 2
    assert hand_up.take() == [message(0), message(1), opened, closed]
    hand_up.add(message(5), preferred=True)
    assert hand_up.take() == [message(5)]


def test_clients_with_relays_go_before_strangers() -> None:
    hand_up = HandUp(Tally())
    stranger, client = apart(2)
    hand_up.add(message(1, stranger), preferred=False)
    hand_up.add(message(2, client), preferred=True)
    hand_up.add(message(3, stranger), preferred=True)
    assert [event.leg for event in hand_up.take()] == [client, stranger, stranger]


def test_networks_take_turns() -> None:
    hand_up = HandUp(Tally())
    one, two, three = apart(3)
    for number, each in enumerate([one, one, one, two, two, three]):
        hand_up.add(message(number, each), preferred=False)
    assert hand_up.take() == [
        message(0, one),
        message(3, two),
        message(5, three),
        message(1, one),
        message(4, two),
        message(2, one),
    ]


def test_a_network_of_strangers_fills_a_part_of_the_room() -> None:
    hand_up = HandUp(Tally())
    fill(hand_up, LEG, 2 * ROOM)
    assert 200 <= len(hand_up) <= 256
    assert len(take_all(hand_up)) <= 256
    fill(hand_up, LEG, 2 * ROOM)
    assert 200 <= len(hand_up) <= 256


def test_strangers_of_all_networks_leave_room_to_clients() -> None:
    hand_up = HandUp(Tally())
    for net in range(1_024):
        fill(hand_up, leg(f"10.{net >> 8}.{net & 255}.1"), 300)
    assert ROOM // 2 < len(hand_up) <= ROOM
    fill(hand_up, LEG, 300, preferred=True)
    assert [event.leg for event in hand_up.take()].count(LEG) >= POLL_BATCH * 7 // 8


def test_clients_with_relays_keep_no_stranger_out() -> None:
    hand_up = HandUp(Tally())
    client, stranger = apart(2)
    fill(hand_up, client, ROOM, preferred=True)
    for _ in range(2):
        hand_up.add(message(9, stranger), preferred=False)
    legs = [event.leg for event in hand_up.take()]
    assert [n for n, leg in enumerate(legs) if leg == stranger] == [IN_A_ROW, 2 * IN_A_ROW + 1]


def test_one_network_of_clients_leaves_room_to_others() -> None:
    hand_up = HandUp(Tally())
    one, two = apart(2)
    fill(hand_up, one, 2 * ROOM, preferred=True)
    assert ROOM // 4 <= len(hand_up) <= ROOM // 2
    before = len(hand_up)
    fill(hand_up, two, ROOM, preferred=True)
    assert len(hand_up) - before >= ROOM // 8
    assert len(hand_up) <= ROOM


def test_who_comes_while_many_flood_finds_room() -> None:
    hand_up = HandUp(Tally())
    *flooding, newcomer = apart(65)
    for _ in range(50):
        for each in flooding:
            fill(hand_up, each, 50)
        hand_up.take()
    hand_up.add(message(9, newcomer), preferred=False)
    assert message(9, newcomer) in hand_up.take()
