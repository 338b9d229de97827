//! One thread that moves packets, with sockets and tables of its own.
//!
//! A turn: receive, obey, handle, send. Orders are obeyed after receiving and before handling, so
//! that no packet that an answer provoked meets an older rule than its answer told of.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Shared;
use crate::fields::Fields;
use crate::forward::{Forwarder, Inbound, WorkerCounters};
use crate::io::arena::Arena;
use crate::io::{Arrivals, Carried, Driver, Token};
use crate::orders::{Address, Order, Orders};
use crate::stream::Scratch;
use crate::sys;
use crate::time::Nanos;

use self::challenges::Challenges;
use self::former::FormerLegs;
use self::gathering::Gathering;
use self::held::HeldLegs;
use self::lingering::{Lingering, MOMENT};

pub use self::pipes::Spliced;

mod associations;
mod challenges;
mod datagrams;
mod former;
mod gathering;
mod held;
mod lingering;
mod orders;
mod pipes;
mod streams;

/// Slots for what does not come by the driver: streams' bytes, packets of other workers.
const SPARE_SLOTS: u32 = 8;

/// Packets from other workers that wait at most.
const PASSED: usize = 1_024;

/// For how long no packet must have been relayed, for requests to gather: the next one would wait.
const QUIET: Nanos = 100_000_000;

/// How many requests may wait, for more to gather: in a flood sockets are to be emptied.
const FEW: usize = 256;

/// What others see of a worker, and how they reach it.
#[derive(Debug)]
pub struct Station {
    /// What it is told.
    pub orders: Orders,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    /// Where it waits for Python.
    pub(crate) gathering: Gathering,
    /// What reached another worker than its client's.
    passed: Mutex<VecDeque<Passed>>,
}

/// What a worker has received that is another's to handle.
#[derive(Debug)]
enum Passed {
    /// A datagram.
    Datagram(Carried),
    /// Media of a leg whose relays have gone.
    Media(Box<Address>, Fields, Box<[u8]>),
}

impl Station {
    /// A worker's, who has not begun.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            orders: Orders::new()?,
            counters: Arc::default(),
            gathering: Gathering::default(),
            passed: Mutex::default(),
        })
    }

    fn pass(&self, passed: Passed) -> bool {
        let mut queue = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_first, has_room) = (queue.is_empty(), queue.len() < PASSED);
        if has_room {
            queue.push_back(passed);
        }
        drop(queue);
        if is_first {
            self.orders.wake().wake();
        }
        has_room
    }
}

/// One worker.
pub struct Worker<D> {
    index: u32,
    shared: Arc<Shared>,
    station: Arc<Station>,
    driver: D,
    arena: Arena,
    arrivals: Arrivals,
    forwarder: Forwarder,
    streams: HashMap<u64, u32, foldhash::quality::RandomState>,
    /// Streams that are to be read without being told that they are ready.
    unread: VecDeque<Token>,
    /// Streams whose pipes wait for room in their token buckets.
    held_up: Vec<Token>,
    orders: VecDeque<Order>,
    challenges: Challenges,
    held: HeldLegs,
    former: FormerLegs,
    frames: Vec<Range<usize>>,
    scratch: Scratch,
    /// Closed when the turn's packets have been sent.
    buried: Vec<OwnedFd>,
    spare: u32,
    sampled: u32,
    turns: usize,
    handshakes: u32,
    /// DTLS handshakes that have gone on in this turn.
    steps: u32,
    /// What has been done for connections in this turn, as [`streams::EFFORT`] counts.
    effort: usize,
    /// Places of those whose turn has not come.
    waiting: VecDeque<u32>,
    /// Handles that were given here: those of DTLS sessions.
    given: u64,
    handed_up: bool,
    /// Whether a listener trusts proxies: nobody else looks for headers.
    has_proxies: bool,
    relayed_at: Nanos,
    lingering: Lingering,
    stopped: bool,
}

impl<D: Driver> Worker<D> {
    /// A worker on the calling thread.
    ///
    /// # Errors
    /// The driver cannot be opened, or the wake-up not be watched.
    pub fn new(index: u32, shared: Arc<Shared>) -> io::Result<Self> {
        let arena = Arena::new(D::SLOTS + SPARE_SLOTS as usize);
        let mut driver = D::new(&arena)?;
        let station = shared.stations[index as usize].clone();
        driver.watch(station.orders.wake().as_fd(), Token::WAKE)?;
        Ok(Self {
            index,
            driver,
            arena,
            arrivals: Arrivals::default(),
            forwarder: Forwarder::new(station.counters.clone(), shared.around.clone()),
            streams: HashMap::default(),
            unread: VecDeque::new(),
            held_up: Vec::new(),
            orders: VecDeque::new(),
            challenges: Challenges::default(),
            held: HeldLegs::default(),
            former: FormerLegs::default(),
            frames: Vec::new(),
            scratch: Scratch::default(),
            buried: Vec::new(),
            spare: 0,
            sampled: 0,
            turns: 0,
            handshakes: 0,
            steps: 0,
            effort: 0,
            waiting: VecDeque::new(),
            given: 0,
            handed_up: false,
            has_proxies: false,
            relayed_at: 0,
            lingering: Lingering::default(),
            stopped: false,
            shared,
            station,
        })
    }

