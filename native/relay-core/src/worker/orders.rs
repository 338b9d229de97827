//! What the worker is told.

use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;

use super::Worker;
use crate::address::RawAddress;
use crate::connection::Connection;
use crate::counters::Drop;
use crate::dtls::association::Terms;
use crate::fields::Fields;
use crate::forward::Listener;
use crate::io::{Carried, Driver, Token};
use crate::leg::{CloseReason, Leg, Transport};
use crate::network::Networks;
use crate::orders::{Address, Adoption, Coming, Handover, Order};
use crate::rules::bucket::Purse;
use crate::rules::relay::{Client, Relay, Way};
use crate::rules::table::{NewRelay, Newcomer, UdpKey};
use crate::stream::Stream;
use crate::sys;
use crate::time::Nanos;

impl<D: Driver> Worker<D> {
    pub(super) fn obey(&mut self, now: Nanos) {
        while let Some(order) = self.orders.pop_front() {
            self.carry_out(order, now);
        }
    }

    fn carry_out(&mut self, order: Order, now: Nanos) {
        let table = &mut self.forwarder.table;
        match order {
            Order::Ledger(ledger) => self.forwarder.ledgers.push(ledger),
            Order::Listen(listener) => self.listen(listener),
            Order::CloseListener(index) => self.close_listener(index, now),
            Order::Trust(index, proxies) => self.trust(index, proxies),
            Order::Adopt(adoption) => self.adopt(*adoption, now),
            Order::ServeDtls(index, terms) => self.serve_dtls(index, *terms),
            Order::CloseLeg(stream, reason) => match self.way_of(stream) {
                Way::Stream(place) => self.end_connection(place, reason),
                Way::Session(place) => self.end_session(place, reason),
                Way::Datagrams { .. } | Way::Gone => (),
            },
            Order::Answer(stream, data) => self.answer(stream, &data, now),
            Order::Splice(splicing) => self.splice(*splicing, now),
            Order::Open(relay, address) => self.open(*relay, address),
            Order::Assign(id, address, purses) => {
                if let Some(place) = table.place_of(id) {
                    self.assign(place, &address, Some(purses));
                    self.forwarder.review(id, now);
                }
            }
            Order::Release(id, to) => self.release(id, &to, now),
            Order::Claim(from, address, purses) => {
                if let Ok(Some(handover)) = from.recv() {
                    self.claim(*handover, &address, Some(purses), now);
                }
            }
            Order::HoldBack(leg) => self.hold_back(leg),
            Order::HandOver(relays, address) => self.hand_over(relays, &address, now),
            Order::Depart(departure) => self.former.begin(*departure, now),
            Order::Permit(id, host, deadline) => {
                table.permit(id, host, deadline, now);
                self.forwarder.review(id, now);
            }
            Order::Bind(id, number, peer, deadline) => {
                table.bind_channel(id, number, peer, deadline, now);
                self.forwarder.review(id, now);
            }
            Order::Review(id) => self.forwarder.review(id, now),
            Order::Close(id) => self.close_relay(id),
            Order::Protect(protection) => {
                table.protect(protection);
                self.forwarder.review_all(now);
            }
            Order::KnowNonces(keys) => self.challenges.keys = Some(keys),
            Order::Challenge(listener, challenge) => self.challenges.set(listener, challenge),
            Order::Tick => self.tick(now),
            Order::Report(to) => {
                self.flush(now);
                self.buried.clear();
                // Who asked may have given up.
                let _ = to.send(());
            }
            Order::Stop => self.stop(),
        }
    }

    fn listen(&mut self, listener: Listener) {
        let token = Token::listener(self.forwarder.listeners.len() as u32);
        if listener.receives && self.driver.watch(listener.socket.as_fd(), token).is_err() {
            self.station.counters.faults.add(1);
        }
        self.has_proxies |= !listener.proxies.is_empty();
        self.forwarder.listeners.push(Some(listener));
    }

    fn trust(&mut self, index: u32, proxies: Networks) {
        if let Some(Some(listener)) = self.forwarder.listeners.get_mut(index as usize) {
            listener.proxies = proxies;
        }
        let mut listeners = self.forwarder.listeners.iter().flatten();
        self.has_proxies = listeners.any(|listener| !listener.proxies.is_empty());
    }

    fn serve_dtls(&mut self, index: u32, terms: Terms) {
        if let Some(Some(listener)) = self.forwarder.listeners.get_mut(index as usize) {
            listener.dtls = Some(terms);
        }
    }

