"""Streams that have not shown a valid credential yet, and until when they may stay so.

Who has authenticated once may be idle for ever (RFC 8489 section 6.2.2: the server leaves closing
to the client); who never did holds a descriptor that others could use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnd.engine.base import Leg


class AuthenticationDeadlines:
    """Legs in the order they came, each with `patience` seconds to authenticate.

    `now` is the monotonic clock's and never goes back, so that the oldest is always in front and
    `overdue` costs no more than what it returns.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        """Seconds; a change holds for those who wait already, too."""
        self._since: dict[Leg, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, leg: Leg, now: float) -> None:
        """A stream opened. Saying so again does not prolong its time."""
        self._since.setdefault(leg, now)

    def authenticated(self, leg: Leg) -> None:
        """A request with a valid credential came from the leg: it may stay. Cheap to repeat."""
        self._since.pop(leg, None)

    def removed(self, leg: Leg) -> None:
        """The stream has ended. Unknown legs are fine."""
        self._since.pop(leg, None)

    def overdue(self, now: float) -> list[Leg]:
        """Legs to close with `CloseReason.UNAUTHENTICATED`, oldest first; each is named once."""
        late: list[Leg] = []
        for leg, since in self._since.items():
            if now < since + self.patience:
                break
            late.append(leg)
        for leg in late:
            del self._since[leg]
        return late

    def next_deadline(self) -> float | None:
        """When the oldest becomes overdue; None when nobody waits."""
        for since in self._since.values():
            return since + self.patience
        return None
