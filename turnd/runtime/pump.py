"""Carries messages from the engine to the core and answers back; look-ups wait beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from turnd import logs
from turnd.auth.credentials import Outcome, Unavailable
from turnd.auth.redis_store import RedisStore
from turnd.engine.base import ClientMessage, Event, Leg, LegClosed, LegOpened, RelayEngine
from turnd.runtime.endpoints import Endpoints
from turnd.runtime.event_log import EventLog
from turnd.turn.events import Authenticated
from turnd.turn.events import Event as TurnEvent
from turnd.turn.server import TurnServer
from turnd.turn.waiting import NeedKey

log = logs.get_logger("turnd.runtime.pump")


class Pump:
    """One for a server; runs in the event loop's thread."""

    def __init__(
        self, engine: RelayEngine, endpoints: Endpoints, stores: Mapping[str, RedisStore]
    ) -> None:
        self.events = EventLog()
        self._engine = engine
        self._endpoints = endpoints
        self._stores = stores
        self._turn: TurnServer | None = None
        self._lookups: set[asyncio.Task[None]] = set()

    def report(self, event: TurnEvent) -> None:
        """The core's sink."""
        if isinstance(event, Authenticated):
            self._endpoints.deadlines.authenticated(event.leg)
        else:
            self.events(event)

    def start(self, turn: TurnServer) -> None:
        """Begin to carry."""
        self._turn = turn
        self._engine.start(self.wake)

    def stop(self) -> None:
        """Give up look-ups that wait."""
        for task in self._lookups:
            task.cancel()

    def wake(self) -> None:
        """The engine has events."""
        now = time.monotonic()
        for event in self._engine.poll():
            try:
                self._handle(event, now)
            except Exception:
                # A fault of ours in one client's request must not be the end of all the others.
                log.exception("internal_error", client=str(event.leg.client))

    def _handle(self, event: Event, now: float) -> None:
        turn = self._turn
        if turn is None:
            return
        if isinstance(event, ClientMessage):
            answer = turn.receive(event.leg, event.data, now)
            if isinstance(answer, NeedKey):
                self._look_up(answer, turn)
            elif answer is not None:
                self._engine.send_to_client(event.leg, answer)
        elif isinstance(event, LegOpened):
            self._endpoints.leg_opened(event.leg, now)
        elif isinstance(event, LegClosed):
            turn.leg_closed(event.leg, now)
            self._endpoints.leg_closed(event)

    def _look_up(self, need: NeedKey, turn: TurnServer) -> None:
        # Bounded by the core: no more than the requests it lets wait.
        task = asyncio.ensure_future(self._resume(need, turn))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _resume(self, need: NeedKey, turn: TurnServer) -> None:
        outcome = await self._ask(need, turn.realm_of(need.leg).name)
        self._answer(need.leg, turn.resume(need, outcome, time.monotonic()))

    async def _ask(self, need: NeedKey, realm: str) -> Outcome:
        store = self._stores.get(realm)
        if store is None:  # taken away by a reload while the request waited
            return Unavailable("no store")
        try:
            return await store.fetch(need.query)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Unavailable("the store was closed")

    def _answer(self, leg: Leg, answer: bytes | None) -> None:
        if answer is not None:
            self._engine.send_to_client(leg, answer)
