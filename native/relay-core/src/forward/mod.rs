//! Moves packets by the tables, in either direction: looked up once for all datagrams that the
//! kernel merged, and put into the outbox from where they lie.
//!
//! What is looked up here is precomputed in the tables; whatever is rare has a function of its own.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::connection::Connection;
use crate::counters::{Count, Drop, Drops, Traffic};
use crate::dtls::association::{Associations, Terms};
use crate::fields::Fields;
use crate::histogram::Histogram;
use crate::io::arena::Arena;
use crate::io::outbox::{Outbox, Piece};
use crate::io::{Datagram, Kind};
use crate::leg::{Leg, Transport};
use crate::network::Networks;
use crate::offload::{Offload, Offloaded};
use crate::places::Places;
use crate::rules::budget::AnswerBudget;
use crate::rules::protection::{LocalHosts, Relayed};
use crate::rules::relay::find;
use crate::rules::table::{Table, UdpKey};
use crate::time::Nanos;
use crate::wire::binding::BindingRequest;
use crate::wire::challenge::FirstRequest;

use self::warming::Warming;

mod downward;
mod offloading;
mod secured;
mod upward;
mod warming;

/// What all workers of an engine see.
#[derive(Debug)]
pub struct Surroundings {
    /// Every relayed transport address at this moment.
    pub relayed: Relayed,
    /// Which hosts are addresses of this machine.
    pub local: LocalHosts,
    /// What strangers may be answered.
    pub budget: AnswerBudget,
    /// Who moves channels in our place, where such a path was found.
    pub offload: Option<Arc<dyn Offload>>,
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Packets that went no further.
    pub drops: Drops,
    /// How long packets spend inside.
    pub latency: Histogram,
    /// Plain Binding requests that were answered.
    pub bindings: Count,
    /// First requests that were challenged.
    pub challenges: Count,
    /// ICMP errors that clients were told of.
    pub icmp_errors: Count,
    /// Requests of either kind and hellos of DTLS that the budget held back.
    pub over_budget: Count,
    /// DTLS clients now, those in their handshake included.
    pub sessions: Count,
    /// Faults of ours that a turn ended with.
    pub faults: Count,
}

/// Which Binding requests go up that could be answered here, or would be dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedUp {
    /// Plain ones: there is more to say to them than is known here.
    pub plain: bool,
    /// Those of RFC 3489, by UDP.
    pub classic: bool,
}

/// One listener of one worker.
#[derive(Debug)]
pub struct Listener {
    /// Its handle.
    pub id: u64,
    /// Its socket; the engine sends answers by it as well.
    pub socket: Arc<OwnedFd>,
    /// Whether this worker receives by it; else its packets are passed on by one who does.
    pub receives: bool,
    /// Where it is bound.
    pub endpoint: SocketAddr,
    /// Index of its ledger.
    pub ledger: u32,
    /// Binding requests that Python wants to see.
    pub handed_up: HandedUp,
    /// Whose datagrams begin with a PROXY header.
    pub proxies: Networks,
    /// Whether what comes without DTLS is served.
    pub plain: bool,
    /// What DTLS is served with, if it is.
    pub dtls: Option<Terms>,
}

/// What remains to be done about a packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Done,
    /// A plain Binding request is to be answered, here or by Python.
    Answer(BindingRequest),
    /// A Binding request without magic cookie: for Python, or no STUN at all.
    Classic,
    /// A request without integrity is to be challenged, if it is known how; else Python decides.
    Challenge(FirstRequest),
    /// Python is to decide.
    Decide,
}

/// Bytes of a packet or frame of a client: where they lie, and when they came.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    /// The slot.
    pub slot: u32,
    /// Where in it.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// What the IP header says beside.
    pub fields: Fields,
    /// When the kernel received it, if that is measured; else 0.
    pub received: Nanos,
}

impl Inbound {
    /// The bytes.
    #[must_use]
    pub fn bytes<'a>(&self, arena: &'a Arena) -> &'a [u8] {
        &arena.bytes(self.slot, self.start + self.len)[self.start..]
    }

    fn piece(&self, from: usize, len: usize) -> Piece {
        Piece::of_slot(self.slot, (self.start + from) as i32, len)
    }
}

