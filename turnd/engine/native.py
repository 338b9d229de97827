"""The engine in Rust: worker threads move the packets, and Python hears only of what to decide.

Its verbs are one call each into `turnd._native` (`native/turnd-native`), without a layer in
between; here is what ties it to the event loop. An eventfd is readable while `poll` has events: the
loop watches it like any socket, and a batch that left some behind leaves it readable.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from turnd import _native

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self


class NativeEngine(_native.Engine):
    """See `RelayEngine`, whose verbs these are."""

    name = "native"
    _loop: asyncio.AbstractEventLoop | None = None

    def __new__(
        cls,
        workers: int = 1,
        cpus: Sequence[int] = (),
        io: str = "auto",
        manual_clock: float | None = None,
    ) -> Self:
        """An engine that does not run yet.

        Args:
            workers: threads that move packets.
            cpus: what they are pinned to, in turn; without any they roam.
            io: `epoll`, `uring`, or `auto`: what a probe at the start finds to work here.
            manual_clock: the time in seconds, from now on moved by `set_time` alone.

        Raises:
            OSError: the system does not give what it needs.
        """
        return super().__new__(cls, workers=workers, cpus=cpus, io=io, manual_clock=manual_clock)

    @property
    def details(self) -> Mapping[str, str]:
        """How it works; by what calls of the system is known when it has started."""
        io, workers, _ = self.describe()
        return {"io": io, "workers": str(workers)} if io else {"workers": str(workers)}

    @property
    def faults(self) -> int:
        """Faults of ours that a worker has survived."""
        return self.counters().faults

    @property
    def notes(self) -> Sequence[str]:
        """What an admin should know of how it runs, in words."""
        return self.describe()[2]

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to move packets.

        Raises:
            OSError: no threads or io_urings are to be had.
        """
        self.begin()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.event_fd(), self._turn, wake)

    def _turn(self, wake: Callable[[], None]) -> None:
        """Handle a batch; what it orders and answers leaves together."""
        self.hold()
        try:
            wake()
        finally:
            self.release()

    def stop(self) -> None:
        """Close everything; waits for the workers to end."""
        if self._loop is not None:
            self._loop.remove_reader(self.event_fd())
            self._loop = None
        self.end()
