//! Relayed transport addresses and their rules.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::{Endpoint, Engine, OBEYING, Placed, RelayError, STAMPED, worker_of};
use crate::leg::{Host, Leg, Transport};
use crate::orders::{Address, Coming, Departure, Order};
use crate::rules::relay::RelayShared;
use crate::rules::table::NewRelay;
use crate::sys;
use crate::sys::options::Buffers;
use crate::sys::socket::SocketOptions;
use crate::time::nanos;

impl Engine {
    /// Binds a relayed transport address for a leg; without a leg it is a reservation.
    ///
    /// # Errors
    /// Why it cannot be bound.
    pub fn open_relay(
        &mut self,
        leg: Option<&Leg>,
        bound: SocketAddr,
        deadline: f64,
        buckets: &[u64],
    ) -> Result<u64, RelayError> {
        let address = match leg {
            Some(leg) => Some(self.address_of(leg).ok_or(RelayError::Other)?),
            None => None,
        };
        if leg.is_some_and(|leg| self.has_relay(leg, bound.is_ipv4())) {
            return Err(RelayError::Other);
        }
        let options = SocketOptions { buffers: self.buffers_for(leg), shared: false };
        let socket = match sys::socket::bind_udp(bound, &options) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) && self.closings => {
                self.await_closings();
                sys::socket::bind_udp(bound, &options)?
            }
            other => other?,
        };
        let bound =
            if bound.port() == 0 { sys::socket::local_addr(socket.as_fd())? } else { bound };
        let worker = match leg {
            Some(leg) => self.worker_of_leg(leg),
            None => self.opened % self.workers(),
        };
        let id = self.handle(worker);
        sys::options::prepare_relay(
            socket.as_fd(),
            bound.is_ipv6(),
            self.opened.is_multiple_of(STAMPED),
        )?;
        self.opened = self.opened.wrapping_add(1);
        let shared = Arc::new(RelayShared::new(nanos(deadline)));
        let face = self.protection.face(bound.ip());
        self.shared.around.relayed.add(bound, shared.clone(), face);
        let purses = self.purses(buckets);
        let relay =
            NewRelay { id, socket, is_ipv4: bound.is_ipv4(), purses, shared: shared.clone() };
        self.order_now(worker, Order::Open(Box::new(relay), address));
        if let Some(leg) = leg {
            self.legs.entry(*leg).or_default().push(id);
        }
        self.relays.insert(id, Placed { leg: leg.copied(), bound, worker, shared });
        Ok(id)
    }

    fn has_relay(&self, leg: &Leg, is_ipv4: bool) -> bool {
        let relays = self.legs.get(leg).into_iter().flatten();
        relays.filter_map(|id| self.relays.get(id)).any(|relay| relay.bound.is_ipv4() == is_ipv4)
    }

    /// Where a leg's packets are handled; None: it has ended.
    fn address_of(&mut self, leg: &Leg) -> Option<Address> {
        let (listener, wildcard) = if leg.transport == Transport::Udp {
            let Some(Endpoint::Udp { index, bound, .. }) = self.endpoints.get(&leg.listener) else {
                return None;
            };
            (*index, bound.ip().is_unspecified())
        } else {
            self.streams.get(&leg.stream)?;
            (0, false)
        };
        let ledger = self.ledger(leg.listener, leg.transport);
        Some(Address { leg: *leg, listener, wildcard, ledger })
    }

    fn worker_of_leg(&self, leg: &Leg) -> u32 {
        match leg.transport {
            Transport::Udp => self.shared.worker_of(leg.sender()),
            Transport::Tcp | Transport::Tls | Transport::Dtls => worker_of(leg.stream),
        }
    }

    fn buffers_for(&self, leg: Option<&Leg>) -> Buffers {
        match leg.and_then(|leg| self.endpoints.get(&leg.listener)) {
            Some(Endpoint::Udp { buffers, .. }) => *buffers,
            Some(Endpoint::Streams(_)) | None => self.largest_buffers(),
        }
    }

    fn largest_buffers(&self) -> Buffers {
        let all = self.endpoints.values().filter_map(|endpoint| match endpoint {
            Endpoint::Udp { buffers, .. } => Some(*buffers),
            Endpoint::Streams(_) => None,
        });
        all.max_by_key(|buffers| buffers.receive).unwrap_or_default()
    }

    /// Waits until all workers have closed what they were told to; if they do not, the port is as
    /// good as taken.
    fn await_closings(&mut self) {
        self.closings = false;
        self.await_workers(0..self.workers(), OBEYING);
    }

    /// Waits until workers have obeyed, or for so long.
    pub(super) fn await_workers(&self, workers: Range<u32>, limit: Duration) {
        if self.threads.is_empty() {
            return;
        }
        let (to, from) = sync_channel(workers.len());
        for worker in workers.clone() {
            self.order_at_once(worker, Order::Report(to.clone()));
        }
        drop(to); // a worker that has ended will not report
        for _ in workers {
            if from.recv_timeout(limit).is_err() {
                return;
            }
        }
    }

    /// Packets that a worker moves meet its orders first. Those that an offload moves do not: what
    /// was ordered is in force when the workers have told it.
    pub(super) fn await_offload(&self, workers: Range<u32>) {
        if self.shared.around.offload.is_some() {
            self.await_workers(workers, OBEYING);
        }
    }

    /// Gives a relay to another leg; nothing that has arrived is lost.
    pub fn move_relay(&mut self, id: u64, leg: &Leg, deadline: f64, buckets: &[u64]) {
        let Some(address) = self.address_of(leg) else { return };
        let purses = self.purses(buckets);
        let to = self.worker_of_leg(leg);
        let Some(relay) = self.relays.get_mut(&id) else { return };
        relay.shared.set_deadline(nanos(deadline));
        let from = std::mem::replace(&mut relay.worker, to);
        if let Some(former) = relay.leg.replace(*leg) {
            self.forget_relay_of(&former, id);
        }
        self.legs.entry(*leg).or_default().push(id);
        if from == to {
            self.order_now(to, Order::Assign(id, address, purses));
        } else {
            let (give, take) = sync_channel(1);
            // The other worker waits for it, with all its packets.
            self.order_at_once(from, Order::Release(id, give));
            self.order_now(to, Order::Claim(take, address, purses));
        }
        self.await_offload(to..to + 1);
    }

    /// Keeps the media of a leg without relays, until some are handed over to it.
    pub fn hold_back(&mut self, leg: &Leg) {
        if !self.legs.contains_key(leg) && self.address_of(leg).is_some() {
            self.order_now(self.worker_of_leg(leg), Order::HoldBack(*leg));
        }
    }

    /// Gives relays to another leg as they are, all at once; nothing that has arrived is lost, and
    /// what was held back of the leg follows.
    pub fn hand_over(&mut self, ids: &[u64], leg: &Leg) {
        let Some(address) = self.address_of(leg) else { return };
        let to = self.worker_of_leg(leg);
        let (mut relays, mut releases) = (Vec::with_capacity(ids.len()), Vec::new());
        let mut former = None;
        for id in ids {
            let Some(relay) = self.relays.get_mut(id) else { continue };
            let from = std::mem::replace(&mut relay.worker, to);
            if let Some(other) = relay.leg.replace(*leg) {
                self.forget_relay_of(&other, *id);
                former = Some(other);
            }
            self.legs.entry(*leg).or_default().push(*id);
            relays.push(if from == to {
                Coming::Here(*id)
            } else {
                let (give, take) = sync_channel(1);
                releases.push((from, Order::Release(*id, give)));
                Coming::From(take)
            });
        }
        // What the former leg still sends has its way before its relays are gone, and they are
        // expected before it comes.
        if let Some(leg) = former.filter(|former| !self.legs.contains_key(former)) {
            let departure = Departure { leg, to: address, worker: to };
            self.order(self.worker_of_leg(&leg), Order::Depart(Box::new(departure)));
        }
        self.order_now(to, Order::HandOver(relays, address));
        for (from, release) in releases {
            self.order_at_once(from, release);
        }
        self.await_offload(to..to + 1);
    }

    /// A stream has ended: its relays serve nobody.
    pub(super) fn abandon(&mut self, leg: &Leg) {
        for id in self.legs.remove(leg).unwrap_or_default() {
            if let Some(relay) = self.relays.get_mut(&id) {
                relay.leg = None;
            }
        }
    }

    fn forget_relay_of(&mut self, leg: &Leg, id: u64) {
        if let Some(relays) = self.legs.get_mut(leg) {
            relays.retain(|other| *other != id);
            if relays.is_empty() {
                self.legs.remove(leg);
            }
        }
    }

    /// Installs or extends a permission; a deadline that has passed removes it. The port of the
    /// address does not matter.
    pub fn permit(&self, id: u64, peer: SocketAddr, deadline: f64) {
        if let Some(relay) = self.relays.get(&id) {
            self.order(relay.worker, Order::Permit(id, Host::from(peer), nanos(deadline)));
            self.await_offload(relay.worker..relay.worker + 1);
        }
    }

    /// Installs or extends a channel binding; a deadline that has passed removes it.
    pub fn bind_channel(&self, id: u64, number: u16, peer: SocketAddr, deadline: f64) {
        if let Some(relay) = self.relays.get(&id) {
            self.order(relay.worker, Order::Bind(id, number, peer, nanos(deadline)));
            self.await_offload(relay.worker..relay.worker + 1);
        }
    }

    /// Sets the relay's end, sooner or later than before.
    pub fn extend(&self, id: u64, deadline: f64) {
        if let Some(relay) = self.relays.get(&id) {
            relay.shared.set_deadline(nanos(deadline));
            if self.shared.around.offload.is_some() {
                self.order(relay.worker, Order::Review(id));
                self.await_offload(relay.worker..relay.worker + 1);
            }
        }
    }

    /// Closes the socket and forgets all its rules.
    pub fn close_relay(&mut self, id: u64) {
        let Some(relay) = self.relays.remove(&id) else { return };
        if let Some(leg) = relay.leg {
            self.forget_relay_of(&leg, id);
        }
        self.shared.around.relayed.remove(relay.bound);
        relay.shared.set_deadline(0);
        self.order_now(relay.worker, Order::Close(id));
        self.closings = true;
        self.await_offload(relay.worker..relay.worker + 1);
    }

    pub(super) fn close_relays_of(&mut self, leg: &Leg) {
        for id in self.legs.get(leg).cloned().unwrap_or_default() {
            self.close_relay(id);
        }
    }
}
