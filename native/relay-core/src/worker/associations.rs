//! Clients by DTLS: hellos, handshakes, messages, and their ends.

use super::Worker;
use super::streams::HANDSHAKES;
use crate::counters::Drop;
use crate::dtls::association::{Association, Terms};
use crate::dtls::provider::Session;
use crate::dtls::record::{
    APPLICATION_DATA, Random, announces_too_much, hello_random, is_record, is_single,
};
use crate::dtls::{Knock, Read};
use crate::forward::{Forwarder, Inbound};
use crate::handup::Standing;
use crate::io::arena::SLOT_SIZE;
use crate::io::outbox::RunMark;
use crate::io::{Datagram, Driver};
use crate::leg::{CloseReason, Leg, Transport};
use crate::rules::relay::Way;
use crate::rules::table::UdpKey;
use crate::time::Nanos;

/// Tells handles that a worker gives from those of the engine.
const GIVEN_HERE: u64 = 1 << 63;

impl<D: Driver> Worker<D> {
    /// Handles a datagram of a listener with DTLS, unless it is one of plain UDP.
    pub(super) fn takes_record(
        &mut self,
        datagram: &Datagram,
        inbound: Inbound,
        now: Nanos,
    ) -> bool {
        let bytes_untrusted = inbound.bytes(&self.arena);
        if !is_record(bytes_untrusted) {
            let listener = self.forwarder.listeners.get(datagram.socket.place());
            let plain = listener.and_then(Option::as_ref).is_some_and(|listener| listener.plain);
            if !plain {
                self.station.counters.drops.add(Drop::DtlsRecord, 1);
            }
            return !plain;
        }
        let listener = datagram.socket.place() as u32;
        let key = UdpKey { listener, client: datagram.from, via: datagram.via, local: datagram.to };
        let occupants = self.forwarder.associations.at(&key);
        if bytes_untrusted[0] == APPLICATION_DATA
            && let Some(open) = occupants.open
        {
            self.read_session(open, inbound, now);
            return true;
        }
        match hello_random(bytes_untrusted) {
            _ if announces_too_much(bytes_untrusted) => {
                self.station.counters.drops.add(Drop::DtlsRecord, 1);
            }
            Some(random) if !self.forwarder.associations.began_with(occupants, &random) => {
                self.hello(datagram, key, inbound, random, now);
            }
            _ => match occupants.beginning.or(occupants.open) {
                Some(place) => self.read_session(place, inbound, now),
                None => self.station.counters.drops.add(Drop::DtlsRecord, 1),
            },
        }
        true
    }

    fn hello(
        &mut self,
        datagram: &Datagram,
        key: UdpKey,
        inbound: Inbound,
        random: Random,
        now: Nanos,
    ) {
        let Some(leg) = self.forwarder.leg_of(datagram) else { return };
        let leg = Leg { transport: Transport::Dtls, ..leg };
        if !self.shared.around.budget.draw(leg.client.ip(), now) {
            return self.station.counters.over_budget.add(1);
        }
        let cookies = self.shared.cookies.of(leg.client, (leg.listener, key.local), now);
        let listener = self.forwarder.listeners.get_mut(key.listener as usize);
        let Some(terms) = listener.and_then(Option::as_mut).and_then(|found| found.dtls.as_mut())
        else {
            return;
        };
        let hello_untrusted = inbound.bytes(&self.arena);
        match terms.door.knock(hello_untrusted, cookies, &mut self.forwarder.associations.lent) {
            Knock::Nothing => self.station.counters.drops.add(Drop::DtlsRecord, 1),
            Knock::Question => self.forwarder.send_flight(key.listener, &leg),
            Knock::Passed(session) => self.begin_session(key, leg, session, random, now),
        }
    }

