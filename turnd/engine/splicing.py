"""The portable engine's pipes by leg: what each waits for, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.engine.base import CloseReason, LegClosed
from turnd.engine.pipes import End, Pipe
from turnd.engine.sockaddr import shown_address
from turnd.engine.streams import tune

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from turnd.engine.base import BucketId, Leg, RelayCounters
    from turnd.engine.handup import HandUp
    from turnd.engine.pump import Pump
    from turnd.engine.rules import Rules

LOOK_AGAIN = 0.02
"""Seconds until pipes without room in their token buckets are looked at again."""


class Splicer:
    """All pipes of an engine."""

    def __init__(
        self, pump: Pump, rules: Rules, hand_up: HandUp, clock: Callable[[], float]
    ) -> None:
        self._pump = pump
        self._rules = rules
        self._hand_up = hand_up
        self._clock = clock
        self._pipes: dict[Leg, Pipe] = {}
        self._held_up: set[Pipe] = set()

    def may_lead_to(self, peer: socket.socket) -> bool:
        """Whether a connected socket leads to where clients may get; it is set up as well."""
        try:
            tune(peer, 0)
            address = shown_address(peer.getpeername())
        except OSError:
            return True  # it has ended already; what it sent before is still to be had
        return not self._rules.is_protected(address)

    def join(self, leg: Leg, client: End, peer: socket.socket, buckets: Sequence[BucketId]) -> None:
        """Let bytes pass."""
        peer.setblocking(False)
        ends = (client, End(peer))
        named = self._rules.buckets.named(buckets)
        pipe = self._pipes[leg] = Pipe(leg, ends, named, self._settled, self._clock())
        pipe.run(self._clock())

    def end(self, leg: Leg, reason: CloseReason) -> None:
        """End the pipe of a leg, if it has one."""
        pipe = self._pipes.pop(leg, None)
        if pipe is None:
            return
        self._hand_up.add(LegClosed(leg, reason), preferred=True)
        self._rules.tally.retire(leg, pipe.counters)
        for end in (pipe.client, pipe.peer):
            self._pump.forget(end.sock.fileno())
        pipe.close()

    def stop(self) -> None:
        """End all."""
        for leg in list(self._pipes):
            self.end(leg, CloseReason.SERVER)

    def tick(self, now: float) -> None:
        """End those one side of which has ended, and the other one says nothing."""
        for pipe in list(self._pipes.values()):
            pipe.look(now)
            if pipe.reason is not None and pipe.is_overdue(now):
                self.end(pipe.leg, pipe.reason)

    def counters(self) -> list[tuple[Leg, RelayCounters]]:
        """What has passed through each that is there."""
        return [(pipe.leg, pipe.counters) for pipe in self._pipes.values()]

    def _settled(self, pipe: Pipe) -> None:
        """A pipe has moved what it could: watch for what it waits for."""
        if pipe.is_over:
            self.end(pipe.leg, pipe.reason or CloseReason.CLIENT)
            return
        for end, mask in pipe.wanted():
            self._pump.watch_for(end.sock.fileno(), pipe, mask)
        if pipe.waits_for_room:
            if not self._held_up:
                self._pump.run_later(LOOK_AGAIN, self._look_again)
            self._held_up.add(pipe)

    def _look_again(self) -> None:
        held_up, self._held_up = self._held_up, set()
        now = self._clock()
        for pipe in held_up:
            if self._pipes.get(pipe.leg) is pipe:
                pipe.run(now)
        self._pump.plan_wake()
