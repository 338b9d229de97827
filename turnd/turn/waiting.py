"""Requests that wait for a credential store, bounded per client address and in total.

An IPv6 client is counted by its /64, as for streams.

A retransmission that arrives while its first copy waits joins it: libwebrtc repeats after 250 ms,
which is within what a slow store takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.stun.addresses import client_key

if TYPE_CHECKING:
    from turnd.auth.credentials import Query
    from turnd.engine.base import Leg
    from turnd.stun.message import Message


@dataclass(frozen=True, slots=True)
class NeedKey:
    """`receive` cannot answer before `query` is looked up; then call `resume` with the outcome."""

    query: Query
    leg: Leg
    message: Message
    realm: str
    """Whose store knows."""


class WaitingRequests:
    """The requests that wait, by five-tuple and transaction."""

    def __init__(self, per_client: int = 64, total: int = 4096) -> None:
        self._per_client = per_client
        self._total = total
        self._waiting: dict[tuple[Leg, bytes], NeedKey] = {}
        self._by_client: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def joins(self, leg: Leg, transaction_id: bytes) -> bool:
        """Whether this is a copy of a request that waits already."""
        return (leg, transaction_id) in self._waiting

    def add(self, need: NeedKey) -> bool:
        """Let a request wait; False when the bound is reached."""
        client = client_key(need.leg.client.host)
        held = self._by_client.get(client, 0)
        if len(self._waiting) >= self._total or held >= self._per_client:
            return False
        self._waiting[need.leg, need.message.transaction_id] = need
        self._by_client[client] = held + 1
        return True

    def remove(self, need: NeedKey) -> bool:
        """End the wait; False when its leg has closed meanwhile."""
        if self._waiting.pop((need.leg, need.message.transaction_id), None) is None:
            return False
        self._release(need.leg.client.host)
        return True

    def forget_leg(self, leg: Leg) -> None:
        """The client's stream closed: nobody is left to answer."""
        gone = [key for key in self._waiting if key[0] == leg]
        for key in gone:
            del self._waiting[key]
            self._release(leg.client.host)

    def _release(self, host: str) -> None:
        client = client_key(host)
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
