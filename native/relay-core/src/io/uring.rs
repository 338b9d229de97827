//! io_uring: receives that stay armed, sends that are submitted together. From Linux 6.1 on.
//!
//! Rules of the house
//!     1.  A slot belongs to the kernel or to the turn: what a turn's completions brought goes back
//!         at the begin of the next, when all that was made of it has been sent.
//!     2.  The kernel takes slots in a circle. It is lent no more than it lately needed, so that
//!         they stay in the processor's cache. When slots run out, receives end (ENOBUFS): they
//!         are armed again at the begin of the next turn, those first that got nothing in this
//!         one, and with twice the slots.
//!     3.  Streams and the wake-up are seen to by an epoll instance that the ring polls: it tells
//!         again what was read in part, which a poll by io_uring does not.
//!     4.  A request is named by what it is, an epoch and its socket's token. What completes late
//!         for a former socket of the same token is told by the epoch.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::arena::Arena;
use super::outbox::{Outbox, Transmit};
use super::readiness::Readiness;
use super::sending::{
    Outcome, asked_by, errno_of, is_told_by_icmp, lost, send_after, send_unfragmented,
};
use super::slots::Slots;
use super::watched::Watched;
use super::{Arrivals, Datagram, Driver, Token};
use crate::sys::batch::Writer;
use crate::sys::ring::{Completion, PAYLOAD, Ring, Sending};

/// The driver.
pub struct UringDriver {
    ring: Ring,
    readiness: Readiness,
    polled: bool,
    sockets: Watched<Socket>,
    /// Sockets whose receives are to be armed.
    unarmed: Vec<Token>,
    epoch: u64,
    turn: u64,
    ran_out: bool,
    slots: Slots,
    writer: Writer,
    /// Of each message, which of the sealed ones it is.
    sealed: Vec<Option<usize>>,
    /// Messages that were not simply sent, and why.
    failed: Vec<(usize, i32)>,
    outcomes: Vec<Outcome>,
    /// Relays whose sends may have been told of an error, and so have kept it from their receives.
    errors: Vec<Token>,
}

struct Socket {
    descriptor: RawFd,
    epoch: u64,
    armed: bool,
    /// The turn in which it last got a datagram.
    served_at: u64,
}

/// What a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Receive,
    Poll,
    Send,
}

const EPOCHS: u64 = 1 << 4;

/// A request's name: what it is (2 bits), an epoch (4), a token (58).
fn name(request: Request, epoch: u64, token: u64) -> u64 {
    (request as u64) << 62 | (epoch % EPOCHS) << 58 | token
}

fn parts(name: u64) -> (Request, u64, u64) {
    let request = match name >> 62 {
        0 => Request::Receive,
        1 => Request::Poll,
        _ => Request::Send,
    };
    (request, name >> 58 & (EPOCHS - 1), name & ((1 << 58) - 1))
}

impl Driver for UringDriver {
    const NAME: &'static str = "io_uring";
    const SLOTS: usize = 512;

