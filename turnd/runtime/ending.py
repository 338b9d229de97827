"""The end of a server: first it takes nobody new, then it waits for those who are there.

The first SIGTERM or SIGINT begins it. It ends with the last allocation, after
`shutdown.timeout`, or at once when asked a second time.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from turnd import logs, system

if TYPE_CHECKING:
    from turnd.runtime.server import Server

log = logs.get_logger("turnd.runtime.ending")

_LOOK_EVERY = 0.05


class Ending:
    """One for a server."""

    def __init__(self, server: Server) -> None:
        self.ended = asyncio.Event()
        """Nothing is left to wait for: `Server.stop`."""
        self.failed = False
        """It ends because it cannot go on: the process's status says so."""
        self._server = server
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def begun(self) -> bool:
        """Whether new allocations are refused."""
        return self._at is not None

    def ask(self, signal_name: str) -> None:
        """Begin to end; asked again: end."""
        table = self._server.turn.state.table
        if self._at is not None:
            log.info("stopping", signal=signal_name, allocations=len(table))
            self.ended.set()
            return
        timeout = self._server.config.shutdown.timeout
        self._at = time.monotonic() + timeout
        self._server.not_ready = "draining"
        self._server.turn.state.draining = True
        log.info("draining", signal=signal_name, allocations=len(table), seconds=timeout)
        system.sd_notify(f"STOPPING=1\nSTATUS=draining {len(table)} allocations")
        self._look()

    def fail(self, problem: str) -> None:
        """End at once: what relays is broken, and half a server helps nobody."""
        if not self.failed:
            self.failed = True
            self._server.not_ready = "failed"
            log.error("engine_failed", problem=problem)
            self.ended.set()

    def cancel(self) -> None:
        """Look no more: the server has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        if self._at is None or not len(self._server.turn.state.table) or now >= self._at:
            self.ended.set()
            return
        pause = min(_LOOK_EVERY, self._at - now)
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)


class Signals:
    """The process's signals, while a server runs; a context manager."""

    def __init__(self, server: Server) -> None:
        self._handlers = {
            signal.SIGTERM: lambda: server.ending.ask("SIGTERM"),
            signal.SIGINT: lambda: server.ending.ask("SIGINT"),
            signal.SIGHUP: server.reload_beside,
            signal.SIGUSR2: server.reloader.renew_certificates,
            # Admins of other servers reopen logs with it; ours go to standard output.
            signal.SIGUSR1: lambda: None,
        }

    def __enter__(self) -> None:
        """Take them."""
        for number, handler in self._handlers.items():
            asyncio.get_running_loop().add_signal_handler(number, handler)

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number in self._handlers:
            asyncio.get_running_loop().remove_signal_handler(number)
