from __future__ import annotations

from turnd.engine.fields import SYSTEM
from turnd.engine.heldback import BESIDE, ROOM, HeldBack


def test_messages_wait_in_their_order_and_the_first_is_told_of() -> None:
    told: list[str] = []
    held = HeldBack(lambda: told.append("first"))
    assert not told
    for message in (b"one", b"two", b"three"):
        assert held.add(message, SYSTEM)
    assert held.messages == [(b"one", SYSTEM), (b"two", SYSTEM), (b"three", SYSTEM)]
    assert told == ["first"]


def test_there_is_room_for_so_many_bytes() -> None:
    told: list[str] = []
    held = HeldBack(lambda: told.append("first"))
    assert not held.add(bytes(ROOM + 1), SYSTEM)
    assert not told
    assert held.add(bytes(ROOM - 2 * BESIDE - 1), SYSTEM)
    assert not held.add(b"12", SYSTEM)
    assert held.add(b"1", SYSTEM)
    assert not held.add(b"", SYSTEM)
    assert len(held.messages) == 2


def test_empty_messages_take_room_too() -> None:
    held = HeldBack(lambda: None)
    while held.add(b"", SYSTEM):
        pass
    assert len(held.messages) == ROOM // BESIDE