    /// Moves packets until it is told to stop, or the driver breaks.
    ///
    /// # Errors
    /// What the driver says.
    pub fn run(mut self) -> io::Result<()> {
        while !self.stopped {
            // A fault of ours in one packet must not be the end of all other calls.
            if let Ok(turn) = catch_unwind(AssertUnwindSafe(|| self.turn())) {
                turn?;
            } else {
                self.recover();
            }
        }
        Ok(())
    }

    /// A turn broke off: its packets are lost, and all else is taken up in another one, now.
    fn recover(&mut self) {
        self.station.counters.faults.add(1);
        self.forwarder.outbox.clear();
        self.spare = 0;
        self.station.orders.wake().wake();
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        arrivals.clear();
        if self.has_more() || !self.linger(&mut arrivals)? {
            let patience = self.patience();
            self.driver.receive(&mut self.arena, &mut arrivals, patience)?;
        }
        (self.handshakes, self.steps, self.effort) = (0, 0, 0);
        self.lingering.saw(arrivals.packets());
        if arrivals.ready.iter().any(|ready| ready.socket == Token::WAKE) {
            self.station.orders.wake().drain();
        }
        self.arrivals = arrivals; // orders may take some of it elsewhere
        let passed = self.take_passed();
        self.station.orders.take(&mut self.orders);
        let now = self.shared.clock.now(); // no sooner than what was ordered
        self.obey(now);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.go_on_with_handshakes(now);
        self.forwarder.warm(&arrivals.datagrams);
        for datagram in &arrivals.datagrams {
            self.datagram(*datagram, now);
        }
        for each in passed {
            self.handle_passed(each, now);
        }
        self.read_unread(now);
        self.run_held_up(now);
        self.take_turns(&mut arrivals.ready);
        for ready in &arrivals.ready {
            self.ready(*ready, now);
        }
        if !self.forwarder.unflushed.is_empty() {
            self.relayed_at = now;
        }
        self.flush_streams();
        self.flush(now);
        self.buried.clear();
        self.arrivals = arrivals;
        if std::mem::take(&mut self.handed_up) {
            self.shared.bell.ring();
            let quiet = now.saturating_sub(self.relayed_at) > QUIET;
            if quiet && (1..=FEW).contains(&self.shared.hand_up.len()) {
                self.station.gathering.wait();
            }
        }
        Ok(())
    }

    /// Looks again for a moment, where that pays. Says whether something came.
    fn linger(&mut self, arrivals: &mut Arrivals) -> io::Result<bool> {
        if !self.lingering.pays() {
            return Ok(false);
        }
        let begun = Instant::now();
        while arrivals.is_empty() && begun.elapsed() < MOMENT {
            self.driver.receive(&mut self.arena, arrivals, Some(Duration::ZERO))?;
        }
        self.lingering.learn(!arrivals.is_empty());
        Ok(!arrivals.is_empty())
    }

    /// Sends what the outbox holds. The turn's arrivals stay where they are.
    fn send(&mut self, now: Nanos) {
        if !self.forwarder.outbox.is_empty() {
            self.driver.send(&mut self.forwarder.outbox, &self.arena);
            if self.forwarder.settle(now, sys::clock::realtime()) {
                self.relayed_at = now;
            }
        }
    }

    /// As `send`, when nobody is about to use a spare slot any more: all are free then.
    fn flush(&mut self, now: Nanos) {
        self.send(now);
        self.spare = 0;
    }

    /// A slot for what does not come by the driver. Until the next flush it is no other's.
    fn spare_slot(&mut self, now: Nanos) -> u32 {
        if self.spare == SPARE_SLOTS {
            self.flush(now);
        }
        self.spare += 1;
        D::SLOTS as u32 + self.spare - 1
    }

    /// Bytes that were kept, as if they had just been received.
    fn put_into_a_slot(&mut self, data: &[u8], fields: Fields, now: Nanos) -> Inbound {
        let slot = self.spare_slot(now);
        self.arena.bytes_mut(slot)[..data.len()].copy_from_slice(data);
        Inbound { slot, start: 0, len: data.len(), fields, received: 0 }
    }
}

impl<D> Drop for Worker<D> {
    fn drop(&mut self) {
        self.station.orders.close();
    }
}

#[cfg(test)]
mod tests;
