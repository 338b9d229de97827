"""How a check is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turnd.client.certificate import today
from turnd.client.echo import Probes
from turnd.client.transactions import Timing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

PATIENT = Timing(max_requests=4, last_wait=4, stream_timeout=5.5)
"""A check should end: 5.5 s without an answer are enough."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """How to check.

    Attributes:
        username: None: only what needs no credentials.
        password: plain.
        authorities: a PEM file to trust in place of the system's; None: the system's.
        server_name: for SNI and verification; None: the server's host.
        probes: what is sent through the relay.
        timing: how long an answer is waited for.
        wall_clock: for the certificate's days.
    """

    username: str | None = None
    password: str = field(default="", repr=False)
    authorities: str | None = None
    server_name: str | None = None
    probes: Probes = field(default_factory=Probes)
    timing: Timing = PATIENT
    wall_clock: Callable[[], datetime] = today
