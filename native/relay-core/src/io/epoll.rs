//! epoll with recvmmsg and sendmmsg: the way that every kernel has.
//!
//! Rules of the house
//!     1.  A socket gives a bounded batch a turn. Who finds no slots left comes first in the next.
//!     2.  A read that finds nothing costs as much as a packet does: a socket is asked for as many
//!         datagrams as it had last time. Who is full again in the next turn is asked for twice as
//!         many; where there were not so many, that is not tried again for a while.
//!     3.  Messages leave by socket, so that one call takes all of a socket; the order of what one
//!         socket sends is kept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::arena::Arena;
use super::outbox::Outbox;
use super::readiness::Readiness;
use super::sending::{Outcome, asked_by, errno_of, send_after, send_unfragmented};
use super::watched::Watched;
use super::{Arrivals, Datagram, Driver, Ready, Token};
use crate::sys::batch::{Reader, Writer};

/// Datagrams that one socket may give in one turn.
const BATCH: usize = 64;

/// Turns for which a batch that proved too large is not tried again.
const CONTENT: u64 = 8;

/// The driver.
pub struct EpollDriver {
    readiness: Readiness,
    sockets: Watched<Socket>,
    /// Sockets that are ready and have not been read yet: in the order in which they are to be.
    waiting: VecDeque<Token>,
    reader: Reader,
    writer: Writer,
    /// Messages by the socket that they leave by, then in their order.
    order: Vec<(RawFd, u32)>,
    outcomes: Vec<Outcome>,
    turn: u64,
}

struct Socket {
    descriptor: RawFd,
    waits: bool,
    batch: usize,
    full_at: u64,
    grows_from: u64,
}

impl Socket {
    fn new(descriptor: RawFd) -> Self {
        Self { descriptor, waits: false, batch: 1, full_at: 0, grows_from: 0 }
    }

    /// Learns from a read of `asked` datagrams that brought `got`.
    fn learn(&mut self, asked: usize, got: usize, turn: u64) {
        if got < asked {
            self.batch = got.max(1);
            self.grows_from = turn + CONTENT;
        } else if asked == self.batch {
            if self.full_at + 1 == turn && turn >= self.grows_from {
                self.batch = (2 * self.batch).min(BATCH);
            }
            self.full_at = turn;
        }
    }
}

impl Driver for EpollDriver {
    const NAME: &'static str = "epoll";
    const SLOTS: usize = 256;

    fn new(arena: &Arena) -> io::Result<Self> {
        Ok(Self {
            readiness: Readiness::new()?,
            sockets: Watched::default(),
            waiting: VecDeque::new(),
            reader: Reader::new(arena, Self::SLOTS),
            writer: Writer::default(),
            order: Vec::new(),
            outcomes: Vec::new(),
            turn: 1,
        })
    }

    fn watch(&mut self, socket: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.readiness.add(socket, token)?;
        if token.is_udp() {
            self.sockets.insert(token, Socket::new(socket.as_raw_fd()));
        }
        Ok(())
    }

    fn hand_on(&mut self, socket: BorrowedFd<'_>, token: Token, _: &Arena, _: &mut Arrivals) {
        self.unwatch(socket, token); // all that was received has been told
    }

    fn unwatch(&mut self, socket: BorrowedFd<'_>, token: Token) {
        self.readiness.remove(socket);
        if token.is_udp() {
            self.sockets.remove(token);
        }
    }

    fn want(
        &mut self,
        socket: BorrowedFd<'_>,
        token: Token,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        self.readiness.want(socket, token, read, write)
    }

    fn receive(
        &mut self,
        arena: &mut Arena,
        arrivals: &mut Arrivals,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        arrivals.clear();
        self.turn += 1;
        let timeout = if self.waiting.is_empty() { timeout } else { Some(Duration::ZERO) };
        for ready in self.readiness.wait(timeout)? {
            if !ready.socket.is_udp() {
                arrivals.ready.push(ready);
                continue;
            }
            if ready.error {
                arrivals.ready.push(Ready { readable: false, ..ready });
            }
            if let Some(socket) = self.sockets.get_mut(ready.socket)
                && !socket.waits
            {
                socket.waits = true;
                self.waiting.push_back(ready.socket);
            }
        }
        let mut used = 0;
        while used < Self::SLOTS
            && let Some(token) = self.waiting.pop_front()
        {
            used += self.read(token, arena, arrivals, used);
        }
        Ok(())
    }

