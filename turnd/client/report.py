"""What a check has found, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.client.uri import Server


class Status(StrEnum):
    """How a step went. Only `FAILED` fails the check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: stable, for machines: `connect`, `certificate`, `binding`, `challenge`, `allocate`,
            `redirect`, `permission`, `echo`.
        status: how it went.
        text: what was found, for people.
        fix: what to do about it; empty when there is nothing to do.
        values: what was found, for machines; times in milliseconds.
    """

    name: str
    status: Status
    text: str
    fix: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; empty ones are left out."""
        plain = {"name": self.name, "status": str(self.status), "text": self.text}
        return plain | ({"fix": self.fix} if self.fix else {}) | dict(self.values)


@dataclass(slots=True)
class Report:
    """All steps of one transport, in the order they were tried."""

    server: Server
    steps: list[Step] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(step.status is not Status.FAILED for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "transport": str(self.server.transport),
            "server": str(self.server),
            "ok": self.ok,
            "steps": [step.as_json() for step in self.steps],
        }
