"""The portable engine's streams: framing in, a bounded backlog out, TLS in between or not.

Rules of the house
    1.  What is sent collects in one backlog and leaves by one write a batch; EPOLLOUT is asked for
        only while the socket does not take it all.
    2.  At the bound the newest media is dropped, whole: a frame is never cut. Answers to requests
        have a reserve of their own beyond it, so that a client whose media is stuck can still
        refresh.
    3.  A stream that fails while it is written to is closed at the end of the batch, not under the
        feet of whoever was writing.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.engine.ancillary import fields_of_stream
from turnd.engine.base import ClientMessage, CloseReason, Leg, LegOpened, Transport
from turnd.engine.fields import SYSTEM, Fields
from turnd.engine.frames import FrameReader, refuses_bind
from turnd.engine.pipes import End
from turnd.engine.tls import TlsSession
from turnd.stun.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turnd.engine.base import ListenerSettings
    from turnd.engine.forwarding import Forwarder
    from turnd.engine.handup import HandUp
    from turnd.engine.rules import Client

CHUNK = 65_536
"""Bytes read at once: the bound of what one stream may take of a batch."""

FIRST_CHUNK = 4_096
"""Bytes read at first; then as many as lately held `MESSAGES`."""

MESSAGES = 32
"""Messages that one read is to bring, about: as many as a socket of datagrams gives at once."""

LEAST_CHUNK = MESSAGES * 4
"""Bytes read at once of whoever sends the tiniest messages, of four bytes."""

ANSWER_RESERVE = 64 << 10
"""Bytes beyond `stream_backlog` that only answers to requests may fill."""

_FAILED = select.EPOLLERR | select.EPOLLHUP

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

# Dead connections end in about two minutes instead of never; living ones notice nothing.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


@dataclass(frozen=True, slots=True)
class StreamDoors:
    """What a stream needs of the engine that keeps it."""

    forwarder: Forwarder
    hand_up: HandUp
    unflushed: set[Stream]
    """Streams with bytes to send or a failure to see to, when the batch is over."""
    want: Callable[[Stream, int], None]
    """What to ask epoll for: bytes, room in the socket's buffer."""
    end: Callable[[Stream, CloseReason], None]
    """Close the stream and all that hangs on it."""
    clock: Callable[[], float]