    fn new(arena: &Arena) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(arena, Self::SLOTS as u16)?,
            readiness: Readiness::new()?,
            polled: false,
            sockets: Watched::default(),
            unarmed: Vec::new(),
            epoch: 0,
            turn: 1,
            ran_out: false,
            slots: Slots::new(Self::SLOTS),
            writer: Writer::default(),
            sealed: Vec::new(),
            failed: Vec::new(),
            outcomes: Vec::new(),
            errors: Vec::new(),
        })
    }

    fn watch(&mut self, socket: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        if !token.is_udp() {
            return self.readiness.add(socket, token);
        }
        self.epoch += 1;
        let socket = Socket {
            descriptor: socket.as_raw_fd(),
            epoch: self.epoch % EPOCHS,
            armed: false,
            served_at: 0,
        };
        self.sockets.insert(token, socket);
        self.unarmed.push(token);
        Ok(())
    }

    fn unwatch(&mut self, socket: BorrowedFd<'_>, token: Token) {
        if !token.is_udp() {
            self.readiness.remove(socket);
        } else if let Some(socket) = self.sockets.remove(token)
            && socket.armed
        {
            let name = name(Request::Receive, socket.epoch, token.to_bits());
            // A ring that has broken says so in the next turn.
            let _ = self.ring.cancel(name);
        }
    }

    fn hand_on(&mut self, _: BorrowedFd<'_>, token: Token, arena: &Arena, arrivals: &mut Arrivals) {
        if let Some(Socket { epoch, armed: true, .. }) = self.sockets.get_mut(token) {
            let epoch = *epoch;
            let name = name(Request::Receive, epoch, token.to_bits());
            // A ring that has broken says so in the next turn.
            let _ = self.ring.cancel(name);
            while let Some(completion) = self.ring.met_of(name) {
                self.received(&completion, (epoch, token), arena, arrivals);
            }
        }
        self.sockets.remove(token);
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
        if std::mem::take(&mut self.ran_out) {
            self.slots.want_more();
        }
        self.ring.lend(self.slots.next_turn());
        self.arm()?;
        let timeout = if self.errors.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.ring.enter(timeout)?;
        for socket in self.errors.drain(..) {
            arrivals.note_error(socket);
        }
        while let Some(completion) = self.ring.next_completion() {
            match parts(completion.name) {
                (Request::Receive, epoch, token) => {
                    let which = (epoch, Token::from_bits(token));
                    self.received(&completion, which, arena, arrivals);
                }
                (Request::Poll, _, _) => {
                    self.polled = false;
                    arrivals.ready.extend(self.readiness.wait(Some(Duration::ZERO))?);
                }
                (Request::Send, _, _) => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, outbox: &mut Outbox, arena: &Arena) {
        self.send_all(outbox, arena);
        for outcome in self.outcomes.drain(..) {
            outcome.note(outbox);
        }
    }
}

impl UringDriver {
    /// Asks for what is not asked for yet.
    fn arm(&mut self) -> io::Result<()> {
        if !self.polled {
            let descriptor = self.readiness.as_fd().as_raw_fd();
            self.ring.poll(descriptor, name(Request::Poll, 0, 0))?;
            self.polled = true;
        }
        if self.unarmed.is_empty() {
            return Ok(());
        }
        let turn = self.turn - 1;
        for served in [false, true] {
            for token in &self.unarmed {
                // Some are gone, some have a tenant that is armed.
                if let Some(socket) = self.sockets.get_mut(*token)
                    && !socket.armed
                    && (socket.served_at == turn) == served
                {
                    let name = name(Request::Receive, socket.epoch, token.to_bits());
                    self.ring.receive(socket.descriptor, name)?;
                    socket.armed = true;
                }
            }
        }
        self.unarmed.clear();
        Ok(())
    }

    /// A receive brought a datagram, or ended, or both.
    fn received(
        &mut self,
        completion: &Completion,
        (epoch, token): (u64, Token),
        arena: &Arena,
        arrivals: &mut Arrivals,
    ) {
        let slot = completion.slot();
        if let Some(slot) = slot {
            self.slots.take(slot);
        }
        let socket = self.sockets.get_mut(token);
        let Some(socket) = socket.filter(|socket| socket.epoch == epoch) else {
            return;
        };
        if let Some(slot) = slot
            && let Some((len, sender, told)) = self.ring.datagram(arena, slot, completion.result)
            && let Some(from) = sender.get()
        {
            socket.served_at = self.turn;
            let len = len as u32;
            arrivals.datagrams.push(Datagram {
                socket: token,
                slot,
                start: PAYLOAD as u32,
                len,
                segment: told.segment.unwrap_or(len),
                from,
                via: None,
                to: told.to,
                fields: told.fields,
                received: told.received,
            });
        }
        if !completion.more() {
            socket.armed = false;
            self.unarmed.push(token);
            match completion.result {
                0.. => {}
                result if result == -libc::ENOBUFS => self.ran_out = true,
                _ => arrivals.note_error(token),
            }
        }
    }

    fn send_all(&mut self, outbox: &Outbox, arena: &Arena) {
        let messages = outbox.transmits();
        let mut batch = self.writer.begin();
        self.sealed.clear();
        let mut count = 0;
        for (index, message) in messages.iter().enumerate() {
            let asked = asked_by(message);
            let is_plain = asked.is_none() && outbox.in_one_piece(index, arena).is_some();
            self.sealed.push((!is_plain).then_some(count));
            if !is_plain {
                let pieces = outbox.gather(index, arena);
                batch.push(&message.envelope.to, pieces, asked);
                count += 1;
            }
        }
        let sealed = batch.seal();
        let mut first = 0;
        while first < messages.len() {
            // What must not be fragmented is sent by itself, in its place.
            let alone = messages[first..]
                .iter()
                .position(|message| message.envelope.dont_fragment)
                .map_or(messages.len(), |ahead| first + ahead);
            let result = self.ring.send(
                (first..alone).map(|index| {
                    let name = name(Request::Send, 0, index as u64);
                    (name, sending(outbox, index, arena, self.sealed[index]))
                }),
                &sealed,
                |completion| match parts(completion.name) {
                    (Request::Send, _, index) => {
                        self.failed.push((index as usize, -completion.result));
                        true
                    }
                    (Request::Receive | Request::Poll, _, _) => false,
                },
            );
            if let Err(error) = result {
                let all = first..messages.len();
                let lost = all.map(|index| lost(outbox, index, errno_of(&error)));
                self.outcomes.extend(lost);
                return;
            }
            for (index, errno) in self.failed.drain(..) {
                note_error(&mut self.errors, &messages[index], errno);
                self.outcomes.extend(send_after(outbox, index, arena, errno));
            }
            if let Some(message) = messages.get(alone) {
                let failed = |errno| note_error(&mut self.errors, message, errno);
                self.outcomes.extend(send_unfragmented(outbox, alone, arena, failed));
            }
            first = alone + 1;
        }
    }
}

/// A relay's send has failed: what the socket has told it, or tells the next try, it tells nobody
/// else.
fn note_error(errors: &mut Vec<Token>, message: &Transmit, errno: i32) {
    let envelope = &message.envelope;
    if envelope.upward && (is_told_by_icmp(errno) || message.packets > 1) {
        errors.push(envelope.relay);
    }
}

fn sending<'m>(
    outbox: &'m Outbox,
    index: usize,
    arena: &'m Arena,
    sealed: Option<usize>,
) -> Sending<'m> {
    let envelope = &outbox.transmits()[index].envelope;
    let socket = envelope.socket;
    match (sealed, outbox.in_one_piece(index, arena)) {
        (None, Some(bytes)) => Sending::Plain { socket, to: &envelope.to, bytes },
        (message, _) => Sending::Sealed { socket, message: message.unwrap_or_default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_parts() {
        let token = Token::relay(u32::MAX, (1 << 24) - 1).to_bits();
        for request in [Request::Receive, Request::Poll, Request::Send] {
            for epoch in [0, 15] {
                assert!(parts(name(request, epoch, token)) == (request, epoch, token));
            }
        }
    }
}
