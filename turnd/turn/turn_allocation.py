"""What the handlers remember of an allocation, beside what the table keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turnd.allocations.allocation import Allocation

if TYPE_CHECKING:
    from turnd.auth.credentials import Credential
    from turnd.engine.base import Leg
    from turnd.stun.message import Attributes
    from turnd.turn.bandwidth import Buckets


class Returned(NamedTuple):
    """How the client came by another five-tuple the last time."""

    leg: Leg
    transaction_id: bytes
    """Of its Refresh, by which a retransmission is known (RFC 8016 section 3.2.2)."""
    answer: Attributes
    """What a retransmitted Refresh is answered with."""


@dataclass(slots=True, eq=False, kw_only=True)
class TurnAllocation(Allocation):
    """An allocation of a client of ours."""

    leg: Leg
    next_leg: Leg | None = None
    credential: Credential
    """What it was created with, and may go on with."""
    transaction_id: bytes
    """Of its Allocate, by which a retransmission is known (RFC 8656 section 7.2)."""
    answer: Attributes = ()
    """What a retransmitted Allocate is answered with."""
    buckets: Buckets | None = None
    """Where its packets have to find room; none where no bandwidth is limited."""
    connected: bool = True
    """Whether its five-tuple is there; else it waits for its client."""
    returned: Returned | None = None
