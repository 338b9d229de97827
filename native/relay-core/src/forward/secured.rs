//! Towards DTLS clients: what leaves is encrypted at once, in the order in which it is to leave.

use std::os::fd::AsRawFd;

use super::Forwarder;
use crate::address::RawAddress;
use crate::counters::Drop;
use crate::dtls::association::Association;
use crate::fields::Fields;
use crate::io::Token;
use crate::io::arena::Arena;
use crate::io::outbox::{Envelope, RunMark};
use crate::leg::Leg;
use crate::time::Nanos;

/// What a message to a client is counted by, when it is a peer's.
#[derive(Clone, Copy)]
pub(super) struct Relayed {
    pub(super) relay: Token,
    pub(super) fields: Fields,
    pub(super) runs: bool,
    pub(super) payload: usize,
    pub(super) received: Nanos,
}

/// A message of ours.
const OURS: Relayed = Relayed {
    relay: Token::WAKE,
    fields: Fields { hops: 0, class: 0 },
    runs: false,
    payload: 0,
    received: 0,
};

impl Forwarder {
    /// Sends a client a message of ours.
    pub fn tell_session(&mut self, place: u32, message: &[u8]) {
        if let Err(reason) = self.to_session(place, message, OURS) {
            self.counters.drops.add(reason, 1);
        }
    }

    /// As `tell_session`, any message; or says why it goes no further.
    pub(super) fn to_session(
        &mut self,
        place: u32,
        message: &[u8],
        relayed: Relayed,
    ) -> Result<(), Drop> {
        let associations = &mut self.associations;
        let Some(association) = associations.places.get_mut(place) else {
            return Err(Drop::NoClient);
        };
        let lent = &mut associations.lent;
        if association.session.write(message, lent).is_err() {
            lent.sent();
            return Err(Drop::TooBig);
        }
        let Some(Some(listener)) = self.listeners.get(association.key.listener as usize) else {
            return Err(Drop::NoClient);
        };
        let envelope = envelope(listener.socket.as_raw_fd(), association, relayed);
        let record = self.outbox.scratch(&lent.outgoing);
        lent.sent();
        let Relayed { payload, received, .. } = relayed;
        self.outbox.push(&mut association.run, &envelope, &[record], payload, received);
        Ok(())
    }

    /// A peer's datagram, which lies in a slot from `start` on, behind a header; what is in front of
    /// it there has been handled.
    pub(super) fn media_to_session(
        &mut self,
        arena: &mut Arena,
        place: u32,
        (slot, start, len): (u32, usize, usize),
        (head, pad): (&[u8], usize),
        relayed: Relayed,
    ) -> Result<(), Drop> {
        let begin = arena.prepend(slot, start, head);
        let message = arena.slice(slot, begin, head.len() + len);
        if pad == 0 {
            return self.to_session(place, message, relayed);
        }
        let padded = [message, &[0; 3][..pad]].concat();
        self.to_session(place, &padded, relayed)
    }

    /// Sends what sessions have to say by themselves: flights, alerts, questions for a cookie.
    pub fn send_flight(&mut self, listener: u32, leg: &Leg) {
        let lent = &mut self.associations.lent;
        if lent.outgoing.is_empty() {
            return;
        }
        if let Some(Some(found)) = self.listeners.get(listener as usize) {
            let envelope = Envelope {
                socket: found.socket.as_raw_fd(),
                to: RawAddress::from(leg.sender()),
                from: found.endpoint.ip().is_unspecified().then(|| leg.local.ip()),
                fields: OURS.fields,
                relay: Token::WAKE,
                ledger: found.ledger,
                upward: false,
                dont_fragment: false,
                runs: false,
            };
            for datagram in lent.datagrams() {
                let piece = self.outbox.scratch(datagram);
                self.outbox.push(&mut RunMark::default(), &envelope, &[piece], 0, 0);
            }
        }
        lent.sent();
    }
}

fn envelope(socket: i32, association: &Association, relayed: Relayed) -> Envelope {
    Envelope {
        socket,
        to: RawAddress::from(association.leg.sender()),
        from: association.key.local,
        fields: relayed.fields,
        relay: relayed.relay,
        ledger: association.ledger,
        upward: false,
        dont_fragment: false,
        runs: relayed.runs,
    }
}
