"""Once a second: what has come to its end, files that changed, a sign of life."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from turnd import logs, system
from turnd.engine.base import NonceKeys

if TYPE_CHECKING:
    from turnd.engine.base import Challenge, ListenerId
    from turnd.runtime.server import Server

TICK = 1.0
CERTIFICATES_EVERY = 5
"""Ticks between two looks at the certificate files."""
ADDRESSES_EVERY = 60
"""Ticks between two looks at the addresses of this host and of Redis."""

log = logs.get_logger("turnd.runtime.ticker")


class Ticker:
    """One for a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ticks = 0
        self._keys: NonceKeys | None = None
        self._challenges: dict[ListenerId, Challenge] = {}
        self._faults = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watchdog = system.watchdog_interval()
        self._watchdog_due = 0.0

    def start(self) -> None:
        """Tick now and from now on."""
        self._timer = asyncio.get_running_loop().call_later(TICK, self.start)
        try:
            self.tick(time.monotonic())
        except Exception:
            # No sign of life then: a server that cannot tidy up is for systemd to start anew.
            log.exception("internal_error")

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()

    def tell_engine(self, now: float) -> None:
        """Let the engine know how strangers are challenged, whenever that is something else."""
        turn, engine = self._server.turn, self._server.engine
        nonces = turn.nonces
        keys = NonceKeys(nonces.tick, nonces.mac_length, nonces.keys(now))
        if keys != self._keys:
            self._keys = keys
            engine.know_nonces(keys)
        for listener in self._server.endpoints.by_listener:
            challenge = turn.challenge_by(listener)
            if challenge != self._challenges.get(listener):
                self._challenges[listener] = challenge
                engine.challenge(listener, challenge)

    def _tell_faults(self) -> None:
        faults = self._server.engine.faults
        if faults > self._faults:
            log.error("engine_fault", faults=faults)
        self._faults = faults

    def tick(self, now: float) -> None:
        """Everything that is due at `now` (monotonic seconds)."""
        server = self._server
        self._ticks += 1
        server.turn.expire(now)
        server.endpoints.close_overdue(now)
        server.engine.tick()
        self.tell_engine(now)
        self._tell_faults()
        certificates = server.certificates
        if (
            self._ticks % CERTIFICATES_EVERY == 0
            and certificates is not None
            and certificates.changed()
        ):
            server.reloader.renew_certificates()
        if self._ticks % ADDRESSES_EVERY == 0:
            server.beside.run(server.protection.refresh())
        server.alternates.measure(now)
        if server.alternates.due(now):
            server.beside.run(server.alternates.look())
        if server.relay_watch.due(now):
            server.beside.run(server.relay_watch.look())
        if self._watchdog is not None and now >= self._watchdog_due:
            self._watchdog_due = now + self._watchdog - TICK
            system.sd_notify("WATCHDOG=1")
