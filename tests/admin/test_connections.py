from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.waiting import LIMIT
from turnd.admin.connections import BoundedConnections


class Recorder(asyncio.Protocol):
    """Notes every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append(f"made {type(transport).__name__}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(f"lost {exc}")

    def data_received(self, data: bytes) -> None:
        self.calls.append(f"data {data.decode()}")

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return True

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


async def test_everything_is_handed_on() -> None:
    inner = Recorder()
    protocol = BoundedConnections(lambda: inner)()
    protocol.connection_made(FakeTransport())
    protocol.data_received(b"x")
    assert protocol.eof_received() is True
    protocol.pause_writing()
    protocol.resume_writing()
    protocol.connection_lost(None)
    assert inner.calls == ["made FakeTransport", "data x", "eof", "pause", "resume", "lost None"]


async def test_a_connection_has_one_life_span() -> None:
    bounds = BoundedConnections(Recorder, lifetime=0.01)
    protocol, transport = bounds(), FakeTransport()
    protocol.connection_made(transport)
    protocol.data_received(b"still alive")
    await asyncio.wait_for(transport.aborted.wait(), LIMIT)


async def test_who_ends_in_time_is_not_ended_again() -> None:
    bounds = BoundedConnections(Recorder)
    protocol: Any = bounds()
    protocol.connection_made(FakeTransport())
    protocol.connection_lost(None)
    assert protocol._end.cancelled()
    assert bounds.open == {}


@pytest.mark.parametrize("most", [1, 3])
async def test_one_too_many_ends_the_oldest(most: int) -> None:
    bounds = BoundedConnections(Recorder, most=most)
    transports = [FakeTransport() for _ in range(most + 2)]
    protocols = [bounds() for _ in transports]
    for protocol, transport in zip(protocols, transports, strict=True):
        protocol.connection_made(transport)
    assert [transport.aborted.is_set() for transport in transports] == [True] * 2 + [False] * most
    assert len(bounds.open) == most
    for protocol in protocols:
        protocol.connection_lost(None)
    assert bounds.open == {}
