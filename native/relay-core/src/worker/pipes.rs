//! Streams that were spliced with a peer's connection (RFC 6062).

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use super::Worker;
use crate::connection::Connection;
use crate::io::{Driver, Token};
use crate::leg::CloseReason;
use crate::orders::Splicing;
use crate::stream::pipe::{Pipe, Wants};
use crate::time::Nanos;

/// After how long pipes without room in their token buckets are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A pipe among a worker's tables.
pub struct Spliced {
    pipe: Pipe,
    /// The peer's socket among the driver's.
    pub token: Token,
    /// What the driver was told of the client's socket and the peer's.
    told: [Wants; 2],
    /// Whether it is among those that wait for room.
    waits: bool,
}

impl<D: Driver> Worker<D> {
    pub(super) fn splice(&mut self, splicing: Splicing, now: Nanos) {
        let Splicing { stream, peer, answer, purses } = splicing;
        let Some(place) = self.streams.get(&stream).copied() else { return };
        let peer = TcpStream::from(peer);
        let (protection, local) = (&self.forwarder.table.protection, &self.forwarder.around.local);
        if peer.peer_addr().is_ok_and(|address| protection.is_protected(address, local)) {
            return self.end_connection(place, CloseReason::Server);
        }
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        connection.stream.splice(&answer);
        // The client's socket is watched for what a stream that is held waits for.
        let told = [Wants { read: false, write: connection.waits }, Wants::default()];
        let (pipe, token) = (Pipe::new(peer, purses, now), connection.token.of_peer());
        connection.spliced = Some(Box::new(Spliced { pipe, token, told, waits: false }));
        if !connection.waits {
            self.driver.unwatch(connection.stream.as_fd(), connection.token);
        }
        self.run_pipe(place, now);
    }

    /// Moves what a pipe can move, and sees to what it waits for.
    pub(super) fn run_pipe(&mut self, place: u32, now: Nanos) {
        let slot = self.spare_slot(now);
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        let (stream, ledger, token) = (&mut connection.stream, connection.ledger, connection.token);
        let Some(spliced) = &mut connection.spliced else { return };
        let pipe = &mut spliced.pipe;
        let moved = pipe.run(stream, self.arena.bytes_mut(slot), &mut self.scratch, now);
        let bytes: u64 = moved.iter().map(|moved| moved.bytes).sum();
        self.effort += 1 + bytes as usize / 1_024;
        for (moved, upward) in moved.into_iter().zip([true, false]) {
            if moved.bytes > 0 {
                self.relayed_at = now;
                let ledger = &self.forwarder.ledgers[ledger as usize];
                ledger.add(upward, moved.pieces, moved.bytes, now);
            }
        }
        if let Some(reason) = pipe.over(stream) {
            return self.end_connection(place, reason);
        }
        let waits = pipe.is_held_up() && !std::mem::replace(&mut spliced.waits, pipe.is_held_up());
        if waits {
            self.held_up.push(token);
        }
        let more = pipe.has_more();
        let wanted = pipe.wants(stream);
        let sockets = [(stream.as_fd(), token), (pipe.as_fd(), spliced.token)];
        let mut watched = true;
        for ((socket, token), (told, wanted)) in
            sockets.into_iter().zip(spliced.told.iter_mut().zip(wanted))
        {
            let driver = &mut self.driver;
            watched &= watch_for(driver, socket, token, std::mem::replace(told, wanted), wanted);
        }
        if !watched {
            self.end_connection(place, CloseReason::Server);
        } else if more {
            self.mark_unread(place);
        }
    }

    /// Looks again at pipes that waited for room in their token buckets.
    pub(super) fn run_held_up(&mut self, now: Nanos) {
        for token in std::mem::take(&mut self.held_up) {
            let found = self.forwarder.connections.get_mut(token.place() as u32);
            let Some(connection) = found.filter(|connection| connection.token == token) else {
                continue;
            };
            if let Some(spliced) = &mut connection.spliced {
                spliced.waits = false;
                self.run_pipe(token.place() as u32, now);
            }
        }
    }

    /// Notices which pipes' sockets were reset while nobody watched them.
    pub(super) fn look_at_pipes(&mut self, now: Nanos) {
        let mut reset = Vec::new();
        for Connection { token, stream, spliced, .. } in self.forwarder.connections.iter_mut() {
            if spliced.as_mut().is_some_and(|spliced| spliced.pipe.look(stream)) {
                reset.push(token.place() as u32);
            }
        }
        for place in reset {
            self.run_pipe(place, now);
        }
    }

    /// How long a turn may wait; None: as long as it takes.
    pub(super) fn patience(&self) -> Option<Duration> {
        match (self.has_more(), self.held_up.is_empty()) {
            (true, _) => Some(Duration::ZERO),
            (false, false) => Some(LOOK_AGAIN),
            (false, true) => None,
        }
    }

    /// Whether there is work that nobody tells of.
    pub(super) fn has_more(&self) -> bool {
        !(self.unread.is_empty() && self.waiting.is_empty())
    }

    pub(super) fn end_spliced(&mut self, mut spliced: Spliced) {
        spliced.pipe.farewell();
        self.driver.unwatch(spliced.pipe.as_fd(), spliced.token);
    }
}

impl Spliced {
    pub(super) fn overdue(&self, now: Nanos) -> Option<CloseReason> {
        self.pipe.overdue(now)
    }
}

/// A socket of which nothing is wanted is not watched at all: its end would be told again and
/// again. Whether it was reset is asked once in a while.
fn watch_for(
    driver: &mut impl Driver,
    socket: std::os::fd::BorrowedFd<'_>,
    token: Token,
    told: Wants,
    wanted: Wants,
) -> bool {
    if told == wanted {
        return true;
    }
    if wanted == Wants::default() {
        driver.unwatch(socket, token);
        return true;
    }
    let watched = told != Wants::default() || driver.watch(socket, token).is_ok();
    watched && driver.want(socket, token, wanted.read, wanted.write).is_ok()
}
