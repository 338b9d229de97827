"""What belongs together under one realm: who may use it, how much, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.turn.bandwidth import NO_LIMITS, BandwidthLimits

if TYPE_CHECKING:
    from turnd.allocations.policy import PeerPolicy
    from turnd.allocations.quotas import Quotas
    from turnd.auth.chain import CredentialChain


@dataclass(slots=True)
class Realm:
    """A realm and its rules; the fields may be replaced while the server runs."""

    name: str
    credentials: CredentialChain
    policy: PeerPolicy
    quotas: Quotas
    """Of this realm; the table counts for the whole server."""
    bandwidth: BandwidthLimits = NO_LIMITS
    strict_expiry: bool = False
    """Whether a REST credential whose date has passed may not refresh either."""
