from __future__ import annotations

import asyncio

import pytest

from turnd.client.errors import UnreachableError
from turnd.client.inbox import Inbox


async def test_items_come_out_in_order() -> None:
    inbox: Inbox[int] = Inbox(3)
    for number in range(3):
        inbox.put(number)

    assert [await inbox.get() for _ in range(3)] == [0, 1, 2]


async def test_the_newest_is_dropped_when_it_is_full() -> None:
    inbox: Inbox[int] = Inbox(2)
    for number in range(5):
        inbox.put(number)

    assert [await inbox.get(), await inbox.get()] == [0, 1]
    assert inbox.dropped == 3


async def test_get_waits_for_an_item() -> None:
    inbox: Inbox[int] = Inbox(1)
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    assert not waiting.done()

    inbox.put(7)

    assert await waiting == 7


async def test_what_was_there_is_read_before_the_end() -> None:
    inbox: Inbox[int] = Inbox(2)
    inbox.put(1)
    inbox.close(UnreachableError("gone"))
    inbox.close(UnreachableError("later"))

    assert await inbox.get() == 1
    with pytest.raises(UnreachableError, match="gone"):
        await inbox.get()


async def test_the_end_wakes_who_waits() -> None:
    inbox: Inbox[int] = Inbox(2)
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)

    inbox.close(UnreachableError("gone"))

    with pytest.raises(UnreachableError):
        await waiting