class Stream:
    """One connected client, by TCP or TLS."""

    __slots__ = (
        "_appetite",
        "_backlog",
        "_bound",
        "_doors",
        "_ended",
        "_failed",
        "_frames",
        "_handshake_deadline",
        "_onward",
        "_tls",
        "_waits",
        "client",
        "leg",
        "sock",
    )

    def __init__(
        self,
        sock: socket.socket,
        leg: Leg,
        settings: ListenerSettings,
        doors: StreamDoors,
        now: float,
    ) -> None:
        self.sock = sock
        self.leg = leg
        self.client: Client | None = None
        self._doors = doors
        self._appetite = FIRST_CHUNK
        """Bytes to read at once."""
        self._bound = settings.stream_backlog
        self._backlog = bytearray()
        self._waits = False
        self._failed = False
        self._ended = False
        """TLS has said that nothing more comes; what came before waits."""
        self._frames = FrameReader(settings.frame_timeout)
        self._tls: TlsSession | None = None
        self._handshake_deadline: float | None = None
        if leg.transport is Transport.TLS and settings.tls is not None:
            self._tls = TlsSession(settings.tls.context)
            self._handshake_deadline = now + settings.handshake_timeout
        self._onward = fields_of_stream(sock)
        tune(sock, self._bound)

    def serve(self, client: Client) -> None:
        """The client has a relay: its frames may hold media from now on."""
        self.client = client
        self._frames.expect_media()

    def overdue(self, now: float) -> CloseReason | None:
        """Why the stream is to be closed by now, if it is."""
        if self._handshake_deadline is not None:
            late = now >= self._handshake_deadline
            return CloseReason.HANDSHAKE_TIMEOUT if late else None
        return CloseReason.FRAME_TIMEOUT if self._frames.is_overdue(now) else None

    # ---------------------------------------------------------------- towards us

    def ready(self, mask: int, now: float) -> None:
        """Send what waits, read what has arrived, a bounded part of it."""
        if mask & select.EPOLLOUT:
            self._write()
        if self._frames.is_held:
            if mask & _FAILED:
                self._doors.end(self, CloseReason.CLIENT)
        elif mask & ~select.EPOLLOUT:
            try:
                data = self.sock.recv(self._appetite)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self.take(data, now)
            else:
                self._doors.end(self, CloseReason.CLIENT)

    def open(self, first_bytes: bytes, now: float) -> None:
        """Begin: `first_bytes` were read from the socket before it was ours."""
        if self._tls is None:
            self._doors.hand_up.add(LegOpened(self.leg), preferred=True)
        if first_bytes:
            self.take(first_bytes, now)

    def take(self, data_untrusted: bytes, now: float) -> None:
        """Handle bytes from the socket."""
        if self._tls is None:
            self._take_frames(data_untrusted, now)
        else:
            self._take_records(self._tls, data_untrusted, now)

    def _take_frames(self, data_untrusted: bytes, now: float) -> None:
        self._forward(self._frames.read(data_untrusted, now), now)

    def _forward(self, frames: Iterator[bytes], now: float) -> None:
        forward = self._doors.forwarder.from_client
        messages = 0
        try:
            for frame in frames:
                messages += 1
                if not forward(self.client, frame, now, self._onward):
                    message = ClientMessage(self.leg, frame)
                    self._doors.hand_up.add(message, preferred=self.client is not None)
        except DecodeError:
            self._doors.end(self, CloseReason.GARBAGE)
            return
        self._learn(messages)
        if self._frames.is_held:
            self._want()

    def _learn(self, messages: int) -> None:
        """A read has brought so many: whoever sends thousands of tiny ones waits for others.

        None tells nothing: a part of a record, or of a long message.
        """
        if messages > MESSAGES:
            self._appetite = max(self._appetite * MESSAGES // messages, LEAST_CHUNK)
        elif 0 < messages <= MESSAGES // 2:
            self._appetite = min(2 * self._appetite, CHUNK)

    def _take_records(self, tls: TlsSession, data_untrusted: bytes, now: float) -> None:
        tls.feed(data_untrusted)
        try:
            if self._handshake_deadline is not None:
                complete = tls.handshake()
                self._send_records(tls)
                if not complete:
                    return
                self._handshake_deadline = None
                opened = LegOpened(self.leg, tls.server_name)
                self._doors.hand_up.add(opened, preferred=True)
            plain, ended = tls.read()
        except ssl.SSLError:
            self._send_records(tls)  # the alert that says why
            failed = self._handshake_deadline is not None
            reason = CloseReason.HANDSHAKE_FAILED if failed else CloseReason.GARBAGE
            self._doors.end(self, reason)
            return
        self._send_records(tls)
        self._ended = ended
        self._take_frames(plain, now)
        self._see_end()

    def _see_end(self) -> None:
        if self._ended and not self._frames.is_held:
            self._doors.end(self, CloseReason.CLIENT)

    # ---------------------------------------------------------------- towards the client

    def transmit(self, frame: bytes, _address: object, _fields: Fields = SYSTEM) -> None:
        """Queue media for the end of the batch.

        Raises:
            BlockingIOError: more waits than the bound allows.
        """
        if len(self._backlog) + len(frame) > self._bound:
            if not self._waits:
                self._write()
            if len(self._backlog) + len(frame) > self._bound:
                raise BlockingIOError(errno.EAGAIN, "the stream's backlog is full")
        self._queue(frame)
        self._doors.unflushed.add(self)

    def answer(self, message: bytes) -> None:
        """Send an answer now, after what waits already.

        Raises:
            BlockingIOError: more waits than bound and reserve allow.
        """
        if len(self._backlog) + len(message) > self._bound + ANSWER_RESERVE:
            raise BlockingIOError(errno.EAGAIN, "the stream's backlog is full")
        self._queue(message)
        self.flush()
        if self._frames.is_held and refuses_bind(message):
            now = self._doors.clock()
            frames = self._frames.resume(now)
            self._want()
            self._forward(frames, now)
            self._see_end()

    def become_end(self, answer: bytes) -> End:
        """Leave the socket, and what waits in either direction, to a pipe; `answer` comes first."""
        self._queue(answer)
        return End(self.sock, self._tls, self._backlog, self._frames.rest(), ended=self._ended)

    def _queue(self, frame: bytes) -> None:
        padded = frame + _PADDING[len(frame) & 3]
        if self._tls is None:
            self._backlog += padded
            return
        try:
            self._tls.write(padded)
        except ssl.SSLError:
            self._failed = True
        self._backlog += self._tls.outgoing()

    def _send_records(self, tls: TlsSession) -> None:
        records = tls.outgoing()
        if records:
            self._backlog += records
            self._doors.unflushed.add(self)
            if len(self._backlog) > self._bound + 2 * ANSWER_RESERVE:
                self._failed = True  # it has new keys made (RFC 8446 4.6.3) and reads none of them

    def flush(self) -> None:
        """Send what the socket takes; close the stream when sending fails."""
        if not self._waits:
            self._write()
        if self._failed:
            self._doors.end(self, CloseReason.CLIENT)

    def _write(self) -> None:
        if self._failed:
            return
        backlog = self._backlog
        if backlog:
            try:
                sent = self.sock.send(backlog)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._failed = True
                self._doors.unflushed.add(self)
                return
            del backlog[:sent]
        waits = bool(backlog)
        if waits != self._waits:
            self._waits = waits
            self._want()

    def _want(self) -> None:
        mask = 0 if self._frames.is_held else select.EPOLLIN
        self._doors.want(self, mask | select.EPOLLOUT if self._waits else mask)

    def farewell(self) -> None:
        """Send what the socket still takes, as good manners before it is closed."""
        if self._tls is not None and self._handshake_deadline is None:
            self._tls.close()
            self._backlog += self._tls.outgoing()
        try:
            if self._backlog:
                self.sock.send(self._backlog)
            self.sock.shutdown(socket.SHUT_WR)
            # Closing with unread bytes would reset the connection and take our last answer along.
            self.sock.recv(CHUNK)
        except OSError:
            return  # it is gone already, or takes nothing more


def tune(sock: socket.socket, backlog: int) -> None:
    """Keepalive, no delays; `backlog`: bytes that we keep for a slow reader ourselves."""
    try:
        for level, option, value in _KEEPALIVE:
            sock.setsockopt(level, option, value)
        # What the kernel holds back for a slow client is late media: it gets no more than we keep.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, max(backlog, 16_384))
    except OSError:
        return  # the client is gone already; the first read tells
