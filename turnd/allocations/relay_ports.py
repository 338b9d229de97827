"""The ports of one bound relay address: random, and rested.

Rules
    1.  A port that was freed rests, so that a peer of the last allocation does not send into the
        next one. Random ports (RFC 6056) among those that have rested make guessing hard.
    2.  Rest never refuses: when nothing has rested long enough, the port that was freed first is
        given out. Only a range that is wholly in use has nothing to give.
    3.  A pair (even N and N + 1, for EVEN-PORT with R) is free when both of its ports are, and
        rests from when the later one was freed.
    4.  A port that could not be bound is another program's: it is put to rest like a freed one,
        and thereby tried again last.

All operations take the same time whatever the range's size, except that ports come out of rest
one by one, each once.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class _Shelf:
    """Free things, each an even, odd or pair-leading port: those that rest, and those rested."""

    __slots__ = ("_place", "_rested", "_resting", "_start")

    def __init__(self, ports: range) -> None:
        self._start = ports.start
        self._rested = array("H", ports)
        # Where each port stands in _rested while it is there; the order in which ports come is
        # that of (port - start) // 2.
        self._place = array("H", range(len(ports)))
        self._resting: OrderedDict[int, float] = OrderedDict()

    @property
    def rested(self) -> int:
        """How many have rested."""
        return len(self._rested)

    def wake(self, freed_by: float) -> None:
        """Count as rested what was freed then or before."""
        resting = self._resting
        while resting and next(iter(resting.values())) <= freed_by:
            port, _ = resting.popitem(last=False)
            self._place[self._index(port)] = len(self._rested)
            self._rested.append(port)

    def lay(self, port: int, now: float) -> None:
        """Put back what was freed now."""
        self._resting[port] = now

    def pick(self, place: int) -> int:
        """The rested one at a place below `rested`; it stays."""
        return self._rested[place]

    def take(self, place: int) -> int:
        """Take the rested one at a place below `rested` out."""
        port, last = self._rested[place], self._rested.pop()
        if last != port:
            self._rested[place] = last
            self._place[self._index(last)] = place
        return port

    def oldest(self) -> tuple[float, int] | None:
        """When the one that rests longest was freed, and which; it stays."""
        for port, freed_at in self._resting.items():
            return freed_at, port
        return None

    def discard(self, port: int) -> bool:
        """Take one out, rested or not; False when it is not here."""
        if self._resting.pop(port, None) is not None:
            return True
        if not self._has_rested(port):
            return False
        self.take(self._place[self._index(port)])
        return True

    def __contains__(self, port: int) -> bool:
        return port in self._resting or self._has_rested(port)

    def _has_rested(self, port: int) -> bool:
        index = self._index(port)
        if not 0 <= index < len(self._place):
            return False
        place = self._place[index]
        return place < len(self._rested) and self._rested[place] == port

    def _index(self, port: int) -> int:
        return (port - self._start) // 2


class RelayPorts:
    """Which ports of one address are free.

    Args:
        low: first port of the range.
        high: its last.
        rest: seconds that a freed port rests.
        random: a number below its argument, unpredictable.

    Attributes:
        rest: may be changed.

    Raises:
        ValueError: the range is empty or beyond 1 to 65535.
    """

    def __init__(self, low: int, high: int, rest: float, random: Callable[[int], int]) -> None:
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"{low}-{high} is no range of ports: 1 to 65535, the lower one first")
        self.low = low
        self.high = high
        self.rest = rest
        self.in_use = 0
        self._random = random
        self._even = _Shelf(range(low + low % 2, high + 1, 2))
        self._odd = _Shelf(range(low + 1 - low % 2, high + 1, 2))
        self._pairs = _Shelf(range(low + low % 2, high, 2))

    @property
    def capacity(self) -> int:
        """Ports in the range."""
        return self.high - self.low + 1

    def take(self, now: float) -> int | None:
        """Any port; None when all are in use."""
        freed_by = now - self.rest
        self._even.wake(freed_by)
        self._odd.wake(freed_by)
        rested = self._even.rested + self._odd.rested
        if rested:
            place, evens = self._random(rested), self._even.rested
            return self._given(
                self._even.take(place) if place < evens else self._odd.take(place - evens)
            )
        oldest = [each for each in (self._even.oldest(), self._odd.oldest()) if each is not None]
        return self._out(min(oldest)[1]) if oldest else None

    def take_even(self, now: float) -> int | None:
        """An even port; None when all are in use."""
        port = self._choose(self._even, now)
        return None if port is None else self._out(port)

    def take_pair(self, now: float) -> tuple[int, int] | None:
        """An even port and the next one; None when no such pair is free."""
        port = self._choose(self._pairs, now)
        return None if port is None else (self._out(port), self._out(port + 1))

    def release(self, port: int, now: float) -> None:
        """Put a port to rest; its socket is closed.

        Raises:
            ValueError: the port is not in use.
        """
        shelf = self._shelf(port)
        if not self.low <= port <= self.high or port in shelf:
            raise ValueError(f"port {port} is not in use")
        shelf.lay(port, now)
        self.in_use -= 1
        if port ^ 1 in self._shelf(port ^ 1):
            self._pairs.lay(port & ~1, now)

    def reject(self, port: int, now: float) -> None:
        """Give back a port that could not be bound: somebody else has it."""
        self.release(port, now)

    def _choose(self, shelf: _Shelf, now: float) -> int | None:
        shelf.wake(now - self.rest)
        if shelf.rested:
            return shelf.pick(self._random(shelf.rested))
        oldest = shelf.oldest()
        return None if oldest is None else oldest[1]

    def _out(self, port: int) -> int:
        self._shelf(port).discard(port)
        return self._given(port)

    def _given(self, port: int) -> int:
        self._pairs.discard(port & ~1)
        self.in_use += 1
        return port

    def _shelf(self, port: int) -> _Shelf:
        return self._odd if port % 2 else self._even
