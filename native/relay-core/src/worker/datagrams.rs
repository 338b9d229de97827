//! Datagrams, and those that came to the wrong worker.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::held::{Kept, is_media};
use super::{Passed, Worker};
use crate::counters::Drop;
use crate::fields::Fields;
use crate::forward::{HandedUp, Inbound, Verdict};
use crate::handup::Standing;
use crate::io::{Carried, Datagram, Driver, Kind};
use crate::leg::Leg;
use crate::time::{Nanos, seconds};
use crate::wire::challenge::FirstRequest;
use crate::wire::message::Stun;
use crate::wire::proxy::proxy_header_untrusted;

/// One packet in so many is measured.
const SAMPLE: u32 = 64;

impl<D: Driver> Worker<D> {
    pub(super) fn datagram(&mut self, mut datagram: Datagram, now: Nanos) {
        if self.forwarder.outbox.is_full() {
            self.send(now);
        }
        if datagram.received != 0 {
            self.sampled = self.sampled.wrapping_add(1);
            if !self.sampled.is_multiple_of(SAMPLE) {
                datagram.received = 0;
            }
        }
        match datagram.socket.kind() {
            Kind::Listener if self.has_proxies => self.from_proxy(&datagram, now),
            Kind::Listener => self.from_listener(&datagram, now),
            Kind::Relay => self.forwarder.from_peer(&mut self.arena, &datagram, now),
            Kind::Wake | Kind::Stream | Kind::Peer => (),
        }
    }

    /// Takes the PROXY header off what a trusted proxy sent; all else goes on as it is.
    fn from_proxy(&mut self, datagram: &Datagram, now: Nanos) {
        let listener = self.forwarder.listeners.get(datagram.socket.place());
        let proxies = listener.and_then(Option::as_ref).map(|listener| &listener.proxies);
        if !proxies.is_some_and(|proxies| proxies.contain(datagram.from.ip())) {
            return self.from_listener(datagram, now);
        }
        let owner = self.shared.worker_of(datagram.from);
        if self.shared.stations.len() > 1 && owner != self.index {
            return self.pass_on(owner, datagram);
        }
        for segment in datagram.segments() {
            let all = self.arena.bytes(datagram.slot, segment.end as usize);
            let Ok(header) = proxy_header_untrusted(&all[segment.start as usize..]) else {
                self.station.counters.drops.add(Drop::ProxyHeader, 1);
                continue;
            };
            let start = segment.start + header.len as u32;
            let len = segment.end - start;
            let mut own = Datagram { start, len, segment: len, ..*datagram };
            if let Some(client) = header.client {
                own.via = Some(std::mem::replace(&mut own.from, client));
            }
            self.from_listener(&own, now);
        }
    }

    fn from_listener(&mut self, datagram: &Datagram, now: Nanos) {
        let client = self.forwarder.client_of(datagram);
        let has_dtls = self.has_dtls(datagram);
        if (client.is_none() || has_dtls) && self.shared.stations.len() > 1 {
            let owner = self.shared.worker_of(datagram.sender());
            if owner != self.index {
                return self.pass_on(owner, datagram);
            }
        }
        let moving = if client.is_none() { self.moving_leg(datagram) } else { None };
        let Datagram { slot, fields, received, .. } = *datagram;
        for segment in datagram.segments() {
            let (start, len) = (segment.start as usize, segment.len());
            let inbound = Inbound { slot, start, len, fields, received };
            if has_dtls && self.takes_record(datagram, inbound, now) {
                continue;
            }
            if moving.as_ref().is_some_and(|leg| self.moves(leg, inbound, now)) {
                continue;
            }
            match self.forwarder.from_client(&self.arena, client, inbound, now) {
                Verdict::Done => (),
                Verdict::Answer(request) if !self.handed_up(datagram).plain => {
                    self.forwarder.answer_binding(request, datagram, now);
                }
                Verdict::Classic if !self.handed_up(datagram).classic => {
                    self.station.counters.drops.add(Drop::NotStun, 1);
                }
                Verdict::Answer(_) | Verdict::Classic if self.is_over_budget(datagram, now) => (),
                Verdict::Challenge(request)
                    if self.challenge(request, datagram, client.is_some(), now) => {}
                Verdict::Answer(_) | Verdict::Classic | Verdict::Challenge(_) | Verdict::Decide => {
                    if let Some(leg) = self.forwarder.leg_of(datagram) {
                        self.hand_up(leg, client.is_some(), inbound, now);
                    }
                }
            }
        }
    }

    fn has_dtls(&self, datagram: &Datagram) -> bool {
        let listener = self.forwarder.listeners.get(datagram.socket.place());
        listener.and_then(Option::as_ref).is_some_and(|listener| listener.dtls.is_some())
    }

    /// Which Binding requests go up that came by the datagram's listener.
    fn handed_up(&self, datagram: &Datagram) -> HandedUp {
        let listener = self.forwarder.listeners.get(datagram.socket.place());
        listener.and_then(Option::as_ref).map(|listener| listener.handed_up).unwrap_or_default()
    }

    /// Whether whoever decides on a stranger's request would have to leave it without an answer:
    /// then nobody needs to hear of it.
    fn is_over_budget(&self, datagram: &Datagram, now: Nanos) -> bool {
        let is_over = self.shared.around.budget.is_used_up(datagram.from.ip(), now);
        if is_over {
            self.station.counters.over_budget.add(1);
        }
        is_over
    }

