//! What the engine counts, read when somebody asks.

use super::Engine;
use crate::counters::{Drop, TrafficTotals};
use crate::histogram::BUCKETS;
use crate::leg::Transport;
use crate::time::Nanos;

/// A snapshot; sums never go down, also when relays close and listeners do.
#[derive(Clone, Debug)]
pub struct EngineCounters {
    /// What was relayed, by the listener and transport of the client's leg.
    pub ledgers: Vec<(u64, Transport, TrafficTotals)>,
    /// What was not, in the order of [`Drop::ALL`].
    pub drops: [u64; Drop::ALL.len()],
    /// Relays that are open.
    pub relays: usize,
    /// Connections: streams and DTLS sessions.
    pub streams: usize,
    /// Plain Binding requests that were answered.
    pub bindings: u64,
    /// First requests that were challenged.
    pub challenges: u64,
    /// ICMP errors that clients were told of.
    pub icmp_errors: u64,
    /// Requests of either kind, and hellos of DTLS, that the budget held back.
    pub over_budget: u64,
    /// Faults of ours that were survived.
    pub faults: u64,
    /// Times spent inside, by [`crate::histogram::bounds`].
    pub latency: [u64; BUCKETS],
    /// Their sum.
    pub latency_total: Nanos,
}

/// One relay by itself.
#[derive(Clone, Debug)]
pub struct RelayReport {
    /// What it relayed.
    pub traffic: TrafficTotals,
    /// What it did not, in the order of [`Drop::ALL`].
    pub drops: [u64; Drop::ALL.len()],
}

impl Engine {
    /// Totals over all relays.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        let mut all = EngineCounters {
            ledgers: Vec::with_capacity(self.ledgers.len()),
            drops: self.drops.get(),
            relays: self.relays.len(),
            // DTLS sessions are counted where they are.
            streams: self.streams.values().filter(|leg| leg.transport != Transport::Dtls).count(),
            bindings: 0,
            challenges: 0,
            icmp_errors: 0,
            over_budget: 0,
            faults: 0,
            latency: [0; BUCKETS],
            latency_total: 0,
        };
        for ledger in &self.ledgers {
            let mut sum = TrafficTotals::default();
            for traffic in &ledger.traffic {
                sum += traffic.get();
            }
            all.ledgers.push((ledger.listener, ledger.transport, sum));
        }
        for station in &self.shared.stations {
            let counters = &station.counters;
            add(&mut all.drops, &counters.drops.get());
            all.bindings += counters.bindings.get();
            all.challenges += counters.challenges.get();
            all.icmp_errors += counters.icmp_errors.get();
            all.over_budget += counters.over_budget.get();
            all.faults += counters.faults.get();
            all.streams += counters.sessions.get() as usize;
            let (counts, sum) = counters.latency.get();
            add(&mut all.latency, &counts);
            all.latency_total += sum;
        }
        all
    }

    /// One relay's counters; None when it is closed.
    #[must_use]
    pub fn relay_counters(&self, id: u64) -> Option<RelayReport> {
        let shared = &self.relays.get(&id)?.shared;
        Some(RelayReport { traffic: shared.traffic.get(), drops: shared.drops.get() })
    }
}

fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
