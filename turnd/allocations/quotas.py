"""How many allocations there may be: in total, per client address, and per user of a realm.

Only what is alive is counted, an allocation with two relayed transport addresses once. Limits may
change while allocations live: who is over a new limit keeps what he has and gets nothing more.
An IPv6 client is counted by its /64: a host has that many addresses of its own.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum
from typing import TypeVar

from turnd.stun.addresses import client_key

_K = TypeVar("_K", bound=Hashable)


class QuotaRefusal(StrEnum):
    """Which limit an Allocate has run into; each is answered with 486."""

    TOTAL = "total"
    CLIENT = "client"
    USER = "user"


class Quotas:
    """Counts against limits; 0 is no limit.

    Attributes:
        total: allocations of the server.
        per_client: allocations of one client address, whatever its ports.
        per_user: allocations of one user of one realm who has no limit of his own.
    """

    def __init__(self, total: int = 0, per_client: int = 0, per_user: int = 0) -> None:
        self.total = total
        self.per_client = per_client
        self.per_user = per_user
        self._in_use = 0
        self._by_client: dict[bytes, int] = {}
        self._by_user: dict[tuple[str, str], int] = {}

    @property
    def in_use(self) -> int:
        """Allocations alive."""
        return self._in_use

    def of_client(self, client_host: str) -> int:
        """Allocations alive of one client address (IPv6: of its /64)."""
        return self._by_client.get(client_key(client_host), 0)

    def of_user(self, realm: str, user: str) -> int:
        """Allocations alive of one user."""
        return self._by_user.get((realm, user), 0)

    def admit(
        self, realm: str, user: str, client_host: str, user_limit: int | None = None
    ) -> QuotaRefusal | None:
        """Whether there is room for one more; None when there is.

        Args:
            realm: where the user is known.
            user: the credential's quota user.
            client_host: the client's address.
            user_limit: a limit for this user alone; None: `per_user` holds.
        """
        limit = self.per_user if user_limit is None else user_limit
        if 0 < self.total <= self._in_use:
            return QuotaRefusal.TOTAL
        if 0 < self.per_client <= self.of_client(client_host):
            return QuotaRefusal.CLIENT
        if 0 < limit <= self.of_user(realm, user):
            return QuotaRefusal.USER
        return None

    def add(self, realm: str, user: str, client_host: str) -> None:
        """Count an allocation that has begun."""
        self._in_use += 1
        client = client_key(client_host)
        self._by_client[client] = self._by_client.get(client, 0) + 1
        self._by_user[realm, user] = self._by_user.get((realm, user), 0) + 1

    def release(self, realm: str, user: str, client_host: str) -> None:
        """Count an allocation as gone.

        Raises:
            KeyError: it was not counted.
        """
        _less_one(self._by_user, (realm, user))
        _less_one(self._by_client, client_key(client_host))
        self._in_use -= 1


def _less_one(counts: dict[_K, int], key: _K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
