//! Connections of clients: their bytes, and their end.

use std::os::fd::AsFd;

use super::Worker;
use crate::counters::Drop;
use crate::forward::{HandedUp, Inbound, Verdict};
use crate::handup::Standing;
use crate::io::{Driver, Kind, Ready, Token};
use crate::leg::{CloseReason, Leg, Transport};
use crate::rules::relay::{Way, find};
use crate::stream::{Flush, Stream};
use crate::sys;
use crate::time::Nanos;
use crate::wire::binding::binding_success;
use crate::wire::challenge::FirstRequest;
use crate::wire::message::CONNECTION_BIND_ERROR;

/// Reads of one stream in a turn: what TLS holds back of one read, and a bound.
const READS: usize = 4;

/// Reads of streams in their handshake in a turn, and as many steps of DTLS handshakes. One may cost
/// a signature with an RSA key, or a key agreement on the curve that the client prefers, more than a
/// thousand packets do; what is left over has its turn in the next one.
pub(super) const HANDSHAKES: u32 = 4;

/// What is done for connections in a turn, about: messages that are handled, and KiB that are read.
/// Whoever has not been served by then comes first in the next turn: datagrams do not wait for as
/// much as thousands of connections can say at once.
pub(super) const EFFORT: usize = 1_024;

impl<D: Driver> Worker<D> {
    /// Lets another be the first in each turn: who comes late finds the turn's handshakes spent.
    pub(super) fn take_turns(&mut self, ready: &mut [Ready]) {
        self.turns = self.turns.wrapping_add(1);
        if !ready.is_empty() {
            ready.rotate_left(self.turns % ready.len());
        }
    }

    pub(super) fn ready(&mut self, ready: Ready, now: Nanos) {
        if self.forwarder.outbox.is_full() {
            self.send(now);
        }
        match ready.socket.kind() {
            Kind::Relay if ready.error => self.read_errors(ready.socket, now),
            Kind::Stream => {
                let place = ready.socket.place() as u32;
                let found = self.forwarder.connections.get(place);
                if found.is_none_or(|connection| connection.token != ready.socket) {
                    return;
                }
                if found.is_some_and(|connection| connection.spliced.is_some()) {
                    return self.run_pipe_in_turn(place, now);
                }
                if ready.writable {
                    self.send_stream(place, Stream::writable);
                }
                if self.is_held(place) {
                    if ready.error {
                        self.end_connection(place, CloseReason::Client);
                    }
                } else if ready.readable {
                    self.read_stream_in_turn(place, now);
                }
            }
            Kind::Peer => {
                let place = ready.socket.place() as u32;
                let found = self.forwarder.connections.get(place);
                let spliced = found.and_then(|connection| connection.spliced.as_ref());
                if spliced.is_some_and(|spliced| spliced.token == ready.socket) {
                    self.run_pipe_in_turn(place, now);
                }
            }
            Kind::Wake | Kind::Listener | Kind::Relay => (),
        }
    }

    fn read_errors(&mut self, token: Token, now: Nanos) {
        for _ in 0..32 {
            let Some(relay) = find(&mut self.forwarder.table.relays, token) else { return };
            match sys::errors::read_icmp(relay.socket.as_fd()) {
                Ok(Some(icmp)) => self.forwarder.icmp_from_peer(token, &icmp, now),
                Ok(None) => (),
                Err(_) => return, // no more of them
            }
        }
    }

    /// Reads on where the last turn left off: what TLS holds back no socket tells of.
    pub(super) fn read_unread(&mut self, now: Nanos) {
        for _ in 0..self.unread.len() {
            if self.is_spent() {
                return;
            }
            let Some(token) = self.unread.pop_front() else { return };
            let place = token.place() as u32;
            let found = self.forwarder.connections.get_mut(place);
            let Some(connection) = found.filter(|connection| connection.token == token) else {
                continue;
            };
            connection.unread = false;
            if connection.spliced.is_some() {
                self.run_pipe(place, now);
            } else if self.is_held(place) {
                // What follows its ConnectionBind request waits.
            } else {
                self.read_stream_in_turn(place, now);
            }
        }
    }

    /// Reads a stream, or lets it wait for the next turn.
    fn read_stream_in_turn(&mut self, place: u32, now: Nanos) {
        if self.may_read(place) {
            self.read_stream(place, now);
        } else {
            self.mark_unread(place);
        }
    }

