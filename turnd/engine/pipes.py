"""The portable engine's pipes: a client's stream and a peer's connection as one (RFC 6062).

Rules of the house
    1.  A direction reads on when all that it has read is with the kernel: one piece waits in a
        pipe each way, all else with whom it comes from. That is the back pressure, and the bound.
    2.  A piece that finds no room in its token buckets waits; nothing is dropped.
    3.  A side's end is passed on behind its last byte. The other direction goes on until it ends
        as well, fails, or is silent for too long.
    4.  A socket of which nothing is wanted is not watched at all: epoll would tell of its end again
        and again. Whether it was reset is asked once in a while.
"""

from __future__ import annotations

import select
import socket
import ssl
from typing import TYPE_CHECKING

from turnd.engine.base import SPLICE_LINGER, CloseReason, RelayCounters
from turnd.engine.buckets import Direction, admit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from turnd.engine.base import Leg
    from turnd.engine.buckets import Bucket
    from turnd.engine.tls import TlsSession

PIECE = 16 << 10
"""Bytes read and passed on at once: less than the shallowest token bucket holds."""

PIECES = 8
"""Pieces that a direction moves before others have their turn."""

_RECORDS = 128 << 10
"""Bytes that may wait for a side beside what did at first: TLS has something to say of its own."""


