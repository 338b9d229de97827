"""What the handlers remember of an allocation, beside what the table keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.allocations.allocation import Allocation

if TYPE_CHECKING:
    from turnd.auth.credentials import Credential
    from turnd.engine.base import Leg
    from turnd.stun.message import Attributes
    from turnd.turn.bandwidth import Buckets


@dataclass(slots=True, eq=False, kw_only=True)
class TurnAllocation(Allocation):
    """An allocation of a client of ours."""

    leg: Leg
    credential: Credential
    """What it was created with, and may go on with."""
    transaction_id: bytes
    """Of its Allocate, by which a retransmission is known (RFC 8656 section 7.2)."""
    answer: Attributes
    """What a retransmitted Allocate is answered with."""
    buckets: Buckets | None = None
    """Where its packets have to find room; none where no bandwidth is limited."""
