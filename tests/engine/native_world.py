"""Surroundings for the native engine: with a clock moved by hand, and with the system's."""

from __future__ import annotations

import time

from tests.engine.socket_worlds import SocketWorld
from tests.engine.worlds import Clock
from turnd.engine.native import NativeEngine

START = 1_000.0


class EngineClock(Clock):
    """Takes an engine's time along when it is moved."""

    def __init__(self, engine: NativeEngine) -> None:
        self._engine = engine
        super().__init__()

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, seconds: float) -> None:
        self._now = seconds
        self._engine.set_time(seconds)


class NativeWorld(SocketWorld):
    """With the clock moved by hand."""

    engine: NativeEngine

    def __init__(self, io: str, workers: int) -> None:
        self.kind = (io, workers)
        engine = NativeEngine(workers, io=io, manual_clock=START)
        super().__init__(engine, EngineClock(engine))

    def another(self) -> NativeWorld:
        return NativeWorld(*self.kind)


class SystemClock(Clock):
    """Goes its own way."""

    @property
    def now(self) -> float:
        return time.monotonic()

    @now.setter
    def now(self, _: float) -> None:
        """Nobody moves it."""


class SystemWorld(SocketWorld):
    """With the system's clock."""

    engine: NativeEngine

    def __init__(self, io: str) -> None:
        self.io = io
        super().__init__(NativeEngine(io=io), SystemClock())

    def another(self) -> SystemWorld:
        return SystemWorld(self.io)


def _works(io: str) -> bool:
    engine = NativeEngine(io=io)
    try:
        engine.begin()
    except OSError:
        return False
    finally:
        engine.end()
    return True


IOS = [io for io in ("epoll", "uring") if _works(io)]
"""Ways to talk to the kernel that work here."""
