"""One epoll behind one descriptor of the event loop, and the wake-up for what it brought.

One event loop watches the epoll alone; thousands of relays cost the loop nothing, and a packet
never meets an asyncio handle, which would cost more than relaying it does.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnd.engine.handup import HandUp

READY_AT_ONCE = 64
"""Sources that one look into the epoll brings at most."""

READY_A_RUN = 128
"""Sources that are called before the event loop has its turn, about: with a batch of 32 packets
each it is some 25 ms late at worst."""

ROUNDS = 8


class Source(Protocol):
    """What stands behind a descriptor."""

    def ready(self, mask: int, now: float) -> None:
        """The descriptor is ready for what the mask says; handle a bounded batch."""
        ...


class Pump:
    """Calls what is ready, in the event loop's thread."""

    def __init__(
        self, clock: Callable[[], float], hand_up: HandUp, after_round: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._hand_up = hand_up
        self._after_round = after_round
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: Callable[[], None] | None = None
        self._wake_planned = False

    def start(self, wake: Callable[[], None]) -> None:
        """Begin, in the running loop."""
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._ready)
        self.plan_wake()

    def stop(self) -> None:
        """Watch nothing more. `wake` is not called any more."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
        self._loop = self._wake = None
        self._epoll.close()

    def watch(self, descriptor: int, source: Source, mask: int = select.EPOLLIN) -> None:
        """Call the source whenever its descriptor is ready: to be read, unless said otherwise."""
        self._sources[descriptor] = source
        self._epoll.register(descriptor, mask)

    def watch_for(self, descriptor: int, source: Source, mask: int) -> None:
        """Call the source for what the mask says from now on; for nothing at all where it is 0."""
        if not mask:
            self.forget(descriptor)
        elif descriptor in self._sources:
            self.want(descriptor, mask)
        else:
            self.watch(descriptor, source, mask)

    def want(self, descriptor: int, mask: int) -> None:
        """What to call it for from now on. That the descriptor has failed is told anyhow."""
        self._epoll.modify(descriptor, mask)

    def run_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call something in a while, if the pump runs."""
        if self._loop is not None:
            self._loop.call_later(seconds, callback)

    def watches(self, descriptor: int) -> bool:
        """Whether a source stands behind the descriptor."""
        return descriptor in self._sources

    def forget(self, descriptor: int) -> None:
        """Never call it again. To be called before the descriptor is closed."""
        if self._sources.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def plan_wake(self) -> None:
        """Wake in the loop's next turn: a verb that is being called must not call back."""
        if self._loop is not None and not self._wake_planned and len(self._hand_up):
            self._wake_planned = True
            self._loop.call_soon(self._planned_wake)

    def _planned_wake(self) -> None:
        self._wake_planned = False
        if len(self._hand_up) and self._wake is not None:
            self._wake()

    def _ready(self) -> None:
        """One run: look into the epoll until nothing is ready, a bounded number of times."""
        sources = self._sources
        now = self._clock()
        called = 0
        for _ in range(ROUNDS):
            ready = self._epoll.poll(0, READY_AT_ONCE)
            if not ready:
                break
            for descriptor, mask in ready:
                # A source may have closed another one of this round.
                source = sources.get(descriptor)
                if source is not None:
                    source.ready(mask, now)
            self._after_round()
            called += len(ready)
            if called >= READY_A_RUN:
                break
        if len(self._hand_up) and self._wake is not None:
            self._wake()
