"""Events that wait for Python's decision: a bounded queue."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from turnd.engine.base import ClientMessage, Drop, Event, LegClosed, LegOpened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnd.engine.tally import Tally

WAITING_MESSAGES = 4_096
"""Client messages that wait at most. What a stream opened or closed is never dropped: there are as
many of these as streams."""

POLL_BATCH = 256


class HandUp:
    """The queue behind `RelayEngine.poll`."""

    def __init__(self, tally: Tally, bound: int = WAITING_MESSAGES) -> None:
        self._tally = tally
        self._bound = bound
        self._events: deque[Event] = deque()
        self._messages = 0

    def __len__(self) -> int:
        return len(self._events)

    def message(self, message: ClientMessage) -> None:
        """Queue a client's message, or drop it at the bound."""
        if self._messages >= self._bound:
            self._tally.drop(Drop.HAND_UP_FULL)
            return
        self._messages += 1
        self._events.append(message)

    def leg_event(self, event: LegOpened | LegClosed) -> None:
        """Queue what became of a stream."""
        self._events.append(event)

    def take(self) -> Sequence[Event]:
        """The oldest events, a bounded batch."""
        events = self._events
        batch = [events.popleft() for _ in range(min(POLL_BATCH, len(events)))]
        self._messages -= sum(isinstance(event, ClientMessage) for event in batch)
        return batch
