//! One client's connection, by TCP or TLS: framing in, a bounded backlog out, rustls in between or
//! not.
//!
//! Rules of the house
//! 1.  A stream never waits and never asks for the time: its worker calls it when the socket is
//!     ready, and does one bounded read a call.
//! 2.  A read takes as much as lately held [`MESSAGES`] messages: who sends thousands of tiny ones
//!     has them handled over many turns, in which others are served as well.
//! 3.  What is received goes into the worker's slot, behind what the last read had left of a frame
//!     that it cut; frames are ranges of that slot. An idle stream holds no buffer.
//! 4.  What is sent collects in one backlog and leaves by one write a turn ([`Stream::flush`]);
//!     with TLS it is encrypted then, so that the packets of a turn share their records.
//! 5.  At the bound the newest media is dropped, whole: a frame is never cut. Answers to requests
//!     have a reserve of their own beyond it, so that a client whose media is stuck can still
//!     refresh.
//! 6.  A stream that fails while it is written to says so at the next `flush`, not under the feet
//!     of whoever was writing.
//!
//! An idle stream costs 250 bytes beside the kernel's socket by TCP, and 4.5 KiB by TLS, most of it
//! keys. During a handshake it is the client's hello and our flight, some 3 KiB.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use self::backlog::{Backlog, uninterrupted};
use self::session::{Received, Session};
use self::tls::TlsConfig;
use crate::leg::CloseReason;
use crate::time::Nanos;
use crate::wire::data::padding;
use crate::wire::framing::{Framer, LARGEST_FRAME, LostBorders};

mod backlog;
pub mod pipe;
mod session;
mod socket;
pub mod tls;

#[cfg(test)]
mod tests;

/// Bytes beyond the backlog's bound that only answers to requests may fill.
pub const ANSWER_RESERVE: usize = 64 << 10;

/// Bytes that one call of [`Stream::readable`] takes from the socket at most.
const READ: usize = 64 << 10;

/// Bytes that it takes at first.
const FIRST_READ: usize = 4 << 10;

/// Messages that one read is to bring, about.
const MESSAGES: usize = 128;

/// Bytes that it takes from whoever sends the tiniest messages, of four bytes.
const LEAST_READ: usize = MESSAGES * 4;

/// What holds for all streams of a listener.
#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    /// Bytes that wait for a slow client at most; beyond, its newest media is dropped.
    pub backlog: usize,
    /// From the connection's begin to the handshake's end.
    pub handshake_timeout: Nanos,
    /// From a frame's first byte to its last.
    pub frame_timeout: Nanos,
}

/// Where TLS records are put while they are decrypted; one for all streams of a worker.
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; session::LARGEST_CUT + READ].into())
    }
}

/// What came of a call of [`Stream::readable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the slot that hold frames, the beginning of a cut one included.
    pub filled: usize,
    /// Bytes that were read from the socket.
    pub read: usize,
    /// The stream has become ready by this call: TCP at the first, TLS after the handshake.
    pub opened: bool,
    /// Call again before waiting for the socket.
    pub more: bool,
    /// There is something to send: call [`Stream::flush`] at the end of the turn.
    pub flush: bool,
    /// The stream is to be closed, after the frames have been handled.
    pub end: Option<CloseReason>,
}

/// What came of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flush {
    /// Nothing waits.
    Done,
    /// The socket takes no more: call [`Stream::writable`] when it does.
    Waits,
    /// The connection is gone, and to be closed as the client's doing.
    Failed,
}

/// Not queued: more waits than the bound allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// One connected client.
pub struct Stream {
    socket: TcpStream,
    framer: Framer,
    backlog: Backlog,
    /// None for TCP.
    session: Option<Box<Session>>,
    /// Bytes for frames that have not been given out: they come before what the socket has.
    arrived: Vec<u8>,
    end: Option<CloseReason>,
    bound: usize,
    /// Bytes that are read at once.
    appetite: usize,
    opened: bool,
    waits: bool,
    failed: bool,
}

impl Stream {
    /// A connection without TLS. `first_bytes` were read from the socket before it was ours.
    ///
    /// Whatever stream socket it is, it must not block. Call [`Stream::readable`] at once.
    #[must_use]
    pub fn tcp(socket: TcpStream, settings: &StreamSettings, first_bytes: &[u8]) -> Self {
        socket::tune(&socket, settings.backlog);
        Self {
            socket,
            framer: Framer::new(settings.frame_timeout),
            backlog: Backlog::default(),
            session: None,
            arrived: first_bytes.to_vec(),
            end: None,
            bound: settings.backlog,
            appetite: FIRST_READ,
            opened: false,
            waits: false,
            failed: false,
        }
    }