    fn begin_session(
        &mut self,
        key: UdpKey,
        mut leg: Leg,
        session: Session,
        random: Random,
        now: Nanos,
    ) {
        if let Some(former) = self.forwarder.associations.at(&key).beginning {
            self.end_session(former, CloseReason::Client);
        }
        if !self.shared.handshakes.begin(leg.client.ip()) {
            return self.station.counters.drops.add(Drop::DtlsHandshake, 1);
        }
        let listener = self.forwarder.listeners.get(key.listener as usize);
        let Some(listener) = listener.and_then(Option::as_ref) else { return };
        let Some(Terms { handshake_timeout, ledger, .. }) = listener.dtls else { return };
        self.given += 1;
        leg.stream = GIVEN_HERE | self.given << 8 | u64::from(self.index);
        let place = self.forwarder.associations.begin(Association {
            leg,
            key,
            session,
            client: None,
            ledger,
            handed_up: listener.handed_up,
            run: RunMark::default(),
            heard: now,
            deadline: Some(now.saturating_add(handshake_timeout)),
            waits: true,
            kept: Vec::new(),
            random,
        });
        self.count_sessions();
        self.waiting.push_back(place);
        self.go_on_with_handshakes(now);
    }

    /// Goes on with those that wait, as many as a turn has time for.
    pub(super) fn go_on_with_handshakes(&mut self, now: Nanos) {
        while self.steps < HANDSHAKES
            && let Some(place) = self.waiting.pop_front()
        {
            self.steps += 1;
            let associations = &mut self.forwarder.associations;
            let Some(association) = associations.places.get_mut(place) else { continue };
            association.waits = false;
            let kept = std::mem::take(&mut association.kept);
            self.go_on(place);
            for (fields, data) in kept {
                let inbound = self.put_into_a_slot(&data, fields, now);
                self.feed_session(place, inbound, now);
            }
        }
    }

    /// Goes on with a handshake; says whether the session is open now.
    fn go_on(&mut self, place: u32) -> bool {
        let associations = &mut self.forwarder.associations;
        let Some(association) = associations.places.get_mut(place) else { return false };
        let (leg, listener) = (association.leg, association.key.listener);
        let result = association.session.handshake(&mut associations.lent);
        self.forwarder.send_flight(listener, &leg);
        match result {
            Ok(false) => false,
            Ok(true) => {
                let associations = &mut self.forwarder.associations;
                let former = associations.open(place, &self.shared.handshakes);
                let opened = associations.places.get(place);
                let server_name = opened.and_then(|opened| opened.session.server_name());
                self.shared.hand_up.opened(leg, server_name);
                self.handed_up = true;
                if let Some(former) = former {
                    self.end_session(former, CloseReason::Client);
                }
                true
            }
            Err(_) => {
                self.end_session(place, CloseReason::HandshakeFailed);
                false
            }
        }
    }

    /// Handles a datagram of a client that is known. In a handshake it may have to wait.
    fn read_session(&mut self, place: u32, inbound: Inbound, now: Nanos) {
        let associations = &mut self.forwarder.associations;
        let Some(association) = associations.places.get_mut(place) else { return };
        if association.deadline.is_none() {
            return self.feed_session(place, inbound, now);
        }
        let bytes_untrusted = inbound.bytes(&self.arena);
        // Messages that come too early cost no more than others.
        let is_early = bytes_untrusted[0] == APPLICATION_DATA && is_single(bytes_untrusted);
        if !association.waits && (is_early || self.steps < HANDSHAKES) {
            self.steps += u32::from(!is_early);
            return self.feed_session(place, inbound, now);
        }
        if !association.keep(inbound.fields, bytes_untrusted) {
            self.station.counters.drops.add(Drop::DtlsHandshake, 1);
        } else if !std::mem::replace(&mut association.waits, true) {
            self.waiting.push_back(place);
        }
    }

    fn feed_session(&mut self, place: u32, inbound: Inbound, now: Nanos) {
        let bytes_untrusted = inbound.bytes(&self.arena);
        let is_message = bytes_untrusted[0] == APPLICATION_DATA;
        let single = is_single(bytes_untrusted);
        let associations = &mut self.forwarder.associations;
        let Some(association) = associations.places.get_mut(place) else { return };
        associations.lent.feed(bytes_untrusted);
        let (leg, listener) = (association.leg, association.key.listener);
        let was_open = association.deadline.is_none();
        if !was_open && !self.go_on(place) {
            return;
        }
        let ended = self.read_messages(place, inbound, is_message && was_open, single, now);
        self.forwarder.send_flight(listener, &leg);
        if ended {
            self.flush(now); // what came before the end is still sent
            self.end_session(place, CloseReason::Client);
        }
    }

