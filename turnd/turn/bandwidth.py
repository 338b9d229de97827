"""Who shares which of the engine's token buckets.

Rules
    1.  Where any limit is in force, an allocation's packets have to find room in three buckets: its
        own, its user's (of a realm), which goes with the user's last allocation, and the server's.
    2.  Where none is, there are no buckets. The first limit that a reload sets gives some to the
        allocations that are alive; they keep them when the last limit is taken back. Allocations
        of TCP have some from the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.base import BucketId, RelayId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turnd.engine.base import RelayEngine
    from turnd.turn.realm import Realm
    from turnd.turn.turn_allocation import TurnAllocation

SERVER = BucketId(0)


@dataclass(frozen=True, slots=True)
class BandwidthLimits:
    """Of a realm, in bits of payload per second and direction; 0: no limit."""

    per_allocation: int = 0
    per_user: int = 0


NO_LIMITS = BandwidthLimits()


class Buckets(NamedTuple):
    """Those of one allocation, as the engine is told."""

    server: BucketId
    user: BucketId
    own: BucketId


@dataclass(slots=True)
class _UserBucket:
    bucket: BucketId
    allocations: int = 0


class Bandwidth:
    """All buckets of a server."""

    def __init__(self, engine: RelayEngine) -> None:
        self._engine = engine
        self._in_force = False
        self._numbers = map(BucketId, count(SERVER + 1))
        self._users: dict[tuple[str, str], _UserBucket] = {}

    def open(self, realm: Realm, user: str, *, without_limit: bool = False) -> Buckets | None:
        """The buckets of a new allocation, for `close` when it ends or does not come about.

        `without_limit`: also where none is in force, since it cannot be given any later.
        """
        if not (self._in_force or without_limit):
            return None
        shared = self._users.get((realm.name, user))
        if shared is None:
            shared = self._users[realm.name, user] = _UserBucket(next(self._numbers))
            self._engine.limit(shared.bucket, realm.bandwidth.per_user)
        shared.allocations += 1
        own = next(self._numbers)
        self._engine.limit(own, realm.bandwidth.per_allocation)
        return Buckets(SERVER, shared.bucket, own)

    def close(self, realm: Realm, user: str, buckets: Buckets | None) -> None:
        """Forget what nobody shares any more."""
        if buckets is None:
            return
        self._engine.limit(buckets.own, None)
        shared = self._users[realm.name, user]
        shared.allocations -= 1
        if not shared.allocations:
            del self._users[realm.name, user]
            self._engine.limit(shared.bucket, None)

    def set_limits(
        self, total: int, realms: Iterable[Realm], allocations: Iterable[TurnAllocation]
    ) -> None:
        """Bring the limits of server (bits per second) and realms into force, also for the living.

        Args:
            total: of the server.
            realms: with the limits that hold from now on.
            allocations: all that are alive.
        """
        by_name = {realm.name: realm for realm in realms}
        limits = [realm.bandwidth for realm in by_name.values()]
        self._in_force = any((total, *((each.per_allocation or each.per_user) for each in limits)))
        self._engine.limit(SERVER, total)
        for (realm_name, _), shared in self._users.items():
            self._engine.limit(shared.bucket, by_name[realm_name].bandwidth.per_user)
        for allocation in allocations:
            realm = by_name[allocation.realm]
            if allocation.buckets is not None:
                self._engine.limit(allocation.buckets.own, realm.bandwidth.per_allocation)
            else:
                self._give(allocation, realm)

    def _give(self, allocation: TurnAllocation, realm: Realm) -> None:
        buckets = allocation.buckets = self.open(realm, allocation.quota_user)
        if buckets is not None:
            for relay in allocation.relays:
                relay_id = RelayId(relay.relay_id)
                self._engine.move(relay_id, allocation.leg, relay.deadline, buckets)
