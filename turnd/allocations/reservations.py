"""Relayed transport addresses held in reserve (EVEN-PORT with R, RFC 8656 section 7.2).

A token is good once, for 30 s, and only for whom it was given to. Reservations are capped per user
and in total, since each holds a port and a socket of nobody's allocation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.stun.addresses import RelayedAddress, TransportAddress

TOKEN_LENGTH = 8


class Holder(NamedTuple):
    """Whom a reservation is for."""

    realm: str
    owner: str
    """Who may claim it, as allocations are owned."""
    quota_user: str
    """Whom it counts for."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A relay without an allocation."""

    token: bytes
    holder: Holder
    relay_id: int
    bound: TransportAddress
    announced: RelayedAddress
    deadline: float


class Reservations:
    """All reservations that nobody has claimed yet.

    Args:
        random_bytes: so many bytes nobody can guess.
        lifetime: seconds that a token is good for.
        per_user: cap for one `quota_user` of a realm.
        total: cap for all.
    """

    def __init__(
        self,
        random_bytes: Callable[[int], bytes],
        *,
        lifetime: float = 30.0,
        per_user: int = 16,
        total: int = 1024,
    ) -> None:
        self.lifetime = lifetime
        self.per_user = per_user
        self.total = total
        self._random_bytes = random_bytes
        self._by_token: dict[bytes, Reservation] = {}
        self._of_user: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def has_room(self, holder: Holder) -> bool:
        """Whether one more may be reserved; if not, 508."""
        reserved = self._of_user.get((holder.realm, holder.quota_user), 0)
        return len(self._by_token) < self.total and reserved < self.per_user

    def add(
        self,
        holder: Holder,
        relay_id: int,
        bound: TransportAddress,
        announced: RelayedAddress,
        now: float,
    ) -> Reservation:
        """Keep a relay in reserve. Ask `has_room` before the relay is opened."""
        token = self._random_bytes(TOKEN_LENGTH)
        while token in self._by_token:
            token = self._random_bytes(TOKEN_LENGTH)
        reservation = Reservation(token, holder, relay_id, bound, announced, now + self.lifetime)
        self._by_token[token] = reservation
        user = holder.realm, holder.quota_user
        self._of_user[user] = self._of_user.get(user, 0) + 1
        return reservation

    def find(self, token: bytes, holder: Holder, now: float) -> Reservation | None:
        """What a token stands for; None (508) when it is unknown, used, late or another's."""
        found = self._by_token.get(token)
        if found is None or found.deadline <= now:
            return None
        owner = found.holder.realm, found.holder.owner
        return found if owner == (holder.realm, holder.owner) else None

    def claim(self, token: bytes, holder: Holder, now: float) -> Reservation | None:
        """As `find`, and the token is used up. The relay is the caller's from now on."""
        found = self.find(token, holder, now)
        if found is not None:
            self._forget(found)
        return found

    def next_deadline(self) -> float:
        """When the next reservation ends; inf without any."""
        return min((each.deadline for each in self._by_token.values()), default=inf)

    def expire(self, now: float) -> list[Reservation]:
        """Take out what nobody claimed in time; the caller closes the relays."""
        ended = [each for each in self._by_token.values() if each.deadline <= now]
        for each in ended:
            self._forget(each)
        return ended

    def clear(self) -> list[Reservation]:
        """Take out all."""
        return self.expire(inf)

    def _forget(self, reservation: Reservation) -> None:
        del self._by_token[reservation.token]
        user = reservation.holder.realm, reservation.holder.quota_user
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]
