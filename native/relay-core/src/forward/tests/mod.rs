//! Packets through the tables without a kernel: what a driver would send is looked at in the
//! outbox. Descriptors are of /dev/null, since nothing is sent.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::*;
use crate::io::Token;
use crate::io::outbox::Transmit;
use crate::leg::Host;
use crate::rules::bucket;
use crate::rules::protection::Protection;
use crate::rules::relay::{RelayShared, Way};
use crate::rules::table::{NewRelay, Newcomer};
use crate::time::SECOND;

mod down;
mod offloading;
mod settling;
mod streams;
mod up;
mod warming;

const NOW: Nanos = 100 * SECOND;
/// When permissions end, then channels, then relays.
const LATER: [Nanos; 3] = [200 * SECOND, 300 * SECOND, 400 * SECOND];
const SLOTS: u32 = 8;
const CHANNEL: u16 = 0x4001;
const PEER: &str = "198.51.100.1:5000";
/// A peer with a permission and no channel.
const OTHER: &str = "198.51.100.2:5000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn descriptor() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

/// A message of the outbox, as it would leave.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    to: SocketAddr,
    packets: u32,
    bytes: Vec<u8>,
}

fn sent(to: &str, packets: u32, bytes: &[u8]) -> Sent {
    Sent { to: at(to), packets, bytes: bytes.to_vec() }
}

/// How many packets, by reason.
type Dropped = Vec<(Drop, u64)>;

/// One listener, one client, and its relay 1: a channel to `PEER`, permissions for it and `OTHER`.
struct Bench {
    forwarder: Forwarder,
    arena: Arena,
    slot: u32,
    client: u32,
    token: Token,
    shared: Arc<RelayShared>,
    /// Of what arrives.
    fields: Fields,
}

impl Bench {
    const CLIENT: &str = "192.0.2.9:4000";

    fn new() -> Self {
        Self::with(|_| (Way::Datagrams { listener: 0, to: at(Self::CLIENT).into() }, true))
    }

    fn with(way: impl FnOnce(&mut Forwarder) -> (Way, bool)) -> Self {
        Self::beside(None, way)
    }

    fn beside(
        offload: Option<Arc<dyn Offload>>,
        way: impl FnOnce(&mut Forwarder) -> (Way, bool),
    ) -> Self {
        let local = LocalHosts::new(Box::new(|host| host.is_loopback()));
        let around = Surroundings {
            relayed: Relayed::default(),
            local,
            budget: Default::default(),
            offload,
        };
        let mut forwarder = Forwarder::new(Arc::default(), Arc::new(around));
        forwarder.ledgers.push(Arc::default());
        let (id, socket, endpoint) = (7, Arc::new(descriptor()), at("203.0.113.1:3478"));
        forwarder.listeners.push(Some(Listener {
            id,
            socket,
            receives: true,
            endpoint,
            ledger: 0,
            handed_up: HandedUp::default(),
            proxies: Default::default(),
            plain: true,
            dtls: None,
        }));
        let shared = Arc::new(RelayShared::new(LATER[2]));
        let (socket, purses) = (descriptor(), Vec::new());
        let new = NewRelay { id: 1, socket, is_ipv4: true, purses, shared: shared.clone() };
        let place = forwarder.table.add(new);
        let (way, is_udp) = way(&mut forwarder);
        let (client, transport) = (at(Self::CLIENT), Transport::Udp);
        let leg = Leg { listener: 7, transport, local: endpoint, client, stream: 0, via: None };
        let key = is_udp.then_some(UdpKey { listener: 0, client, via: None, local: None });
        let newcomer = Newcomer { leg, way, key, ledger: 0 };
        let (client, _) = forwarder.table.assign(place, None, newcomer);
        for peer in [PEER, OTHER] {
            forwarder.table.permit(1, Host::from(at(peer)), LATER[0], NOW);
        }
        forwarder.table.bind_channel(1, CHANNEL, at(PEER), LATER[1], NOW);
        let token = forwarder.table.relays.get(place).unwrap().token;
        let (arena, slot) = (Arena::new(SLOTS as usize), 0);
        Self { forwarder, arena, slot, client, token, shared, fields: Fields::default() }
    }