    /// A connection by TLS, as [`Stream::tcp`]; `first_bytes` belong to the handshake.
    #[must_use]
    pub fn tls(
        socket: TcpStream,
        settings: &StreamSettings,
        config: &Arc<TlsConfig>,
        first_bytes: &[u8],
        now: Nanos,
    ) -> Self {
        let deadline = now.saturating_add(settings.handshake_timeout);
        let session = Session::new(Arc::clone(config), first_bytes, deadline);
        Self { session: Some(Box::new(session)), ..Self::tcp(socket, settings, &[]) }
    }

    /// The client has, or had, a relay: its frames may hold media from now on.
    pub fn expect_media(&mut self) {
        self.framer.expect_media();
    }

    /// Whether the stream is ready. Until then a call of [`Stream::readable`] may cost a signature,
    /// which with an RSA key takes longer than a thousand packets: who serves others beside makes
    /// few such calls a turn.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened
    }

    /// Whom a client by TLS asked for (SNI): lower case, without a final dot. Told once, when the
    /// stream has become ready.
    pub fn take_server_name(&mut self) -> Option<Box<str>> {
        self.session.as_mut()?.take_server_name()
    }

    /// Why the stream is to be closed by now, if it is.
    #[must_use]
    pub fn overdue(&self, now: Nanos) -> Option<CloseReason> {
        if self.opened {
            return self.framer.is_overdue(now).then_some(CloseReason::FrameTimeout);
        }
        let late = self.session.as_ref().is_some_and(|session| now >= session.deadline());
        late.then_some(CloseReason::HandshakeTimeout)
    }
}

/// Towards us.
impl Stream {
    /// Reads once, into a slot of more than [`LARGEST_FRAME`] bytes.
    ///
    /// Afterwards take out the frames by [`Stream::next_frame`] and, unless it has failed, call
    /// [`Stream::keep_rest`]. [`Stream::learn`] says how many they were.
    pub fn readable(&mut self, slot: &mut [u8], scratch: &mut Scratch) -> Progress {
        debug_assert!(slot.len() > LARGEST_FRAME);
        let kept = self.framer.resume(slot);
        let was_open = self.opened;
        let room = &mut slot[kept..];
        let mut taken = Taken::default();
        if self.arrived.is_empty() && self.end.is_none() {
            taken = match self.session.take() {
                None => self.read_frames(room),
                Some(mut session) => {
                    let taken = self.read_records(&mut session, room, scratch);
                    self.session = Some(session);
                    taken
                }
            };
        } else {
            self.opened |= self.session.is_none();
            taken.filled = self.give_arrived(room);
            taken.more = self.end.is_none();
        }
        let waiting = !self.arrived.is_empty();
        Progress {
            filled: kept + taken.filled,
            read: taken.read,
            opened: self.opened && !was_open,
            more: taken.more || waiting,
            flush: self.failed || (!self.waits && !self.backlog.is_empty()),
            end: if waiting { None } else { self.end },
        }
    }

    fn give_arrived(&mut self, room: &mut [u8]) -> usize {
        let given = self.arrived.len().min(room.len());
        room[..given].copy_from_slice(&self.arrived[..given]);
        if given == self.arrived.len() {
            self.arrived = Vec::new();
        } else {
            self.arrived.drain(..given);
        }
        given
    }

    fn read_frames(&mut self, room: &mut [u8]) -> Taken {
        self.opened = true;
        let wanted = room.len().min(self.appetite);
        let read = self.read(&mut room[..wanted]);
        Taken { filled: read, read, more: read == wanted }
    }

    fn read_records(
        &mut self,
        session: &mut Session,
        room: &mut [u8],
        Scratch(scratch): &mut Scratch,
    ) -> Taken {
        let begun = session.resume(scratch);
        // A record is longer than its plaintext, so that of what is read now all will fit; the
        // end of a record that began before may not.
        let wanted = room.len().min(self.appetite);
        let read = self.read(&mut scratch[begun..begun + wanted]);
        let mut received = Received { room, filled: 0, beyond: &mut self.arrived };
        let result = session.take(&mut scratch[..begun + read], &mut self.backlog, &mut received);
        let filled = received.filled;
        let opened = self.opened || !session.is_handshaking();
        match result {
            Ok(false) => {}
            Ok(true) => self.end = self.end.or(Some(CloseReason::Client)),
            Err(session::Broken) if opened => self.end = Some(CloseReason::Garbage),
            Err(session::Broken) => self.end = Some(CloseReason::HandshakeFailed),
        }
        self.opened = opened;
        Taken { filled, read, more: read == wanted && self.end.is_none() }
    }

    /// Reads what there is now; the connection's end is remembered.
    fn read(&mut self, room: &mut [u8]) -> usize {
        match uninterrupted(|| (&self.socket).read(room)) {
            Ok(read) if read > 0 => return read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(_) => self.end = Some(CloseReason::Client),
            Err(_) => {
                self.end = Some(CloseReason::Client);
                self.failed = true;
            }
        }
        0
    }