    fn close_listener(&mut self, index: u32, now: Nanos) {
        self.close_sessions_of(index, now);
        let Some(place) = self.forwarder.listeners.get_mut(index as usize) else { return };
        let Some(listener) = place.take() else { return };
        self.challenges.set(listener.id, None);
        let lost = self.held.close_listener(listener.id);
        self.station.counters.drops.add(Drop::NoAllocation, lost);
        if listener.receives {
            self.driver.unwatch(listener.socket.as_fd(), Token::listener(index));
        }
    }

    fn adopt(&mut self, adoption: Adoption, now: Nanos) {
        let Adoption { socket, leg, settings, tls, since, first_bytes, ledger, handed_up } =
            adoption;
        let fields = Fields::of_stream(sys::options::class_of_stream(socket.as_fd()));
        let stream = match &tls {
            Some(tls) => Stream::tls(socket.into(), &settings, tls, &first_bytes, since),
            None => Stream::tcp(socket.into(), &settings, &first_bytes),
        };
        let place = self.forwarder.connections.add(|place, generation| Connection {
            leg,
            token: Token::stream(place, generation),
            stream,
            fields,
            client: None,
            ledger,
            handed_up,
            unflushed: false,
            unread: false,
            waits: false,
            spliced: None,
        });
        self.streams.insert(leg.stream, place);
        let Some(connection) = self.forwarder.connections.get(place) else { return };
        let watched = self.driver.watch(connection.stream.as_fd(), connection.token);
        if watched.is_err() {
            return self.end_connection(place, CloseReason::Server);
        }
        // A handshake's bytes are announced by the driver, unless they have been read already.
        if tls.is_none() {
            self.read_stream(place, now);
        } else if !first_bytes.is_empty() {
            self.mark_unread(place);
        }
    }

    pub(super) fn answer(&mut self, stream: u64, data: &[u8], now: Nanos) {
        if self.forwarder.outbox.is_full() {
            self.send(now);
        }
        self.answer_by(self.way_of(stream), data);
    }

    /// Where a connection is.
    fn way_of(&self, stream: u64) -> Way {
        let of_stream = || self.streams.get(&stream).copied().map(Way::Stream);
        let of_session = || self.forwarder.associations.place_of(stream).map(Way::Session);
        of_stream().or_else(of_session).unwrap_or(Way::Gone)
    }

    fn open(&mut self, relay: NewRelay, address: Option<Address>) {
        let place = self.forwarder.table.add(relay);
        if let Some(address) = address {
            self.assign(place, &address, None);
        }
    }

    /// Lets a relay serve a client; only now is it read, so that nothing arrived is lost.
    fn assign(&mut self, place: u32, address: &Address, purses: Option<Vec<Purse>>) {
        let (client, newcomer) = self.newcomer(address);
        self.former.end(&address.leg);
        let (client, idle) = self.forwarder.table.assign(place, client, newcomer);
        self.settle_in(place, client, newcomer.way, purses);
        self.forget_client(idle);
    }

    /// Who relays are given to, and his place if he has one. A stream may have ended meanwhile:
    /// Python will hear of it, and decides what becomes of them.
    pub(super) fn newcomer(&self, address: &Address) -> (Option<u32>, Newcomer) {
        let Address { leg, listener, wildcard, ledger } = *address;
        if leg.transport == Transport::Udp {
            let local = wildcard.then(|| leg.local.ip());
            let key = UdpKey { listener, client: leg.client, via: leg.via, local };
            let way = Way::Datagrams { listener, to: RawAddress::from(leg.sender()) };
            let client = self.forwarder.table.client_of(&key);
            return (client, Newcomer { leg, way, key: Some(key), ledger });
        }
        let way = self.way_of(leg.stream);
        let forwarder = &self.forwarder;
        let client = match way {
            Way::Stream(place) => forwarder.connections.get(place).and_then(|each| each.client),
            Way::Session(place) => {
                forwarder.associations.places.get(place).and_then(|each| each.client)
            }
            Way::Datagrams { .. } | Way::Gone => None,
        };
        (client, Newcomer { leg, way, key: None, ledger })
    }

    fn settle_in(&mut self, place: u32, client: u32, way: Way, purses: Option<Vec<Purse>>) {
        if let Way::Stream(stream) = way
            && let Some(connection) = self.forwarder.connections.get_mut(stream)
        {
            connection.client = Some(client);
            connection.stream.expect_media();
        }
        if let Way::Session(session) = way
            && let Some(association) = self.forwarder.associations.places.get_mut(session)
        {
            association.client = Some(client);
        }
        let Some(relay) = self.forwarder.table.relays.get_mut(place) else { return };
        if let Some(purses) = purses {
            relay.purses = purses;
        }
        if !relay.watched {
            relay.watched = self.driver.watch(relay.socket.as_fd(), relay.token).is_ok();
            if !relay.watched {
                self.station.counters.faults.add(1);
            }
        }
    }

