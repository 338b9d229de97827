"""How much is being relayed: a rate over the last few seconds, of a sum that only grows."""

from __future__ import annotations

from collections import deque

WINDOW = 5.0
"""Seconds: long enough for a video's bursts, short enough to send people elsewhere in time."""


class Throughput:
    """Bits per second, of a sum of bytes that is told about once a second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, total: int, now: float) -> float:
        """Take in the sum of bytes so far; the rate, 0 at first.

        Args:
            total: bytes since the start.
            now: monotonic seconds.
        """
        seen = self._seen
        seen.append((now, total))
        while len(seen) > 2 and now - seen[1][0] >= WINDOW:
            seen.popleft()
        began, before = seen[0]
        return max(0, total - before) * 8 / (now - began) if now > began else 0.0
