"""Token buckets: how much may be relayed for an allocation, a user and the whole server.

Rules of the house
    1.  A packet passes when every bucket of its relay has room for it, and only then is drawn from
        all of them: what one bucket refuses costs the others nothing.
    2.  Each direction has an account of its own, so that a flood one way leaves the other alone.
    3.  An account is filled by the clock when it is looked at; a bucket costs nothing while idle.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from turnd.engine.base import BucketId

SHALLOWEST = 64 << 10
"""Bytes: below, a rate that suits audio would cut every video frame."""

_DEPTH = 0.25  # seconds of the rate


class Direction(IntEnum):
    """Which way a packet goes; the number of its account."""

    FROM_CLIENT = 0
    TO_CLIENT = 1


class Bucket:
    """One rate, and an account for each direction."""

    __slots__ = ("_depth", "_filled_at", "_spent", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        """Bytes per second; 0: no limit."""
        self._depth = 0.0
        self._spent = [0.0, 0.0]
        self._filled_at = [0.0, 0.0]

    def set_rate(self, bytes_per_second: float) -> None:
        """A new rate; what is spent stays spent."""
        self.rate = bytes_per_second
        self._depth = max(bytes_per_second * _DEPTH, SHALLOWEST)

    def has_room(self, direction: Direction, size: int, now: float) -> bool:
        """Whether so many bytes may pass at this moment."""
        earned = (now - self._filled_at[direction]) * self.rate
        self._filled_at[direction] = now
        spent = self._spent[direction] = max(0.0, self._spent[direction] - earned)
        return spent + size <= self._depth

    def draw(self, direction: Direction, size: int) -> None:
        """Take what passes out of the account."""
        self._spent[direction] += size


class Buckets:
    """All buckets of an engine."""

    def __init__(self) -> None:
        self._buckets: dict[BucketId, Bucket] = {}
        self.limiting = 0
        """How many have a limit: with none at all, a packet need not ask."""

    def __len__(self) -> int:
        return len(self._buckets)

    def named(self, bucket_ids: Iterable[BucketId]) -> tuple[Bucket, ...]:
        """The buckets of a relay; those that nobody named before have no limit yet."""
        return tuple(self._buckets.setdefault(each, Bucket()) for each in bucket_ids)

    def limit(self, bucket_id: BucketId, bits_per_second: int | None) -> None:
        """Set a rate; see `RelayEngine.limit`."""
        (bucket,) = self.named((bucket_id,))
        before = bucket.rate
        bucket.set_rate((bits_per_second or 0) / 8)
        self.limiting += bool(bucket.rate) - bool(before)
        if bits_per_second is None:
            del self._buckets[bucket_id]


def admit(buckets: Sequence[Bucket], direction: Direction, size: int, now: float) -> bool:
    """Whether a packet's payload finds room in all buckets; then it is drawn from them."""
    limiting = [bucket for bucket in buckets if bucket.rate]
    admitted = all(bucket.has_room(direction, size, now) for bucket in limiting)
    if admitted:
        for bucket in limiting:
            bucket.draw(direction, size)
    return admitted
