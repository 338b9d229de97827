"""How many ICMP errors a client is told of."""

from __future__ import annotations

from turnd.engine.base import ICMP_PER_SECOND


class IcmpRate:
    """Of one relay: `ICMP_PER_SECOND` in each second that begins with an error."""

    __slots__ = ("_since", "_told")

    def __init__(self, now: float) -> None:
        self._since = now
        self._told = 0

    def admits(self, now: float) -> bool:
        """Whether one more may be told; if so it is counted."""
        if now - self._since >= 1:
            self._since, self._told = now, 0
        if self._told >= ICMP_PER_SECOND:
            return False
        self._told += 1
        return True
