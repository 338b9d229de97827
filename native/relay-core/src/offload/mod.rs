//! The seam for a path in the kernel: channels whose packets it can move without asking us.
//!
//! Rules of the house
//! 1.  A channel is offered when nothing needs a look per packet: its client came by UDP, its peer
//!     is not guarded, its relay draws from no bucket. All else stays with the worker, and so does
//!     what the path refuses to take.
//! 2.  A flow's deadline is the earliest of channel, permission and relay, on the engine's clock,
//!     which is CLOCK_MONOTONIC. The path compares it with every packet; what comes later falls
//!     back to the worker, which judges by the rules themselves.
//! 3.  What ends a flow before its deadline (a closed or moved relay, another peer of the number, a
//!     new protection) is told by `remove`, and what brings a deadline nearer by `extend`. The
//!     engine waits until its worker has obeyed before the verb returns, so that no answer leaves
//!     before its effect.
//! 4.  What the path has moved is counted as if the worker had: at each tick, and at the end.
//!
//! There is no such path yet.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::counters::{Traffic, TrafficTotals};
use crate::leg::Leg;
use crate::rules::relay::RelayShared;
use crate::time::Nanos;

#[cfg(test)]
pub(crate) mod recording;

/// A channel's packets, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The relay, by its handle.
    pub relay: u64,
    /// The channel's number.
    pub number: u16,
    /// The client's five-tuple.
    pub leg: Leg,
    /// The peer, as the relay's socket sees it.
    pub peer: SocketAddr,
}

/// A path that moves flows by itself. All workers share it.
pub trait Offload: Debug + Send + Sync {
    /// Makes one, if this system has what it needs.
    ///
    /// # Errors
    /// In words, what is missing.
    fn probe() -> Result<Self, String>
    where
        Self: Sized;

    /// Moves a flow from now on until the deadline, by its relay's socket.
    ///
    /// # Errors
    /// It does not; the worker goes on to, and may ask again.
    fn add(&self, flow: &Flow, relay: BorrowedFd<'_>, deadline: Nanos) -> io::Result<()>;

    /// Sets a flow's end, sooner or later than before.
    fn extend(&self, flow: &Flow, deadline: Nanos);

    /// Moves a flow no more; when this returns no packet of it is on its way. Returns what `stats`
    /// would.
    fn remove(&self, flow: &Flow) -> TrafficTotals;

    /// What was moved since it was last asked.
    fn stats(&self, flow: &Flow) -> TrafficTotals;
}

/// The flows of one worker that the path moves.
#[derive(Debug, Default)]
pub struct Offloaded {
    path: Option<Arc<dyn Offload>>,
    /// By the relay's handle.
    flows: HashMap<u64, HashMap<Flow, Moved>>,
}

#[derive(Debug)]
struct Moved {
    deadline: Nanos,
    counted_in: CountedIn,
}

/// Where the packets of a flow are counted.
#[derive(Clone, Debug)]
pub struct CountedIn {
    /// By its relay.
    pub relay: Arc<RelayShared>,
    /// And by its listener and transport.
    pub ledger: Arc<Traffic>,
}

impl CountedIn {
    fn add(&self, moved: &TrafficTotals) {
        self.relay.traffic.add_totals(moved);
        self.ledger.add_totals(moved);
    }
}

impl Offloaded {
    /// Nothing yet, to be moved by that path, if there is one.
    #[must_use]
    pub fn new(path: Option<Arc<dyn Offload>>) -> Self {
        Self { path, flows: HashMap::new() }
    }

    /// Whether there is a path; if not, nobody need tell anything.
    #[must_use]
    pub fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// Makes the flows of one relay those that are wanted, each with its deadline.
    pub fn set(
        &mut self,
        relay: u64,
        wanted: impl Iterator<Item = (Flow, Nanos)>,
        socket: BorrowedFd<'_>,
        counted_in: &CountedIn,
    ) {
        let Some(path) = &self.path else { return };
        let wanted: HashMap<Flow, Nanos> = wanted.collect();
        let flows = self.flows.entry(relay).or_default();
        // First what goes: its number or its peer may be those of what comes.
        end(path.as_ref(), flows.extract_if(|flow, _| !wanted.contains_key(flow)));
        for (flow, deadline) in wanted {
            if let Some(moved) = flows.get_mut(&flow) {
                if moved.deadline != deadline {
                    moved.deadline = deadline;
                    path.extend(&flow, deadline);
                }
            } else if path.add(&flow, socket, deadline).is_ok() {
                flows.insert(flow, Moved { deadline, counted_in: counted_in.clone() });
            }
        }
        if flows.is_empty() {
            self.flows.remove(&relay);
        }
    }

    /// A relay goes, or goes elsewhere.
    pub fn end(&mut self, relay: u64) {
        let Some(path) = &self.path else { return };
        end(path.as_ref(), self.flows.remove(&relay).into_iter().flatten());
    }

    /// Counts what the path has moved.
    pub fn count(&self) {
        let Some(path) = &self.path else { return };
        for (flow, moved) in self.flows.values().flatten() {
            moved.counted_in.add(&path.stats(flow));
        }
    }
}

fn end(path: &dyn Offload, flows: impl Iterator<Item = (Flow, Moved)>) {
    for (flow, moved) in flows {
        moved.counted_in.add(&path.remove(&flow));
    }
}

impl Drop for Offloaded {
    fn drop(&mut self) {
        for relay in self.flows.keys().copied().collect::<Vec<_>>() {
            self.end(relay);
        }
    }
}