    /// The leg of a datagram, if its client moves there or from there.
    fn moving_leg(&self, datagram: &Datagram) -> Option<Leg> {
        if self.held.is_empty() && self.former.is_empty() {
            return None;
        }
        let leg = self.forwarder.leg_of(datagram)?;
        (self.held.has(&leg) || self.former.has(&leg)).then_some(leg)
    }

    /// Sees to media of a leg without relays whose client moves; false: it is something else.
    pub(super) fn moves(&mut self, leg: &Leg, inbound: Inbound, now: Nanos) -> bool {
        if self.held.has(leg) {
            return self.keep_back(leg, inbound);
        }
        self.former.has(leg) && self.follow(leg, inbound, now)
    }

    /// Has media go after the relays that its leg has had.
    fn follow(&mut self, leg: &Leg, inbound: Inbound, now: Nanos) -> bool {
        let bytes_untrusted = inbound.bytes(&self.arena);
        let Some((to, worker)) =
            self.former.successor(leg, now).filter(|_| is_media(bytes_untrusted))
        else {
            return false;
        };
        if worker == self.index {
            let (client, _) = self.newcomer(to);
            self.forwarder.from_client(&self.arena, client, inbound, now);
        } else if let Some(station) = self.shared.stations.get(worker as usize) {
            let media = Passed::Media(Box::new(*to), inbound.fields, bytes_untrusted.into());
            if !station.pass(media) {
                self.station.counters.drops.add(Drop::QueueFull, 1);
            }
        }
        true
    }

    /// Keeps media of a leg that is held back; false: it is something else.
    fn keep_back(&mut self, leg: &Leg, inbound: Inbound) -> bool {
        match self.held.keep(leg, inbound.fields, inbound.bytes(&self.arena)) {
            Kept::First => {
                self.shared.hand_up.media_waiting(*leg);
                self.handed_up = true;
            }
            Kept::More => (),
            Kept::Full => self.station.counters.drops.add(Drop::QueueFull, 1),
            Kept::Not => return false,
        }
        true
    }

    /// Challenges whoever made a first request; false where Python is to.
    fn challenge(
        &mut self,
        request: FirstRequest,
        datagram: &Datagram,
        has_relay: bool,
        now: Nanos,
    ) -> bool {
        let Some(Some(listener)) = self.forwarder.listeners.get(datagram.socket.place()) else {
            return true;
        };
        let client = datagram.from;
        let Some((challenge, mint)) = self.challenges.of(listener.id, client, now) else {
            return false;
        };
        if !challenge.is_for(&request, false, has_relay) {
            return false;
        }
        self.forwarder.challenge(datagram, now, |out| {
            challenge.answer(&request, client, false, &mint, out);
        });
        true
    }

    pub(super) fn hand_up(&mut self, leg: Leg, has_relay: bool, inbound: Inbound, now: Nanos) {
        let data = inbound.bytes(&self.arena);
        let knows_nonce = || {
            let (Some(keys), Ok(stun)) = (&self.challenges.keys, Stun::from_untrusted(data)) else {
                return false;
            };
            keys.verifies_untrusted(&stun, leg.client, seconds(now))
        };
        let known = has_relay || knows_nonce();
        let standing = if known { Standing::Known } else { Standing::Stranger };
        if !self.shared.hand_up.message(leg, data, standing) {
            self.station.counters.drops.add(Drop::HandUpFull, 1);
        }
        self.handed_up = true;
    }

    fn pass_on(&self, owner: u32, datagram: &Datagram) {
        let Some(station) = self.shared.stations.get(owner as usize) else { return };
        for carried in datagram.carried(&self.arena) {
            if !station.pass(Passed::Datagram(carried)) {
                self.station.counters.drops.add(Drop::QueueFull, 1);
            }
        }
    }

    /// What others have received. As what was received here it meets all orders that were given
    /// before: it is to be taken before they are.
    pub(super) fn take_passed(&self) -> VecDeque<Passed> {
        if self.shared.stations.len() == 1 {
            return VecDeque::new();
        }
        std::mem::take(&mut *self.station.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn handle_passed(&mut self, passed: Passed, now: Nanos) {
        match passed {
            Passed::Datagram(carried) => self.datagram_from_elsewhere(&carried, now),
            Passed::Media(address, fields, data) => {
                let (client, _) = self.newcomer(&address);
                self.media_from_elsewhere(client, fields, &data, now);
            }
        }
    }

    /// Handles media of a client that lies in no slot.
    pub(super) fn media_from_elsewhere(
        &mut self,
        client: Option<u32>,
        fields: Fields,
        data: &[u8],
        now: Nanos,
    ) {
        if self.forwarder.outbox.is_full() {
            self.send(now);
        }
        let inbound = self.put_into_a_slot(data, fields, now);
        let verdict = self.forwarder.from_client(&self.arena, client, inbound, now);
        debug_assert_eq!(verdict, Verdict::Done, "it is media");
    }

    /// Handles what another worker has received.
    pub(super) fn datagram_from_elsewhere(&mut self, carried: &Carried, now: Nanos) {
        let Carried { socket, from, to, fields, ref data } = *carried;
        let Inbound { slot, received, .. } = self.put_into_a_slot(data, fields, now);
        let (len, segment) = (data.len() as u32, data.len() as u32);
        let (start, via) = (0, None);
        let datagram =
            Datagram { socket, slot, start, len, segment, from, via, to, fields, received };
        self.datagram(datagram, now);
    }
}
