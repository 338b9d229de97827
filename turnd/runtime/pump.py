"""Carries messages from the engine to the core and answers back; look-ups wait beside it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from turnd import logs
from turnd.auth.credentials import NeedLookup, Outcome, Unavailable
from turnd.engine.base import ClientMessage, Event, LegClosed, LegOpened, MediaWaiting, RelayEngine
from turnd.runtime.beside import Beside
from turnd.runtime.event_log import EventLog
from turnd.turn.answers import send_answer
from turnd.turn.events import Authenticated
from turnd.turn.events import Event as TurnEvent
from turnd.turn.waiting import NeedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turnd.auth.redis_store import RedisStore
    from turnd.runtime.endpoints import Endpoints
    from turnd.turn.server import TurnServer

log = logs.get_logger("turnd.runtime.pump")


class Pump:
    """One for a server; runs in the event loop's thread."""

    def __init__(
        self,
        engine: RelayEngine,
        endpoints: Endpoints,
        stores: Mapping[str, RedisStore],
        on_failure: Callable[[str], None],
    ) -> None:
        """`on_failure` is told when the engine cannot go on, and why."""
        self.events = EventLog()
        self._on_failure = on_failure
        self._engine = engine
        self._endpoints = endpoints
        self._stores = stores
        self._turn: TurnServer | None = None
        self._lookups = Beside()

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

    async def stop(self) -> None:
        """Carry nothing more, and give up look-ups that wait."""
        self._turn = None
        await self._lookups.stop()

    def wake(self) -> None:
        """The engine has events, or has come to its end."""
        now = time.monotonic()
        try:
            events = self._engine.poll()
        except OSError as error:
            self._on_failure(str(error))
            return
        for event in events:
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
                send_answer(self._engine, event.leg, answer)
        elif isinstance(event, LegOpened):
            self._endpoints.leg_opened(event.leg, now)
            turn.leg_opened(event.leg, event.server_name)
        elif isinstance(event, MediaWaiting):
            turn.media_waiting(event.leg, now)
        elif isinstance(event, LegClosed):
            self._endpoints.leg_closed(event)
            turn.leg_closed(event.leg, now, event.reason)

    def _look_up(self, need: NeedKey, turn: TurnServer) -> None:
        # Bounded by the core: no more than the requests it lets wait.
        self._lookups.run(self._resume(need, turn))

    async def _resume(self, need: NeedKey, turn: TurnServer) -> None:
        try:
            outcome = await self._ask(need, turn)
        except BaseException:
            turn.waiting.remove(need)  # nobody answers it: its place is free, a copy may come
            raise
        answer = turn.resume(need, outcome, time.monotonic())
        if answer is not None:
            send_answer(self._engine, need.leg, answer)

    async def _ask(self, need: NeedKey, turn: TurnServer) -> Outcome:
        """What the realm's sources say; those of a reload where one came in between."""
        realm = turn.state.realms[need.realm]
        while True:
            store = self._stores.get(realm.name)
            if store is not None:
                try:
                    return await store.fetch(need.query)
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if (task is not None and task.cancelling()) or store is self._stores.get(
                        realm.name
                    ):
                        raise
            found = realm.credentials.lookup(need.query, time.monotonic())
            if not isinstance(found, NeedLookup):
                return found
            if self._stores.get(realm.name) is None:
                return Unavailable("no store")
