//! A client's stream and a peer's connection as one (RFC 6062).
//!
//! Rules of the house
//! 1.  A direction reads on when all that it has read is with the kernel: one read waits in a pipe
//!     each way, all else with whom it comes from. That is the back pressure, and the bound.
//! 2.  What finds no room in the token buckets waits; nothing is dropped.
//! 3.  A side's end is passed on behind its last byte. The other direction goes on until it ends as
//!     well, fails, or is silent for too long.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use super::backlog::{Backlog, uninterrupted};
use super::{Flush, READ, Scratch, Stream, socket};
use crate::leg::CloseReason;
use crate::rules::bucket::{Purse, spend};
use crate::time::{Nanos, SECOND};

/// Bytes that find room in the token buckets together: less than the shallowest one holds.
const PIECE: usize = 16 << 10;

/// Reads of a direction before others have their turn: media does not wait for bulk.
const READS: usize = 2;

/// Silence after which a pipe ends one side of which has ended.
const LINGER: Nanos = 30 * SECOND;

/// What passed one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// In how many reads.
    pub pieces: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What one side's socket is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// To be read.
    pub read: bool,
    /// To take bytes.
    pub write: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// Read, and not let pass yet.
    held: Vec<u8>,
    /// The source says nothing more.
    ended: bool,
    /// The source's end has been passed on, or nobody is there to hear it.
    done: bool,
    moved: Moved,
}

/// The peer's side, and what is between both.
pub struct Pipe {
    peer: TcpStream,
    backlog: Backlog,
    purses: Vec<Purse>,
    up: Flow,
    down: Flow,
    peer_failed: bool,
    client_failed: bool,
    /// The client's end is to be told when all before it has been sent.
    parting: bool,
    /// Bytes are at hand that no socket tells of.
    more: bool,
    first: Option<CloseReason>,
    moved_at: Nanos,
}

impl Pipe {
    /// A pipe to a connected socket, from a stream that has [`Stream::splice`]d. Call
    /// [`Pipe::run`] at once.
    #[must_use]
    pub fn new(peer: TcpStream, purses: Vec<Purse>, now: Nanos) -> Self {
        socket::tune(&peer, 0);
        Self {
            peer,
            backlog: Backlog::default(),
            purses,
            up: Flow::default(),
            down: Flow::default(),
            peer_failed: false,
            client_failed: false,
            parting: false,
            more: false,
            first: None,
            moved_at: now,
        }
    }

    /// Moves what can be moved, whoever is ready. Returns what passed up and down.
    pub fn run(
        &mut self,
        client: &mut Stream,
        slot: &mut [u8],
        scratch: &mut Scratch,
        now: Nanos,
    ) -> [Moved; 2] {
        self.more = false;
        self.client_failed |= client.writable() == Flush::Failed;
        self.move_up(client, slot, scratch, now);
        self.move_down(client, slot, now);
        self.part(client);
        let ends = self.first.is_none() && self.see_who_ends();
        let moved = [std::mem::take(&mut self.up.moved), std::mem::take(&mut self.down.moved)];
        if ends || moved.iter().any(|moved| moved.bytes > 0) {
            self.moved_at = now;
        }
        moved
    }

    fn see_who_ends(&mut self) -> bool {
        if self.up.ended || self.client_failed {
            self.first = Some(CloseReason::Client);
        } else if self.down.ended || self.peer_failed {
            self.first = Some(CloseReason::Peer);
        }
        self.first.is_some()
    }

    fn move_up(&mut self, client: &mut Stream, slot: &mut [u8], scratch: &mut Scratch, now: Nanos) {
        let (mut reads, mut more) = (0, false);
        loop {
            self.peer_failed |= self.backlog.write_to(&self.peer).is_err();
            if self.peer_failed {
                self.up.give_up();
            }
            if self.up.done || !self.backlog.is_empty() {
                return;
            }
            if !self.up.held.is_empty() {
                let held = std::mem::take(&mut self.up.held);
                if !self.pass(true, &held, client, now) {
                    break;
                }
            } else if self.up.ended {
                self.up.done = true;
                self.peer_failed |= self.peer.shutdown(Shutdown::Write).is_err();
            } else if reads == READS {
                self.more = more;
                return;
            } else {
                reads += 1;
                let progress = client.readable(slot, scratch);
                more = progress.more;
                self.up.ended = progress.end.is_some();
                if progress.filled > 0 {
                    if !self.pass(true, &slot[..progress.filled], client, now) {
                        break;
                    }
                } else if !progress.more && !self.up.ended {
                    return;
                }
            }
        }
        // A part has found room.
        self.peer_failed |= self.backlog.write_to(&self.peer).is_err();
    }