class End:
    """One side: its socket, TLS in front of it or not, and what waits for it."""

    __slots__ = (
        "_arrived",
        "_closed",
        "_ending",
        "_most_unsent",
        "_tls",
        "ended",
        "failed",
        "sock",
        "unsent",
    )

    def __init__(
        self,
        sock: socket.socket,
        tls: TlsSession | None = None,
        unsent: bytes | bytearray = b"",
        arrived: bytes = b"",
        *,
        ended: bool = False,
    ) -> None:
        """`unsent` is to be written as it is; `arrived` was read already, all where it `ended`."""
        self.sock = sock
        self.ended = False
        """It sends no more."""
        self.failed = False
        """Nothing reaches it any more."""
        self.unsent = bytearray(unsent)
        self._tls = tls
        self._arrived = arrived
        self._most_unsent = len(unsent) + _RECORDS
        self._closed = ended
        self._ending = False

    @property
    def holds_more(self) -> bool:
        """Whether bytes are at hand that no socket tells of."""
        return bool(self._arrived)

    def read(self) -> bytes:
        """What it has sent, as far as it is there; empty: nothing is, or `ended`."""
        if not (self._arrived or self._closed):
            self._receive()
        piece, self._arrived = self._arrived[:PIECE], self._arrived[PIECE:]
        self.ended = self._closed and not piece
        return piece

    def _receive(self) -> None:
        try:
            data_untrusted = self.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._closed = self.failed = True
            return
        if not data_untrusted:
            self._closed = True
        elif self._tls is None:
            self._arrived = data_untrusted
        else:
            self._arrived = self._decrypt(self._tls, data_untrusted)

    def _decrypt(self, tls: TlsSession, data_untrusted: bytes) -> bytes:
        tls.feed(data_untrusted)
        try:
            plain, self._closed = tls.read()
        except ssl.SSLError:
            plain = b""
            self._closed = self.failed = True
        self.unsent += tls.outgoing()
        if len(self.unsent) > self._most_unsent:
            self._closed = self.failed = True  # it asks for new keys (RFC 8446 4.6.3), reads none
        return plain

    def was_reset(self) -> bool:
        """Whether it has failed since it was watched."""
        if self.failed:
            return False
        self.failed = bool(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return self.failed

    def queue(self, data: bytes) -> None:
        """Add to what waits for it."""
        if self.failed:
            return
        if self._tls is None:
            self.unsent += data
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self.failed = True
        self.unsent += self._tls.outgoing()

    def write(self) -> None:
        """Send what the socket takes; its end behind the last byte."""
        if self.failed:
            self.unsent.clear()
            return
        try:
            if self.unsent:
                del self.unsent[: self.sock.send(self.unsent)]
            if self._ending and not self.unsent:
                self._ending = False
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self.failed = True
            self.unsent.clear()

    def finish(self) -> None:
        """Nothing more comes for it."""
        if self._tls is not None and not self.failed:
            self._tls.close()
            self.unsent += self._tls.outgoing()
        self._ending = True
        self.write()


class Flow:
    """One direction."""

    __slots__ = ("_direction", "done", "held", "sink", "source")

    def __init__(self, source: End, sink: End, direction: Direction) -> None:
        self.source = source
        self.sink = sink
        self.held = b""
        """Read, and not let pass by the token buckets yet."""
        self.done = False
        """The source's end has been passed on, or the sink is gone."""
        self._direction = direction

    def move(self, buckets: Sequence[Bucket], now: float) -> list[int]:
        """Move what there is; the sizes of the pieces."""
        moved: list[int] = []
        self.sink.write()
        while not (self.done or self.sink.unsent):
            if len(moved) >= PIECES and not self.source.holds_more:
                break
            if self.sink.failed:
                self.done = True
                break
            self.held = self.held or self.source.read()
            if not self.held:
                if self.source.ended:
                    self.done = True
                    self.sink.finish()
                break
            if not admit(buckets, self._direction, len(self.held), now):
                break
            moved.append(len(self.held))
            self.sink.queue(self.held)
            self.held = b""
            self.sink.write()
        return moved

    @property
    def wants(self) -> bool:
        """Whether to be told when the source has something."""
        return not (self.done or self.held or self.sink.unsent)


def _wanted(flow: Flow, end: End) -> tuple[End, int]:
    return end, select.EPOLLIN * flow.wants | select.EPOLLOUT * bool(end.unsent)


class Pipe:
    """A client's stream and a peer's connection. `run` when either is ready, or time has passed."""

    def __init__(
        self,
        leg: Leg,
        ends: tuple[End, End],
        buckets: Sequence[Bucket],
        settled: Callable[[Pipe], None],
        now: float,
    ) -> None:
        """`ends`: the client's and the peer's; `settled` is called whenever it has run."""
        self.leg = leg
        self.client, self.peer = ends
        self.counters = RelayCounters()
        self.reason: CloseReason | None = None
        """Who ended first, once one has."""
        self._up = Flow(self.client, self.peer, Direction.FROM_CLIENT)
        self._down = Flow(self.peer, self.client, Direction.TO_CLIENT)
        self._buckets = buckets
        self._settled = settled
        self._moved_at = now

    def ready(self, mask: int, now: float) -> None:
        """One of the sockets is ready, for whatever it is."""
        del mask
        self.run(now)

    def run(self, now: float) -> None:
        """Move what can be moved, and say what is waited for."""
        up = self._up.move(self._buckets, now)
        down = self._down.move(self._buckets, now)
        self._client_wrote_while_reading()
        self.counters.packets_from_client += len(up)
        self.counters.bytes_from_client += sum(up)
        self.counters.packets_to_client += len(down)
        self.counters.bytes_to_client += sum(down)
        ends = self.reason is None and self._see_who_ends()
        if up or down or ends:
            self._moved_at = now
        self._settled(self)

    def look(self, now: float) -> None:
        """Notice what happened to a socket that is not watched."""
        if any(end.was_reset() for end, mask in self.wanted() if not mask):
            self.run(now)

    def _see_who_ends(self) -> bool:
        if self.client.ended or self.client.failed:
            self.reason = CloseReason.CLIENT
        elif self.peer.ended or self.peer.failed:
            self.reason = CloseReason.PEER
        return self.reason is not None

    def wanted(self) -> tuple[tuple[End, int], tuple[End, int]]:
        """What epoll is to tell of each end."""
        return _wanted(self._up, self.client), _wanted(self._down, self.peer)

    def _client_wrote_while_reading(self) -> None:
        """TLS may have something to say of its own (RFC 8446 section 4.6.3)."""
        if self.client.unsent:
            self.client.write()

    @property
    def is_over(self) -> bool:
        """Whether both directions have come to their end, and all is sent."""
        unsent = self.client.unsent or self.peer.unsent
        return self._up.done and self._down.done and not unsent

    @property
    def waits_for_room(self) -> bool:
        """Whether a token bucket holds it up: to be run again in a while."""
        held = self._up.held or self._down.held
        return bool(held)

    def is_overdue(self, now: float) -> bool:
        """Whether one side has ended and the other has been silent for too long."""
        return self.reason is not None and now >= self._moved_at + SPLICE_LINGER

    def close(self) -> None:
        """Close both sockets, after what they still take."""
        for end in (self.client, self.peer):
            end.finish()
            end.sock.close()
