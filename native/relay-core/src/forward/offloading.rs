//! Which channels an offload may move, and until when.

use std::os::fd::AsFd;

use super::Forwarder;
use crate::leg::Host;
use crate::offload::{CountedIn, Flow};
use crate::rules::relay::{Client, Relay, Way};
use crate::time::Nanos;

impl Forwarder {
    /// Something about a relay has changed: tells what that means for its client's flows.
    pub fn review(&mut self, id: u64, now: Nanos) {
        if !self.offloaded.has_path() {
            return;
        }
        let place = self.table.place_of(id);
        let Some(relay) = place.and_then(|place| self.table.relays.get(place)) else { return };
        // A number that one relay of a client takes, the other loses.
        let tenant = relay.client.and_then(|client| self.table.clients.get(client));
        for place in tenant.map(|tenant| tenant.relays.clone()).unwrap_or_default() {
            self.review_at(place, now);
        }
    }

    /// Time has passed, or what is protected has changed: counts what has been moved, and tells
    /// what goes on.
    pub fn review_all(&mut self, now: Nanos) {
        if !self.offloaded.has_path() {
            return;
        }
        self.offloaded.count();
        let places: Vec<u32> = self.table.relays.iter().map(|(place, _)| place).collect();
        for place in places {
            self.review_at(place, now);
        }
    }

    fn review_at(&mut self, place: u32, now: Nanos) {
        let Some(relay) = self.table.relays.get(place) else { return };
        let tenant = relay.client.and_then(|client| self.table.clients.get(client));
        let Some(tenant) = tenant else { return };
        let Some(ledger) = self.ledgers.get(tenant.ledger as usize) else { return };
        let counted_in = CountedIn { relay: relay.shared.clone(), ledger: ledger.clone() };
        let flows = flows(place, relay, tenant, now);
        self.offloaded.set(relay.id, flows, relay.socket.as_fd(), &counted_in);
    }
}

/// The channels of a relay that need no look per packet.
fn flows(
    place: u32,
    relay: &Relay,
    tenant: &Client,
    now: Nanos,
) -> impl Iterator<Item = (Flow, Nanos)> {
    let is_simple = relay.purses.is_empty()
        && matches!(tenant.way, Way::Datagrams { .. })
        && tenant.leg.via.is_none();
    tenant.channels.iter().filter_map(move |channel| {
        if !is_simple || channel.relay != place || channel.guarded {
            return None;
        }
        let permitted = relay.permitted_until(Host::from(channel.peer))?;
        let deadline = channel.deadline.min(permitted).min(relay.shared.deadline());
        let (relay, number, leg) = (relay.id, channel.number, tenant.leg);
        let flow = Flow { relay, number, leg, peer: channel.target };
        (now < deadline).then_some((flow, deadline))
    })
}