    /// The next whole frame of `filled_untrusted`, the slot as far as it is filled: STUN whole,
    /// ChannelData with its header and without its padding.
    ///
    /// # Errors
    /// The stream has lost its borders and is to be closed as garbage.
    #[inline]
    pub fn next_frame(
        &mut self,
        filled_untrusted: &[u8],
        at: &mut usize,
    ) -> Result<Option<Range<usize>>, LostBorders> {
        self.framer.next_frame_untrusted(filled_untrusted, at)
    }

    /// Learns from a read that brought so many messages how much to read at once. None tell nothing:
    /// a part of a record, or of a long message.
    pub fn learn(&mut self, messages: usize) {
        if messages > MESSAGES {
            self.appetite = (self.appetite * MESSAGES / messages).max(LEAST_READ);
        } else if (1..=MESSAGES / 2).contains(&messages) {
            self.appetite = (2 * self.appetite).min(READ);
        }
    }

    /// Keeps what follows the last whole frame, when there is no further one; `filled` and `at` are
    /// those of [`Stream::next_frame`]. A frame's deadline starts and ends here.
    pub fn keep_rest(&mut self, filled: &[u8], at: usize, now: Nanos) {
        if self.framer.is_held() {
            self.arrived.splice(..0, filled[at..].iter().copied());
            self.framer.hold(now);
        } else {
            self.framer.keep(filled, at, now);
        }
    }
}

/// What one read has brought.
#[derive(Default)]
struct Taken {
    filled: usize,
    read: usize,
    more: bool,
}

/// Towards the client.
impl Stream {
    /// Queues a frame in pieces, padded to four bytes, for the end of the turn.
    ///
    /// # Errors
    /// More waits than the bound allows: the frame is dropped.
    pub fn queue_media(&mut self, pieces: &[&[u8]]) -> Result<(), Full> {
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.waiting() + size > self.bound {
            if !self.waits {
                // The bound is about what waits for the client, not about one turn.
                let _told_at_the_end_of_the_turn = self.flush();
            }
            if self.waiting() + size > self.bound {
                return Err(Full);
            }
        }
        self.queue(pieces, size);
        Ok(())
    }

    /// Queues an answer to a request.
    ///
    /// # Errors
    /// More waits than bound and reserve allow.
    pub fn queue_answer(&mut self, message: &[u8]) -> Result<(), Full> {
        if self.waiting() + message.len() > self.bound + ANSWER_RESERVE {
            return Err(Full);
        }
        self.queue(&[message], message.len());
        Ok(())
    }

    fn queue(&mut self, pieces: &[&[u8]], size: usize) {
        let Some(end) = self.sink() else { return };
        end.reserve(size + 3);
        for piece in pieces {
            end.extend_from_slice(piece);
        }
        end.extend_from_slice(&[0; 3][..padding(size)]);
    }

    /// Where what is to be sent is appended.
    fn sink(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.session {
            None => Some(self.backlog.end()),
            Some(session) if self.opened => Some(session.plaintext()),
            Some(_) => {
                self.failed = true; // there is nobody yet whom it could be meant for
                None
            }
        }
    }

    fn waiting(&self) -> usize {
        self.backlog.len() + self.session.as_ref().map_or(0, |session| session.unsent())
    }

    /// Sends what waits, unless the socket is known to take nothing.
    pub fn flush(&mut self) -> Flush {
        if self.failed {
            return Flush::Failed;
        }
        if self.waits {
            return Flush::Waits;
        }
        let flush = self.write();
        self.waits = flush == Flush::Waits;
        self.failed = flush == Flush::Failed;
        flush
    }

    /// The socket takes something again: goes on sending.
    pub fn writable(&mut self) -> Flush {
        self.waits = false;
        self.flush()
    }

    fn write(&mut self) -> Flush {
        loop {
            match self.backlog.write_to(&self.socket) {
                Ok(true) => {}
                Ok(false) => return Flush::Waits,
                Err(_) => return Flush::Failed,
            }
            let Some(session) = &mut self.session else { return Flush::Done };
            match session.encrypt(self.backlog.end()) {
                Ok(true) => {}
                Ok(false) => return Flush::Done,
                Err(session::Broken) => return Flush::Failed,
            }
        }
    }

    /// Sends what the socket still takes, as good manners before the stream is dropped.
    pub fn farewell(&mut self) {
        let _what_is_left_is_lost = self.writable();
        if let Some(session) = &mut self.session
            && self.opened
        {
            session.close(self.backlog.end());
        }
        socket::part(&self.socket, &mut self.backlog);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
