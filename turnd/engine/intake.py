"""Reads the datagrams of a socket, a bounded batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnd.engine.ancillary import ANCILLARY_SPACE, ControlMessage
from turnd.engine.sockets import LARGEST_DATAGRAM

if TYPE_CHECKING:
    import socket

BATCH = 32

Arrival = tuple[bytes, list[ControlMessage], int, Any]
"""As `recvmsg` gives it: a datagram, untrusted; what is told beside; flags; where it came from."""


class Intake:
    """Of one socket.

    A batch is as many datagrams as the last run found, since a read that finds nothing costs a
    quarter of what it costs to relay one. Who is ready again in the same run (the same `now`) has
    more, and is read twice as many.
    """

    __slots__ = ("_found", "_now", "_receive", "_size")

    def __init__(self, sock: socket.socket) -> None:
        self._receive = sock.recvmsg
        self._size = 1
        self._now = 0.0
        self._found = 0
        """In this run."""

    def batch(self, now: float) -> list[Arrival]:
        """What has arrived. A read that fails is an earlier send's error, nothing more."""
        if now != self._now:
            self._now, self._found = now, 0
        else:
            self._size = min(2 * self._size, BATCH)
        receive = self._receive
        arrivals: list[Arrival] = []
        for _ in range(self._size):
            try:
                arrivals.append(receive(LARGEST_DATAGRAM, ANCILLARY_SPACE))
            except BlockingIOError:
                break
            except OSError:
                continue
        self._found += len(arrivals)
        if len(arrivals) < self._size:
            self._size = max(1, min(self._found, BATCH))
        return arrivals
