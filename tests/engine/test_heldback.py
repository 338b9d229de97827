from __future__ import annotations

from turnd.engine.heldback import ROOM, HeldBack


def test_messages_wait_in_their_order_and_the_first_is_told_of() -> None:
    told: list[str] = []
    held = HeldBack(lambda: told.append("first"))
    assert not told
    for message in (b"one", b"two", b"three"):
        assert held.add(message)
    assert held.messages == [b"one", b"two", b"three"]
    assert told == ["first"]


def test_there_is_room_for_so_many_bytes() -> None:
    told: list[str] = []
    held = HeldBack(lambda: told.append("first"))
    assert not held.add(bytes(ROOM + 1))
    assert not told
    assert held.add(bytes(ROOM - 1))
    assert not held.add(b"12")
    assert held.add(b"1")
    assert not held.add(b"1")
    assert len(held.messages) == 2