    fn move_down(&mut self, client: &mut Stream, slot: &mut [u8], now: Nanos) {
        let mut reads = 0;
        loop {
            self.client_failed |= client.flush() == Flush::Failed;
            if self.client_failed {
                self.down.give_up();
            }
            if self.down.done || client.unsent() > 0 {
                return;
            }
            if !self.down.held.is_empty() {
                let held = std::mem::take(&mut self.down.held);
                if !self.pass(false, &held, client, now) {
                    break;
                }
            } else if self.down.ended {
                self.down.done = true;
                self.parting = true;
                client.finish();
            } else if reads == READS {
                return; // the socket will tell again
            } else {
                reads += 1;
                match uninterrupted(|| (&self.peer).read(&mut slot[..READ])) {
                    Ok(0) => self.down.ended = true,
                    Ok(filled) => {
                        if !self.pass(false, &slot[..filled], client, now) {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(_) => {
                        self.down.ended = true;
                        self.peer_failed = true;
                    }
                }
            }
        }
        self.client_failed |= client.flush() == Flush::Failed;
    }

    /// Passes on as much as finds room. Returns whether that was all.
    fn pass(&mut self, upward: bool, bytes: &[u8], client: &mut Stream, now: Nanos) -> bool {
        let purses = &mut self.purses;
        let mut passed = 0;
        for piece in bytes.chunks(PIECE) {
            if !purses.is_empty() && !spend(purses, upward, piece.len(), now) {
                break;
            }
            passed += piece.len();
        }
        let flow = if upward { &mut self.up } else { &mut self.down };
        let (passing, held) = bytes.split_at(passed);
        flow.held.extend_from_slice(held);
        if passed > 0 {
            flow.moved.pieces += 1;
            flow.moved.bytes += passed as u64;
            if upward {
                self.backlog.end().extend_from_slice(passing);
            } else {
                client.queue_bytes(passing);
            }
        }
        held.is_empty()
    }

    fn part(&mut self, client: &mut Stream) {
        if self.parting && client.unsent() == 0 {
            self.parting = false;
            self.client_failed |= client.end_writing().is_err();
        }
    }

    /// What the client's socket is waited for, and the peer's.
    #[must_use]
    pub fn wants(&self, client: &Stream) -> [Wants; 2] {
        let unsent = client.unsent() > 0 && !self.client_failed;
        let waits = !self.backlog.is_empty() && !self.peer_failed;
        [
            Wants { read: self.up.reads() && !waits, write: unsent },
            Wants { read: self.down.reads() && !unsent, write: waits },
        ]
    }

    /// Looks at the sockets of which nothing is wanted, and which therefore nobody watches. Returns
    /// whether one was reset: it is to be run then.
    pub fn look(&mut self, client: &Stream) -> bool {
        let [client_rests, peer_rests] = self.wants(client).map(|wants| wants == Wants::default());
        let failed = (self.client_failed, self.peer_failed);
        self.client_failed |= client_rests && was_reset(&client.socket);
        self.peer_failed |= peer_rests && was_reset(&self.peer);
        failed != (self.client_failed, self.peer_failed)
    }

    /// Whether to run it again at once, although no socket is ready.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Whether token buckets hold it up: to be run again in a while.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        !(self.up.held.is_empty() && self.down.held.is_empty())
    }

    /// Why it is to be closed, once both directions have come to their end.
    #[must_use]
    pub fn over(&self, client: &Stream) -> Option<CloseReason> {
        let unsent = client.unsent() > 0 && !self.client_failed;
        let waits = !self.backlog.is_empty() && !self.peer_failed;
        if self.up.done && self.down.done && !unsent && !waits { self.first } else { None }
    }

    /// Why it is to be closed by now: one side has ended, and the other one says nothing.
    #[must_use]
    pub fn overdue(&self, now: Nanos) -> Option<CloseReason> {
        self.first.filter(|_| now >= self.moved_at.saturating_add(LINGER))
    }

    /// Sends the peer what its socket still takes, before the pipe is dropped.
    pub fn farewell(&mut self) {
        socket::part(&self.peer, &mut self.backlog);
    }
}

fn was_reset(socket: &TcpStream) -> bool {
    socket.take_error().is_ok_and(|error| error.is_some())
}

impl AsFd for Pipe {
    /// The peer's socket.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.peer.as_fd()
    }
}

impl Flow {
    fn reads(&self) -> bool {
        !(self.ended || self.done) && self.held.is_empty()
    }

    fn give_up(&mut self) {
        self.held = Vec::new();
        self.done = true;
    }
}

/// What a stream is to a pipe.
impl Stream {
    /// Whether a ConnectionBind request waits for its answer: until then it is not to be read.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.framer.is_held()
    }

    /// The ConnectionBind request was refused: goes on with what followed it.
    pub fn resume(&mut self) {
        self.framer.release();
    }

    /// Leaves framing: what is read and queued from now on are bytes. The answer comes first.
    pub fn splice(&mut self, answer: &[u8]) {
        self.framer.release();
        self.appetite = READ;
        self.queue_bytes(answer);
    }

    pub(super) fn queue_bytes(&mut self, bytes: &[u8]) {
        if let Some(end) = self.sink() {
            end.extend_from_slice(bytes);
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.waiting()
    }

    /// Nothing more comes for the client: TLS says so, as the last that it sends.
    fn finish(&mut self) {
        if let Some(session) = &mut self.session {
            session.close(self.backlog.end());
        }
    }

    fn end_writing(&self) -> std::io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}