    /// Runs a pipe, or lets it wait for the next turn.
    fn run_pipe_in_turn(&mut self, place: u32, now: Nanos) {
        if self.is_spent() {
            self.mark_unread(place);
        } else {
            self.run_pipe(place, now);
        }
    }

    fn is_spent(&self) -> bool {
        self.effort >= EFFORT
    }

    /// So much was done for a connection.
    pub(super) fn note_effort(&mut self, messages: usize, bytes: usize) {
        self.effort += 1 + messages + bytes / 1_024;
    }

    /// To be read in the next turn, whether it is told to be ready or not.
    pub(super) fn mark_unread(&mut self, place: u32) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        if !connection.unread {
            connection.unread = true;
            self.unread.push_back(connection.token);
        }
    }

    fn is_held(&self, place: u32) -> bool {
        let found = self.forwarder.connections.get(place);
        found.is_some_and(|connection| connection.stream.is_held())
    }

    /// What a stream is to be told of: that it can be read, unless it is held, and written.
    fn want(&mut self, place: u32) {
        let Some(connection) = self.forwarder.connections.get(place) else { return };
        let (stream, read) = (&connection.stream, !connection.stream.is_held());
        if self.driver.want(stream.as_fd(), connection.token, read, connection.waits).is_err() {
            self.end_connection(place, CloseReason::Server);
        }
    }

    fn may_read(&mut self, place: u32) -> bool {
        if self.is_spent() {
            return false;
        }
        let Some(connection) = self.forwarder.connections.get(place) else { return false };
        if connection.stream.is_open() {
            return true;
        }
        self.handshakes += 1;
        self.handshakes <= HANDSHAKES
    }

    pub(super) fn read_stream(&mut self, place: u32, now: Nanos) {
        for _ in 0..READS {
            let slot = self.spare_slot(now);
            let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
            let progress =
                connection.stream.readable(self.arena.bytes_mut(slot), &mut self.scratch);
            if progress.opened {
                let server_name = connection.stream.take_server_name();
                self.shared.hand_up.opened(connection.leg, server_name);
                self.handed_up = true;
            }
            let bytes = self.arena.bytes(slot, progress.filled);
            let mut at = 0;
            let mut end = progress.end;
            self.frames.clear();
            loop {
                match connection.stream.next_frame(bytes, &mut at) {
                    Ok(Some(frame)) => self.frames.push(frame),
                    Ok(None) => break connection.stream.keep_rest(bytes, at, now),
                    Err(_) => break end = Some(CloseReason::Garbage),
                }
            }
            connection.stream.learn(self.frames.len());
            self.note_effort(self.frames.len(), progress.read);
            self.take_frames(place, slot, now);
            // What a ConnectionBind request is followed by waits, be it an end that TLS has told.
            let is_held = self.is_held(place);
            if let Some(reason) = end.filter(|reason| !is_held || *reason != CloseReason::Client) {
                self.flush(now); // frames that came before the end are still sent
                return self.end_connection(place, reason);
            }
            if progress.flush {
                self.mark_unflushed(place);
            }
            if is_held {
                return self.want(place);
            }
            if !progress.more {
                return;
            }
            if self.is_spent() {
                break;
            }
        }
        self.mark_unread(place);
    }

    fn take_frames(&mut self, place: u32, slot: u32, now: Nanos) {
        let frames = std::mem::take(&mut self.frames);
        for frame in &frames {
            let Some(connection) = self.forwarder.connections.get(place) else { break };
            let (client, leg, asked_for) =
                (connection.client, connection.leg, connection.handed_up);
            let (start, len, fields) = (frame.start, frame.len(), connection.fields);
            let inbound = Inbound { slot, start, len, fields, received: 0 };
            self.take_message(Way::Stream(place), client, leg, asked_for, inbound, now);
        }
        self.frames = frames;
    }

    /// Handles one message of a connection, whose client has a relay if it has a place.
    pub(super) fn take_message(
        &mut self,
        way: Way,
        client: Option<u32>,
        leg: Leg,
        asked_for: HandedUp,
        inbound: Inbound,
        now: Nanos,
    ) {
        if client.is_none() && self.moves(&leg, inbound, now) {
            return;
        }
        match self.forwarder.from_client(&self.arena, client, inbound, now) {
            Verdict::Done => (),
            Verdict::Answer(request) if !asked_for.plain => {
                let mut answer = Vec::new();
                binding_success(&request, leg.client, &mut answer);
                self.answer_by(way, &answer);
                self.station.counters.bindings.add(1);
            }
            Verdict::Classic => self.station.counters.drops.add(Drop::NotStun, 1),
            Verdict::Challenge(request)
                if self.challenge_by(way, &leg, client.is_some(), request, now) => {}
            Verdict::Answer(_) | Verdict::Challenge(_) | Verdict::Decide => {
                self.hand_up(leg, client.is_some(), inbound, now);
            }
        }
        if self.forwarder.outbox.is_full() {
            self.send(now);
        }
    }

    /// Challenges whoever made a first request; false where Python is to.
    fn challenge_by(
        &mut self,
        way: Way,
        leg: &Leg,
        has_relay: bool,
        request: FirstRequest,
        now: Nanos,
    ) -> bool {
        let Some((challenge, mint)) = self.challenges.of(leg.listener, leg.client, now) else {
            return false;
        };
        let by_tls = matches!(leg.transport, Transport::Tls | Transport::Dtls);
        if !challenge.is_for(&request, by_tls, has_relay) {
            return false;
        }
        let mut answer = Vec::new();
        challenge.answer(&request, leg.client, true, &mint, &mut answer);
        self.answer_by(way, &answer);
        self.station.counters.challenges.add(1);
        true
    }

    /// Sends an answer on a connection.
    pub(super) fn answer_by(&mut self, way: Way, answer: &[u8]) {
        match way {
            Way::Stream(place) => self.queue_answer(place, answer),
            Way::Session(place) => self.forwarder.tell_session(place, answer),
            Way::Datagrams { .. } | Way::Gone => (),
        }
    }

    pub(super) fn queue_answer(&mut self, place: u32, answer: &[u8]) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        if connection.spliced.is_some() {
            return; // it speaks no STUN any more
        }
        if connection.stream.queue_answer(answer).is_err() {
            self.station.counters.drops.add(Drop::QueueFull, 1);
        }
        let resumes =
            connection.stream.is_held() && answer.starts_with(&CONNECTION_BIND_ERROR.to_be_bytes());
        if resumes {
            connection.stream.resume();
            self.want(place);
            self.mark_unread(place);
        }
        self.mark_unflushed(place);
    }

    pub(super) fn mark_unflushed(&mut self, place: u32) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        if !connection.unflushed {
            connection.unflushed = true;
            self.forwarder.unflushed.push(place);
        }
    }

    pub(super) fn flush_streams(&mut self) {
        while let Some(place) = self.forwarder.unflushed.pop() {
            if let Some(connection) = self.forwarder.connections.get_mut(place) {
                connection.unflushed = false;
            }
            self.send_stream(place, Stream::flush);
        }
    }

    fn send_stream(&mut self, place: u32, send: impl FnOnce(&mut Stream) -> Flush) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        if connection.spliced.is_some() {
            return; // its pipe sends
        }
        let waits = match send(&mut connection.stream) {
            Flush::Done => false,
            Flush::Waits => true,
            Flush::Failed => return self.end_connection(place, CloseReason::Client),
        };
        if waits != connection.waits {
            connection.waits = waits;
            self.want(place);
        }
    }

    pub(super) fn end_connection(&mut self, place: u32, reason: CloseReason) {
        let Some(mut connection) = self.forwarder.connections.remove(place) else { return };
        self.streams.remove(&connection.leg.stream);
        let clients = &mut self.forwarder.table.clients;
        if let Some(client) = connection.client.and_then(|client| clients.get_mut(client)) {
            client.way = Way::Gone;
        }
        let lost = self.held.end(&connection.leg).len() as u64;
        self.station.counters.drops.add(Drop::NoAllocation, lost);
        connection.stream.farewell();
        self.driver.unwatch(connection.stream.as_fd(), connection.token);
        let is_known = connection.client.is_some() || connection.spliced.is_some();
        if let Some(spliced) = connection.spliced.take() {
            self.end_spliced(*spliced);
        }
        let standing = if is_known { Standing::Known } else { Standing::Stranger };
        self.shared.hand_up.closed(connection.leg, reason, standing);
        self.handed_up = true;
    }
}
