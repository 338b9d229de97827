from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.waiting import eventually
from turnd.runtime.names import Names, UnknownNameError


def infos(*hosts: str) -> list[Any]:
    return [(0, 0, 0, "", (host, 0)) for host in hosts]


class Resolver:
    """The system's resolver: `answer` sets free who asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._ask)

    async def _ask(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        return await asyncio.shield(self.answers)


async def test_names_and_addresses() -> None:
    names = Names()
    assert "127.0.0.1" in await names.look_up("localhost")
    assert await names.look_up("2001:DB8::1") == ("2001:db8::1",)


@pytest.mark.parametrize("name", ["x" * 70, "no-such-name.invalid"])
async def test_what_nobody_knows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if len(name) < 64:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    with pytest.raises(UnknownNameError, match=f"{name}: "):
        await Names().look_up(name)


async def test_answers_in_order_each_once_and_without_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    resolver.answers.set_result(infos("203.0.113.7", "203.0.113.7", "fe80::1%2", "203.0.113.6"))
    assert await Names().look_up("a.example") == ("203.0.113.7", "fe80::1", "203.0.113.6")


async def test_a_dead_resolver_is_asked_once_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    monkeypatch.setattr("turnd.runtime.names.PATIENCE", 0.01)
    for _ in range(3):
        with pytest.raises(UnknownNameError, match=r"no answer for a\.example in"):
            await names.look_up("a.example")
    assert resolver.asked == ["a.example"]
    resolver.answers.set_exception(OSError(5, "late and bad"))
    await eventually(lambda: not names._asking)
    with pytest.raises(UnknownNameError, match="late and bad"):
        await names.look_up("a.example")
    assert resolver.asked == ["a.example"] * 2


async def test_who_stops_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = Resolver(monkeypatch), Names()
    asking = asyncio.create_task(names.look_up("a.example"))
    await eventually(lambda: resolver.asked)
    await names.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
