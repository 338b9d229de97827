from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from tests.waiting import LIMIT, eventually
from turnd.runtime.names import Names, UnknownNameError


class System:
    """The system's resolver: it says `hosts`, or raises `error`, once `answers` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
        self.asked: list[str] = []
        self.hosts = hosts
        self.error: Exception | None = None
        self.answers = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self._ask)

    def _ask(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        self.answers.wait(LIMIT)
        if self.error is not None:
            raise self.error
        return [(0, 0, 0, "", (host, 0)) for host in self.hosts]


async def test_names_and_addresses() -> None:
    names = Names()
    assert "127.0.0.1" in await names.look_up("localhost")
    assert await names.look_up("2001:DB8::1") == ("2001:db8::1",)


async def test_what_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=f"{'x' * 70}: "):
        await Names().look_up("x" * 70)
    system = System(monkeypatch)
    system.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    system.answers.set()
    with pytest.raises(UnknownNameError, match=r"a\.example: name or service not known"):
        await Names().look_up("a.example")


async def test_answers_in_order_each_once_and_without_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, "203.0.113.7", "203.0.113.7", "fe80::1%2", "203.0.113.6")
    system.answers.set()
    assert await Names().look_up("a.example") == ("203.0.113.7", "fe80::1", "203.0.113.6")


async def test_a_dead_resolver_is_asked_once_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, names = System(monkeypatch), Names()
    monkeypatch.setattr("turnd.runtime.names.PATIENCE", 0.01)
    for _ in range(3):
        with pytest.raises(UnknownNameError, match=r"no answer for a\.example in"):
            await names.look_up("a.example")
    assert system.asked == ["a.example"]
    system.error = OSError(5, "late and bad")
    system.answers.set()
    await eventually(lambda: not names._asking)
    monkeypatch.setattr("turnd.runtime.names.PATIENCE", LIMIT)
    with pytest.raises(UnknownNameError, match="late and bad"):
        await names.look_up("a.example")
    assert system.asked == ["a.example"] * 2


async def test_who_stops_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    system, names = System(monkeypatch, "203.0.113.7"), Names()
    asking = asyncio.create_task(names.look_up("a.example"))
    await eventually(lambda: system.asked)
    await names.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    system.answers.set()


def test_an_answer_for_a_loop_that_has_ended_is_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, "203.0.113.7")

    async def ask() -> None:
        monkeypatch.setattr("turnd.runtime.names.PATIENCE", 0.01)
        with pytest.raises(UnknownNameError):
            await Names().look_up("a.example")

    asyncio.run(ask())  # ends although the thread does not
    (thread,) = [each for each in threading.enumerate() if each.name == "turnd-names"]
    system.answers.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


async def test_a_system_without_threads_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(UnknownNameError, match="can't start"):
        await Names().look_up("a.example")
