"""Where the listeners say what an admin should know: they do not log themselves."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Where events for the log go."""

    def __call__(self, event: str, /, **fields: object) -> None:
        """Log an event by its stable name, at `warning` or the level in the field `level`."""
        ...