/// The tables of one worker with what leaves by them.
pub struct Forwarder {
    /// Relays and their clients.
    pub table: Table,
    /// What leaves at the end of the turn.
    pub outbox: Outbox,
    /// The UDP endpoints of clients.
    pub listeners: Vec<Option<Listener>>,
    /// TCP and TLS connections.
    pub connections: Places<Connection>,
    /// Clients by DTLS.
    pub associations: Associations,
    /// Streams with something to send when the turn ends, by place.
    pub unflushed: Vec<u32>,
    /// What was relayed, by the listener and transport of the client's leg.
    pub ledgers: Vec<Arc<Traffic>>,
    /// What is counted beside.
    pub counters: Arc<WorkerCounters>,
    /// What all workers see.
    pub around: Arc<Surroundings>,
    /// What somebody else moves.
    pub offloaded: Offloaded,
    warming: Warming,
    random: fastrand::Rng,
}

impl Forwarder {
    /// Empty tables.
    #[must_use]
    pub fn new(counters: Arc<WorkerCounters>, around: Arc<Surroundings>) -> Self {
        Self {
            table: Table::default(),
            outbox: Outbox::default(),
            listeners: Vec::new(),
            connections: Places::default(),
            associations: Associations::default(),
            unflushed: Vec::new(),
            ledgers: Vec::new(),
            counters,
            offloaded: Offloaded::new(around.offload.clone()),
            around,
            warming: Warming::default(),
            random: fastrand::Rng::new(),
        }
    }

    /// The client that a datagram of a listener is of, if it has a relay.
    #[must_use]
    pub fn client_of(&self, datagram: &Datagram) -> Option<u32> {
        let listener = datagram.socket.place() as u32;
        let Datagram { from: client, via, to: local, .. } = *datagram;
        self.table.client_of(&UdpKey { listener, client, via, local })
    }

    /// The leg of a datagram of a listener.
    #[must_use]
    pub fn leg_of(&self, datagram: &Datagram) -> Option<Leg> {
        let listener = self.listeners.get(datagram.socket.place())?.as_ref()?;
        let local = match datagram.to {
            Some(host) => SocketAddr::new(host, listener.endpoint.port()),
            None => listener.endpoint,
        };
        let (listener, client, via) = (listener.id, datagram.from, datagram.via);
        Some(Leg { listener, transport: Transport::Udp, local, client, stream: 0, via })
    }

    fn drop_of(&self, relay: u32, reason: Drop, packets: u64) {
        self.counters.drops.add(reason, packets);
        if let Some(relay) = self.table.relays.get(relay) {
            relay.shared.drops.add(reason, packets);
        }
    }

    /// Notes what became of what the driver was to send, and empties the outbox. Says whether any
    /// of it was relayed.
    pub fn settle(&mut self, now: Nanos, wall_clock: Nanos) -> bool {
        let mut relayed = false;
        for transmit in self.outbox.transmits() {
            let envelope = &transmit.envelope;
            let reason = Drop::of_errno(transmit.errno);
            if transmit.lost > 0 {
                self.counters.drops.add(reason, u64::from(transmit.lost));
            }
            if transmit.received != 0 {
                self.counters.latency.record(wall_clock.saturating_sub(transmit.received));
            }
            if envelope.relay.kind() != Kind::Relay {
                continue; // a message of ours
            }
            relayed = true;
            let sent = transmit.packets - transmit.lost;
            let payload = match transmit.lost {
                0 => transmit.payload,
                _ => transmit.payload * u64::from(sent) / u64::from(transmit.packets),
            };
            let (upward, sent) = (envelope.upward, u64::from(sent));
            if let Some(ledger) = self.ledgers.get(envelope.ledger as usize).filter(|_| sent > 0) {
                ledger.add(upward, sent, payload, now);
            }
            let Some(relay) = find(&mut self.table.relays, envelope.relay) else { continue };
            if sent > 0 {
                relay.shared.traffic.add(upward, sent, payload, now);
            }
            if transmit.lost > 0 {
                relay.shared.drops.add(reason, u64::from(transmit.lost));
            }
            if transmit.refused_run && upward {
                relay.runs = false;
            } else if transmit.refused_run {
                let tenant = relay.client.and_then(|client| self.table.clients.get_mut(client));
                tenant.into_iter().for_each(|tenant| tenant.runs = false);
            }
        }
        self.outbox.clear();
        relayed
    }
}

#[cfg(test)]
mod tests;
