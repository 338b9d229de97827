"""What a handler works on, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.stun.message import Attributes, Integrity, Message

if TYPE_CHECKING:
    from turnd.auth.credentials import Credential
    from turnd.engine.base import Leg
    from turnd.stun.errors import ErrorCode
    from turnd.turn.realm import Realm
    from turnd.turn.turn_allocation import TurnAllocation

__all__ = ["Attributes", "Refused", "Request"]


@dataclass(slots=True)
class Request:
    """An authenticated request. `allocation` is that of the five-tuple, if there is one."""

    leg: Leg
    message: Message
    now: float
    realm: Realm
    credential: Credential
    integrity: Integrity
    """What the answer is signed with."""
    allocation: TurnAllocation | None
    sent_here: bool = False
    """Whether another server has redirected the client to us."""


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """The request gets an error response with this code.

    Args:
        code: the wire's code.
        why: for logs and metrics, never sent.
        attributes: what the response carries beside ERROR-CODE.
        integrity: set where the key is known before the request counts as authenticated.
    """

    def __init__(
        self,
        code: ErrorCode,
        why: str = "",
        attributes: Attributes = (),
        integrity: Integrity | None = None,
    ) -> None:
        super().__init__()
        self.code = code
        self.why = why or code.reason
        self.attributes = attributes
        self.integrity = integrity

    def __str__(self) -> str:
        return f"{int(self.code)} {self.code.reason}: {self.why}"