    fn send(&mut self, outbox: &mut Outbox, arena: &Arena) {
        self.arrange(outbox);
        self.send_arranged(outbox, arena);
        for outcome in self.outcomes.drain(..) {
            outcome.note(outbox);
        }
    }
}

impl EpollDriver {
    /// Reads a socket's batch into the slots from `first` on; returns how many it filled.
    fn read(
        &mut self,
        token: Token,
        arena: &mut Arena,
        arrivals: &mut Arrivals,
        first: usize,
    ) -> usize {
        // Gone since it was told.
        let Some(socket) = self.sockets.get_mut(token) else {
            return 0;
        };
        socket.waits = false;
        let asked = socket.batch.min(Self::SLOTS - first);
        let slots = first..first + asked;
        let got = match self.reader.receive(socket.descriptor, arena, slots) {
            Ok(got) => got,
            Err(error) => {
                // A pending error of an earlier send; the error queue says more of it.
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                    arrivals.note_error(token);
                }
                return 0;
            }
        };
        socket.learn(asked, got, self.turn);
        for slot in first..first + got {
            let (len, sender) = self.reader.filled(slot);
            let Some(from) = sender.get() else { continue };
            let told = self.reader.told(slot);
            arrivals.datagrams.push(Datagram {
                socket: token,
                slot: slot as u32,
                start: 0,
                len,
                segment: told.segment.unwrap_or(len),
                from,
                via: None,
                to: told.to,
                fields: told.fields,
                received: told.received,
            });
        }
        got
    }

    /// Puts messages in the order in which they are to leave.
    fn arrange(&mut self, outbox: &Outbox) {
        let sockets = outbox.transmits().iter().map(|message| message.envelope.socket);
        self.order.clear();
        self.order.extend(sockets.zip(0..));
        if !self.order.is_sorted() {
            self.order.sort_unstable();
        }
    }

    fn send_arranged(&mut self, outbox: &Outbox, arena: &Arena) {
        let messages = outbox.transmits();
        let is_alone = |index: u32| messages[index as usize].envelope.dont_fragment;
        let mut batch = self.writer.begin();
        for (_, index) in &self.order {
            let message = &messages[*index as usize];
            let pieces = outbox.gather(*index as usize, arena);
            batch.push(&message.envelope.to, pieces, asked_by(message));
        }
        let mut sealed = batch.seal();
        let mut done = 0;
        while let Some((socket, index)) = self.order.get(done).copied() {
            if is_alone(index) {
                // Of an error queue with something in it epoll tells in any case.
                let outcome = send_unfragmented(outbox, index as usize, arena, |_| ());
                self.outcomes.extend(outcome);
                done += 1;
                continue;
            }
            let alike = self.order[done..]
                .iter()
                .take_while(|(other, index)| *other == socket && !is_alone(*index))
                .count();
            match sealed.send(socket, done..done + alike) {
                Ok(sent) => done += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let outcome = send_after(outbox, index as usize, arena, errno_of(&error));
                    self.outcomes.extend(outcome);
                    done += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_follows_what_arrives() {
        let mut socket = Socket::new(0);
        let mut turn = 100;
        for expected in [1, 2, 4, 8, 16, 32, 64, 64] {
            socket.learn(socket.batch, socket.batch, turn);
            assert_eq!(socket.batch, expected);
            turn += 1;
        }
        socket.learn(64, 3, turn);
        assert_eq!(socket.batch, 3);
        for _ in 0..CONTENT {
            assert_eq!(socket.batch, 3);
            socket.learn(3, 3, turn);
            turn += 1;
        }
        socket.learn(3, 3, turn);
        assert_eq!(socket.batch, 6);
        socket.learn(6, 0, turn + 1);
        assert_eq!(socket.batch, 1);
    }

    #[test]
    fn a_socket_that_is_seldom_ready_is_asked_for_no_more() {
        let mut socket = Socket::new(0);
        for turn in [100, 102, 104, 106] {
            socket.learn(1, 1, turn);
        }
        assert_eq!(socket.batch, 1);
    }
}
