"""One request on the ladder of authentication, and what its nonce shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.stun import attributes as a
from turnd.stun.errors import DecodeError
from turnd.turn.challenge import challenge_attributes
from turnd.turn.events import AuthenticationFailed, FailureReason, Sink

if TYPE_CHECKING:
    from turnd.auth.credentials import Offers
    from turnd.auth.nonce import Nonces
    from turnd.engine.base import Leg
    from turnd.stun.message import Message
    from turnd.turn.realm import Realm
    from turnd.turn.request import Attributes
    from turnd.turn.turn_allocation import TurnAllocation


@dataclass(slots=True)
class Attempt:
    """One request on the ladder."""

    message: Message
    leg: Leg
    realm: Realm
    now: float
    nonces: Nonces
    decoy_salt: bytes
    report: Sink
    allocation: TurnAllocation | None
    """Whose credential is tried first: the five-tuple's, or the one that a ticket claims."""
    wall_now: float
    """UNIX seconds."""
    nonce: str = ""
    nonce_is_valid: bool = False

    def challenge(self) -> Attributes:
        """What a 401 or 438 carries beside the code."""
        nonce = self.nonces.mint(self.leg.client, self.realm.credentials.offers, self.now)
        return challenge_attributes(self.realm, nonce)

    def failed(self, user: str, reason: FailureReason) -> None:
        """Tell of a failure, unless the nonce shows that the address may be spoofed."""
        if self.nonce_is_valid:
            self.report(AuthenticationFailed(self.leg, user, self.realm.name, reason))

    def check_nonce(self) -> Offers | None:
        """Learn whether the nonce is valid, and what was offered with it (for rungs 3 and 6).

        None where the nonce is not ours: what its challenge offered is not known then.
        """
        try:
            nonce = self.message.get(a.NONCE)
        except DecodeError:
            nonce = None
        if nonce is None:
            return None
        self.nonce = nonce
        verdict = self.nonces.check(nonce, self.leg.client, self.now)
        self.nonce_is_valid = verdict.valid
        return verdict.offers