    fn forget_client(&mut self, idle: Option<Client>) {
        if let Some(Client { way: Way::Stream(stream), .. }) = idle
            && let Some(connection) = self.forwarder.connections.get_mut(stream)
        {
            connection.client = None;
        }
        if let Some(Client { way: Way::Session(session), .. }) = idle
            && let Some(association) = self.forwarder.associations.places.get_mut(session)
        {
            association.client = None;
        }
    }

    fn release(&mut self, id: u64, to: &SyncSender<Option<Box<Handover>>>, now: Nanos) {
        self.send(now); // what leaves by its socket, while that is ours
        self.forwarder.offloaded.end(id);
        let taken = self.forwarder.table.take(id).map(|(mut moving, idle)| {
            self.forget_client(idle);
            let relay = moving.relay_mut();
            if std::mem::take(&mut relay.watched) {
                let (socket, arrivals) = (relay.socket.as_fd(), &mut self.arrivals);
                self.driver.hand_on(socket, relay.token, &self.arena, arrivals);
            }
            let received = self.arrivals.take_from(relay.token, &self.arena);
            Box::new(Handover { moving, received })
        });
        // Who asked may have given up.
        let _ = to.send(taken);
    }

    fn claim(
        &mut self,
        handover: Handover,
        address: &Address,
        purses: Option<Vec<Purse>>,
        now: Nanos,
    ) {
        let Handover { moving, received } = handover;
        let (client, newcomer) = self.newcomer(address);
        self.former.end(&address.leg);
        let (place, client) = self.forwarder.table.put(moving, client, newcomer);
        self.settle_in(place, client, newcomer.way, purses);
        let Some(relay) = self.forwarder.table.relays.get(place) else { return };
        let (id, socket) = (relay.id, relay.token);
        self.forwarder.review(id, now);
        for carried in received {
            self.datagram_from_elsewhere(&Carried { socket, ..carried }, now);
        }
    }

    fn hold_back(&mut self, leg: Leg) {
        if leg.transport != Transport::Udp {
            match self.way_of(leg.stream) {
                Way::Stream(place) => {
                    let Some(connection) = self.forwarder.connections.get_mut(place) else {
                        return;
                    };
                    connection.stream.expect_media();
                }
                Way::Session(_) => (),
                Way::Datagrams { .. } | Way::Gone => return,
            }
        }
        self.former.end(&leg);
        self.held.begin(leg);
    }

    fn hand_over(&mut self, relays: Vec<Coming>, address: &Address, now: Nanos) {
        for relay in relays {
            match relay {
                Coming::Here(id) => {
                    if let Some(place) = self.forwarder.table.place_of(id) {
                        self.assign(place, address, None);
                        self.forwarder.review(id, now);
                    }
                }
                Coming::From(worker) => {
                    if let Ok(Some(handover)) = worker.recv() {
                        self.claim(*handover, address, None, now);
                    }
                }
            }
        }
        let (client, _) = self.newcomer(address);
        for (fields, data) in self.held.end(&address.leg) {
            self.media_from_elsewhere(client, fields, &data, now);
        }
    }

    fn close_relay(&mut self, id: u64) {
        self.forwarder.offloaded.end(id);
        let Some((relay, idle)) = self.forwarder.table.remove(id) else { return };
        self.forget_client(idle);
        self.bury(relay);
    }

    fn bury(&mut self, relay: Relay) {
        if relay.watched {
            self.driver.unwatch(relay.socket.as_fd(), relay.token);
        }
        relay.shared.set_deadline(0);
        // Packets of this turn may still be sent by it.
        self.buried.push(relay.socket);
    }

    fn tick(&mut self, now: Nanos) {
        self.forwarder.review_all(now);
        self.forwarder.table.tidy(now);
        self.former.tidy(now);
        self.look_at_pipes(now);
        let overdue: Vec<(u32, CloseReason)> = self
            .forwarder
            .connections
            .iter()
            .filter_map(|(place, connection)| {
                let reason = match &connection.spliced {
                    None => connection.stream.overdue(now),
                    Some(spliced) => spliced.overdue(now),
                };
                Some((place, reason?))
            })
            .collect();
        for (place, reason) in overdue {
            self.end_connection(place, reason);
        }
        self.tick_sessions(now);
    }

    pub(super) fn stop(&mut self) {
        let places: Vec<u32> = self.forwarder.connections.iter().map(|(place, _)| place).collect();
        for place in places {
            self.end_connection(place, CloseReason::Server);
        }
        for place in self.forwarder.associations.which(|_| true) {
            self.end_session(place, CloseReason::Server);
        }
        self.stopped = true;
    }
}