    /// Handles the messages of the datagram that was fed; says whether the session is at its end.
    ///
    /// They are shorter than their records, and may take their place. But behind a handshake's last
    /// flight are also those that came too early and were kept, up to a hundred.
    fn read_messages(
        &mut self,
        place: u32,
        inbound: Inbound,
        in_place: bool,
        single: bool,
        now: Nanos,
    ) -> bool {
        let mut at = inbound.start;
        loop {
            let (slot, start, end) = if in_place {
                (inbound.slot, at, inbound.start + inbound.len)
            } else {
                (self.spare_slot(now), 0, SLOT_SIZE)
            };
            let associations = &mut self.forwarder.associations;
            let Some(association) = associations.places.get_mut(place) else { return false };
            let room = &mut self.arena.bytes_mut(slot)[start..end];
            match association.session.read(room, &mut associations.lent) {
                Ok(Read::Message(len)) => {
                    association.heard = now;
                    self.take_from_session(place, Inbound { slot, start, len, ..inbound }, now);
                    at = start + len;
                    if in_place && single {
                        return false;
                    }
                }
                Ok(Read::Nothing) => return false,
                Ok(Read::Closed) | Err(_) => return true,
            }
        }
    }

    fn take_from_session(&mut self, place: u32, inbound: Inbound, now: Nanos) {
        let Some(association) = self.forwarder.associations.places.get(place) else { return };
        let (client, leg, asked_for) = (association.client, association.leg, association.handed_up);
        self.take_message(Way::Session(place), client, leg, asked_for, inbound, now);
    }

    /// Ends the sessions of a listener, which is still there.
    pub(super) fn close_sessions_of(&mut self, listener: u32, now: Nanos) {
        let all = self.forwarder.associations.which(|each| each.key.listener == listener);
        for place in all {
            self.end_session(place, CloseReason::Server);
        }
        self.flush(now);
    }

    /// Time has passed: flights that were not answered go again, and deadlines are kept.
    pub(super) fn tick_sessions(&mut self, now: Nanos) {
        for place in self.forwarder.associations.which(|each| each.deadline.is_some()) {
            let associations = &mut self.forwarder.associations;
            let Some(association) = associations.places.get_mut(place) else { continue };
            let (leg, listener) = (association.leg, association.key.listener);
            let result = association.session.repeat(&mut associations.lent);
            self.forwarder.send_flight(listener, &leg);
            if result.is_err() {
                self.end_session(place, CloseReason::HandshakeTimeout);
            }
        }
        let Forwarder { associations, listeners, .. } = &self.forwarder;
        let overdue = associations.places.iter().filter_map(|(place, each)| {
            let listener = listeners.get(each.key.listener as usize)?.as_ref()?;
            Some((place, each.overdue(listener.dtls.as_ref()?.idle_timeout, now)?))
        });
        for (place, reason) in overdue.collect::<Vec<_>>() {
            self.end_session(place, reason);
        }
    }

    pub(super) fn end_session(&mut self, place: u32, reason: CloseReason) {
        let associations = &mut self.forwarder.associations;
        let Some(mut ended) = associations.remove(place, &self.shared.handshakes) else { return };
        if ended.waits {
            self.waiting.retain(|each| *each != place);
        }
        self.count_sessions();
        let clients = &mut self.forwarder.table.clients;
        if let Some(client) = ended.client.and_then(|client| clients.get_mut(client)) {
            client.way = Way::Gone;
        }
        let lost = self.held.end(&ended.leg).len() as u64;
        self.station.counters.drops.add(Drop::NoAllocation, lost);
        if ended.deadline.is_none() {
            ended.session.close(&mut self.forwarder.associations.lent);
            self.forwarder.send_flight(ended.key.listener, &ended.leg);
        }
        let standing = if ended.client.is_some() { Standing::Known } else { Standing::Stranger };
        self.shared.hand_up.closed(ended.leg, reason, standing);
        self.handed_up = true;
    }

    fn count_sessions(&self) {
        self.station.counters.sessions.set(self.forwarder.associations.places.len() as u64);
    }
}