    /// Puts bytes into a slot, as if they had arrived there.
    fn fill(&mut self, slot: u32, bytes: &[u8]) {
        self.arena.bytes_mut(slot)[..bytes.len()].copy_from_slice(bytes);
    }

    /// A message of the client.
    fn up(&mut self, bytes: &[u8]) -> Verdict {
        self.up_of(Some(self.client), bytes, NOW)
    }

    fn up_of(&mut self, client: Option<u32>, bytes: &[u8], now: Nanos) -> Verdict {
        self.slot = (self.slot + 1) % SLOTS; // what came before may still be in the outbox
        let slot = self.slot;
        self.fill(slot, bytes);
        let inbound =
            Inbound { slot, start: 0, len: bytes.len(), fields: self.fields, received: 0 };
        self.forwarder.from_client(&self.arena, client, inbound, now)
    }

    /// Datagrams of a peer that the kernel merged, each of `segment` bytes but the last.
    fn down(&mut self, from: &str, bytes: &[u8], segment: usize, now: Nanos) {
        self.slot = (self.slot + 1) % SLOTS;
        let slot = self.slot;
        self.fill(slot, bytes);
        let (len, segment) = (bytes.len() as u32, segment as u32);
        let (socket, from) = (self.token, at(from));
        let (start, via, to, fields, received) = (0, None, None, self.fields, 0);
        let all = Datagram { socket, slot, start, len, segment, from, via, to, fields, received };
        self.forwarder.from_peer(&mut self.arena, &all, now);
    }

    fn transmit(&self, index: usize) -> &Transmit {
        &self.forwarder.outbox.transmits()[index]
    }

    fn sent(&self) -> Vec<Sent> {
        let outbox = &self.forwarder.outbox;
        let one = |(index, transmit): (usize, &Transmit)| Sent {
            to: transmit.envelope.to.get().unwrap(),
            packets: transmit.packets,
            bytes: outbox.gather(index, &self.arena).flatten().copied().collect(),
        };
        outbox.transmits().iter().enumerate().map(one).collect()
    }

    /// What was dropped, by the worker's count and by the relay's.
    fn drops(&self) -> (Dropped, Dropped) {
        let named = |counts: [u64; Drop::ALL.len()]| {
            Drop::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
        };
        (named(self.forwarder.counters.drops.get()), named(self.shared.drops.get()))
    }

    #[track_caller]
    fn expect_drop(&self, reason: Drop, packets: u64) {
        assert_eq!(self.drops(), (vec![(reason, packets)], vec![(reason, packets)]));
        assert!(self.forwarder.outbox.is_empty());
    }

    /// Dropped before any relay was met.
    #[track_caller]
    fn expect_stray(&self, reason: Drop, packets: u64) {
        assert_eq!(self.drops(), (vec![(reason, packets)], vec![]));
        assert!(self.forwarder.outbox.is_empty());
    }

    /// Limits the relay to a bucket whose one account of 64 KiB is used up soon.
    fn limit(&mut self) {
        let bucket: Arc<bucket::Bucket> = Arc::default();
        bucket.set(8, NOW);
        let place = self.token.place() as u32;
        self.forwarder.table.relays.get_mut(place).unwrap().purses =
            vec![bucket::Purse::new(bucket)];
    }

    fn protect(&mut self, endpoints: &[&str], own: &[(&str, &str)]) {
        let endpoints: Vec<_> = endpoints.iter().map(|text| at(text)).collect();
        let own: Vec<_> =
            own.iter().map(|(one, two)| (one.parse().unwrap(), two.parse().unwrap())).collect();
        self.forwarder.table.protect(Arc::new(Protection::new(&endpoints, &own)));
    }
}
