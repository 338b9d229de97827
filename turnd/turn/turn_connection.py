"""What the handlers remember of a peer's connection, beside what its table keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.allocations.connections import Connection

if TYPE_CHECKING:
    from turnd.engine.base import Leg
    from turnd.turn.request import Request
    from turnd.turn.turn_allocation import TurnAllocation


@dataclass(slots=True, eq=False, kw_only=True)
class TurnConnection(Connection):
    """A peer data connection of a client of ours."""

    allocation: TurnAllocation
    leg: Leg | None = None
    request: Request | None = None
    """The Connect that asked for it; None: the peer came by itself."""
