"""What a store answered, kept for a while: users, and keys of tokens alike.

- A user that was found counts for `ttl` seconds, one that was not for `negative_ttl`: long enough
  that random names are no load, short enough that a new user need not wait.
- Afterwards a found user is stale: to be asked for again, and good for an answer only while the
  store is away. A name that was not found is never good for an answer then: the store might know
  it by now.
- Both kinds are bounded apart, so that a flood of unknown names pushes out no user.
- An answer that was under way while its user changed counts once and is not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turnd.auth.credentials import Found, FoundKey, Query, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class StoreHooks:
    """What the store tells its owner."""

    report: Callable[[str, str], None]
    """Event and reason, for the log: `redis_away`, `redis_back`, `redis_bad_record`,
    `redis_not_notifying`."""
    changed: Callable[[], None] = lambda: None
    """`realm_options` or `endpoints` have changed."""


class CacheLimits(NamedTuple):
    """How long answers count, in seconds, and how many are kept."""

    ttl: float = 60.0
    negative_ttl: float = 2.0
    entries: int = 50_000
    negative_entries: int = 10_000


class _Entry(NamedTuple):
    found: Found | FoundKey
    fresh_until: float


class StoreCache:
    """Answers of a store by the name that was asked for; every `now` is monotonic seconds."""

    def __init__(self, limits: CacheLimits | None = None) -> None:
        self._limits = limits or CacheLimits()
        self._found: OrderedDict[Query, _Entry] = OrderedDict()
        self._unknown: OrderedDict[Query, float] = OrderedDict()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._found) + len(self._unknown)

    @property
    def generation(self) -> int:
        """To be read before the store is asked, and given back with its answer."""
        return self._generation

    def fresh(self, name: Query, now: float) -> Found | FoundKey | Unknown | None:
        """An answer that still counts; None: the store has to be asked."""
        entry = self._found.get(name)
        if entry is not None:
            self._found.move_to_end(name)
            return entry.found if now < entry.fresh_until else None
        return Unknown() if now < self._unknown.get(name, now) else None

    def stale(self, name: Query) -> Found | FoundKey | None:
        """The last answer that found a user, however old: for when the store is away."""
        entry = self._found.get(name)
        return None if entry is None else entry.found

    def put(
        self, name: Query, outcome: Found | FoundKey | Unknown, now: float, generation: int
    ) -> None:
        """Keeps an answer, unless something changed since its question (`generation`)."""
        if generation != self._generation:
            return
        if not isinstance(outcome, Unknown):
            self._unknown.pop(name, None)
            self._found[name] = _Entry(outcome, now + self._limits.ttl)
            self._found.move_to_end(name)
            if len(self._found) > self._limits.entries:
                self._found.popitem(last=False)
        else:
            self._found.pop(name, None)
            self._unknown[name] = now + self._limits.negative_ttl
            self._unknown.move_to_end(name)
            if len(self._unknown) > self._limits.negative_entries:
                self._unknown.popitem(last=False)

    def forget(self, *names: Query) -> None:
        """Drops what is known about names whose records have changed."""
        self._generation += 1
        for name in names:
            self._found.pop(name, None)
            self._unknown.pop(name, None)

    def expire_all(self) -> None:
        """Changes may have been missed: every name is to be asked for again."""
        self._generation += 1
        self._unknown.clear()
        for name, entry in self._found.items():
            self._found[name] = entry._replace(fresh_until=float("-inf"))
