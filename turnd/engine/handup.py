"""What waits for Python's decision: bounded, and fair when more comes than can be decided.

Rules of the house
    1.  What clients with relays want goes before what strangers want; so do new streams. But of
        so many one is a stranger's, if one waits: no client is to keep newcomers out.
    2.  Within each of the two, networks take turns, and a network's events keep their order. It is
        stochastic fair queueing (McKenney 1990): a fixed number of queues, of which a network has
        the one that a hash says, seeded per process so that nobody can choose whom to share with.
    3.  Each of the two has room of its own, and a network's queue takes one message more while it
        is shorter than a share of the room that is left (dynamic thresholds, Choudhury and Hahne
        1998): one network that floods fills a part, each of many fills less, and who comes with
        his first message finds room.
    4.  What became of streams is never dropped: there are as many of these events as streams.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from turnd.engine.base import ClientMessage, Drop, Event
from turnd.engine.networks import network_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnd.engine.tally import Tally

ROOM = 2_048
"""Messages that wait at most of clients with relays, and as many of strangers."""

CLIENTS_SHARE, STRANGERS_SHARE = 2, 8
"""Into so many parts the room that is left is divided for the bound of a network."""

IN_A_ROW = 7
"""Events of clients with relays that are taken one after the other while a stranger's waits."""

POLL_BATCH = 256

_QUEUES = 256


class HandUp:
    """The queue behind `RelayEngine.poll`."""

    def __init__(self, tally: Tally, room: int = ROOM) -> None:
        self._tally = tally
        self._preferred = FairQueue(room, CLIENTS_SHARE)
        self._others = FairQueue(room, STRANGERS_SHARE)
        self._in_a_row = 0
        """Events of clients with relays that were taken since a stranger's was."""

    def __len__(self) -> int:
        return len(self._preferred) + len(self._others)

    def add(self, event: Event, *, preferred: bool) -> None:
        """Queue an event; a message for which there is no room is dropped."""
        waiting = self._preferred if preferred else self._others
        if not waiting.add(event):
            self._tally.drop(Drop.HAND_UP_FULL)

    def take(self) -> Sequence[Event]:
        """A bounded batch of what is to be decided first."""
        return [self._next() for _ in range(min(POLL_BATCH, len(self)))]

    def _next(self) -> Event:
        if len(self._preferred) and (self._in_a_row < IN_A_ROW or not len(self._others)):
            self._in_a_row += 1
            return self._preferred.take()
        self._in_a_row = 0
        return self._others.take()


class FairQueue:
    """Events whose networks take turns."""

    def __init__(self, room: int, share: int) -> None:
        self._room = room
        self._share = share
        self._queues: tuple[deque[Event], ...] = tuple(deque() for _ in range(_QUEUES))
        self._turns: deque[deque[Event]] = deque()
        """Queues that are not empty, the next one first."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, event: Event) -> bool:
        """Let an event wait in its network's queue, if it has room."""
        queue = self._queues[hash(network_of(event.leg.client.host)) % _QUEUES]
        if isinstance(event, ClientMessage):
            if len(queue) * self._share >= self._room:
                return False
            self._room -= 1
        if not queue:
            self._turns.append(queue)
        queue.append(event)
        self._length += 1
        return True

    def take(self) -> Event:
        """The oldest event of the network whose turn it is."""
        queue = self._turns.popleft()
        event = queue.popleft()
        if queue:
            self._turns.append(queue)
        self._length -= 1
        self._room += isinstance(event, ClientMessage)
        return event
