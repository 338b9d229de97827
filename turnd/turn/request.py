"""What a handler works on, and how it says no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from turnd.allocations.allocation import Allocation
from turnd.auth.credentials import Credential
from turnd.engine.base import Leg
from turnd.stun.attributes import Attribute
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Integrity, Message
from turnd.turn.realm import Realm

Attributes = Sequence[tuple[Attribute[Any], Any]]
"""Attributes of an answer, in the order they are sent."""


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
    allocation: Allocation | None


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
        super().__init__(f"{int(code)} {code.reason}: {why}")
        self.code = code
        self.why = why or code.reason
        self.attributes = attributes
        self.integrity = integrity
