//! With thousands of clients, what a packet is looked up in is in no near cache. Its looks depend on
//! each other and wait for memory one after the other; those of several packets do not. So a batch
//! is looked up as a whole, step by step, before any of it is handled: what is found then is near.

use std::hint::black_box;

use super::Forwarder;
use crate::io::{Datagram, Kind};

/// Fewer clients than these are near anyhow.
pub(super) const MANY: u32 = 256;

/// Places of the clients and relays of a batch.
#[derive(Debug, Default)]
pub(super) struct Warming {
    clients: Vec<u32>,
    pub(super) relays: Vec<u32>,
}

impl Forwarder {
    /// Brings near what a batch will be looked up in.
    pub fn warm(&mut self, datagrams: &[Datagram]) {
        if datagrams.len() < 2 || self.table.clients.capacity() < MANY {
            return;
        }
        let Warming { mut clients, mut relays } = std::mem::take(&mut self.warming);
        clients.clear();
        relays.clear();
        for datagram in datagrams {
            match datagram.socket.kind() {
                Kind::Listener => clients.extend(self.client_of(datagram)),
                Kind::Relay => relays.push(datagram.socket.place() as u32),
                Kind::Wake | Kind::Stream | Kind::Peer => (),
            }
        }
        let client_of = |place: &u32| self.table.relays.get(*place)?.client;
        clients.extend(relays.iter().filter_map(client_of));
        let relay_of = |place: &u32| {
            let client = self.table.clients.get(*place)?;
            black_box(client.channels.first().map(|channel| channel.deadline));
            client.relays.first().copied()
        };
        relays.clear();
        relays.extend(clients.iter().filter_map(relay_of));
        for relay in relays.iter().filter_map(|place| self.table.relays.get(*place)) {
            black_box(relay.shared.deadline());
        }
        self.warming = Warming { clients, relays };
    }
}
