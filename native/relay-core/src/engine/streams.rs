//! Connections that were accepted elsewhere, and answers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use super::{Endpoint, Engine, Streams, worker_of};
use crate::handup::Standing;
use crate::leg::{CloseReason, Leg, Transport};
use crate::orders::{Adoption, Order, Splicing};

impl Engine {
    /// Takes over a connected stream. Its leg's handle tells it from all others.
    pub fn adopt(&mut self, socket: OwnedFd, mut leg: Leg, first_bytes: Vec<u8>) -> Leg {
        // Streams are spread evenly: a worker gets as many as the next.
        self.adopted = self.adopted.wrapping_add(1);
        let worker = self.adopted % self.workers();
        leg.stream = self.handle(worker);
        let ledger = self.ledger(leg.listener, leg.transport);
        let Some(Endpoint::Streams(streams)) = self.endpoints.get(&leg.listener) else {
            return self.refuse(leg);
        };
        let Streams { settings, tls, handed_up } = streams.clone();
        let tls = if leg.transport == Transport::Tls { tls } else { None };
        if leg.transport == Transport::Tls && tls.is_none() {
            return self.refuse(leg);
        }
        self.streams.insert(leg.stream, leg);
        let since = self.shared.clock.now();
        let adoption =
            Adoption { socket, leg, settings, tls, since, first_bytes, ledger, handed_up };
        self.order_now(worker, Order::Adopt(Box::new(adoption)));
        leg
    }

    /// The listener was closed while the connection was on its way.
    fn refuse(&self, leg: Leg) -> Leg {
        self.shared.hand_up.closed(leg, CloseReason::Server, Standing::Stranger);
        self.shared.bell.ring();
        leg
    }

    /// Ends a stream.
    pub fn close_leg(&mut self, leg: &Leg, reason: CloseReason) {
        if self.streams.remove(&leg.stream).is_some() {
            self.abandon(leg);
            self.order_now(worker_of(leg.stream), Order::CloseLeg(leg.stream, reason));
        }
    }

    /// Makes a stream and a peer's connected socket one pipe; the answer is sent first. False: the
    /// stream's end has been told already.
    pub fn splice(&mut self, leg: &Leg, peer: OwnedFd, answer: &[u8], buckets: &[u64]) -> bool {
        let stream = leg.stream;
        if !self.streams.contains_key(&stream) {
            return false;
        }
        let purses = self.purses(buckets);
        let splicing = Splicing { stream, peer, answer: answer.into(), purses };
        self.order_now(worker_of(stream), Order::Splice(Box::new(splicing)));
        true
    }

    /// Sends a STUN message to a client, from the address it came to; by UDP from another endpoint
    /// of ours where one is named.
    pub fn send_to_client(&mut self, leg: &Leg, data: &[u8], from: Option<SocketAddr>) {
        if leg.transport != Transport::Udp {
            if self.streams.contains_key(&leg.stream) {
                self.order_now(worker_of(leg.stream), Order::Answer(leg.stream, data.into()));
            }
            return;
        }
        let endpoint = match from {
            Some(local) => endpoint_at(&self.endpoints, local),
            None => self.endpoints.get(&leg.listener),
        };
        let Some(Endpoint::Udp { bound, sockets, .. }) = endpoint else { return };
        let from = bound.ip().is_unspecified().then(|| from.unwrap_or(leg.local).ip());
        if self.answers.add(&sockets[0], leg, from, data) || !self.holding {
            self.answers.send(&self.drops);
        }
    }
}

/// The UDP endpoint that serves an address of ours: its own, or that of all addresses.
fn endpoint_at(endpoints: &HashMap<u64, Endpoint>, local: SocketAddr) -> Option<&Endpoint> {
    let bound_to = |wanted: SocketAddr| {
        endpoints
            .values()
            .find(|each| matches!(each, Endpoint::Udp { bound, .. } if *bound == wanted))
    };
    let everywhere: IpAddr =
        if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    bound_to(local).or_else(|| bound_to(SocketAddr::new(everywhere, local.port())))
}
