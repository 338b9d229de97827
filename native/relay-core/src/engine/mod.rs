//! The engine as its one caller sees it: verbs that do not block, and events to poll.
//!
//! The caller's thread binds relays itself, so that it hears of an error at once, and sends answers
//! by UDP itself. Everything else is an order to the worker whose client it is about. An order is
//! queued before the answer that tells of it is sent, and a worker obeys after it received and
//! before it handles: no packet that an answer provoked meets an older rule.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::counters::{Drops, Traffic};
use crate::dtls::association::Terms;
use crate::dtls::provider::{Door, DtlsConfig};
use crate::forward::HandedUp;
use crate::handup::Event;
use crate::io::probe::IoChoice;
use crate::leg::{Leg, Transport};
use crate::network::Networks;
use crate::orders::Order;
use crate::rules::bucket::Bucket;
use crate::rules::protection::Protection;
use crate::rules::relay::RelayShared;
use crate::stream::StreamSettings;
use crate::stream::tls::{Identity, TlsConfig, TlsConfigError, server_config};
use crate::sys;
use crate::sys::options::Buffers;
use crate::time::{Clock, nanos};

use self::answers::Answers;

pub use self::report::{EngineCounters, RelayReport};
pub use self::shared::Shared;

mod answers;
mod endpoints;
mod limits;
mod relays;
mod report;
mod shared;
mod streams;
mod threads;

/// A handle's low bits name its worker.
const WORKER_BITS: u32 = 8;

/// The most workers that an engine may have.
pub const MOST_WORKERS: usize = 1 << WORKER_BITS;

/// How long to wait for a worker where it must have obeyed: it closes a socket whose port is wanted
/// again, or tells an offload.
const OBEYING: Duration = Duration::from_millis(250);

/// For how long a clock that is moved by hand waits for them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of so many relays one has its packets stamped by the kernel, to be measured.
const STAMPED: u32 = 16;

/// How an engine is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that move packets, 1 to [`MOST_WORKERS`].
    pub workers: usize,
    /// What workers are pinned to, in turn; without any they roam.
    pub cpus: Vec<usize>,
    /// How the kernel is asked.
    pub io: IoChoice,
    /// A clock that stands at these seconds until it is moved; None: the system's.
    pub manual_clock: Option<f64>,
}

/// What holds for one endpoint and the streams that came in by it.
#[derive(Clone, Debug, Default)]
pub struct ListenerSettings {
    /// SO_RCVBUF of its UDP sockets and their relays', in bytes; 0: the system's.
    pub receive_buffer: u32,
    /// SO_SNDBUF likewise.
    pub send_buffer: u32,
    /// Bytes that wait for a slow stream client at most.
    pub stream_backlog: usize,
    /// Seconds for a TLS or DTLS handshake.
    pub handshake_timeout: f64,
    /// Seconds from a frame's first byte to its last.
    pub frame_timeout: f64,
    /// Certificates of TLS streams and of DTLS, the default first; none: no TLS.
    pub identities: Vec<Identity>,
    /// Seconds after which a DTLS session without a relay ends when nothing has come by it.
    pub idle_timeout: f64,
    /// Whether a UDP endpoint with DTLS serves also what comes without.
    pub plain_udp: bool,
    /// Whether it serves DTLS; else plain UDP alone.
    pub dtls: bool,
    /// Binding requests that the caller wants to see.
    pub handed_up: HandedUp,
    /// Whose datagrams begin with a PROXY header.
    pub proxies: Networks,
}

impl ListenerSettings {
    fn buffers(&self) -> Buffers {
        Buffers { receive: self.receive_buffer, send: self.send_buffer }
    }

    fn streams(&self) -> Result<Streams, TlsConfigError> {
        let settings = StreamSettings {
            backlog: self.stream_backlog,
            handshake_timeout: nanos(self.handshake_timeout),
            frame_timeout: nanos(self.frame_timeout),
        };
        let tls =
            if self.identities.is_empty() { None } else { Some(server_config(&self.identities)?) };
        Ok(Streams { settings, tls, handed_up: self.handed_up })
    }

    /// What a UDP endpoint serves DTLS with, once a worker.
    fn terms(&self, ledger: u32, workers: u32) -> Result<Vec<Terms>, TlsConfigError> {
        let config = DtlsConfig::new(&self.identities)?;
        let terms = (0..workers).map(|_| {
            let door = Door::new(&config).map_err(|_| {
                TlsConfigError::new("DTLS".into(), "OpenSSL is out of memory".into())
            })?;
            let [handshake_timeout, idle_timeout] =
                [self.handshake_timeout, self.idle_timeout].map(nanos);
            Ok(Terms { door, handshake_timeout, idle_timeout, ledger })
        });
        terms.collect()
    }
}

/// Why a relay could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayError {
    /// The port is in use.
    PortTaken,
    /// The address is not one of this host.
    NoSuchAddress,
    /// Out of file descriptors.
    NoDescriptors,
    /// The system refused, or the leg has ended or has a relay of this family.
    Other,
}

impl From<io::Error> for RelayError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Self::PortTaken,
            Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => Self::NoSuchAddress,
            Some(libc::EMFILE | libc::ENFILE) => Self::NoDescriptors,
            _ => Self::Other,
        }
    }
}

/// How the engine runs, for the first line and the metric.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// `epoll` or `io_uring`.
    pub io: &'static str,
    /// Threads that move packets.
    pub workers: usize,
    /// What an admin should know: why it is not the other, what the kernel did not grant.
    pub notes: Vec<String>,
}

#[derive(Debug)]
enum Endpoint {
    Udp { index: u32, bound: SocketAddr, sockets: Vec<Arc<OwnedFd>>, buffers: Buffers, dtls: bool },
    Streams(Streams),
}

#[derive(Clone, Debug)]
struct Streams {
    settings: StreamSettings,
    tls: Option<Arc<TlsConfig>>,
    handed_up: HandedUp,
}

#[derive(Debug)]
struct Placed {
    leg: Option<Leg>,
    bound: SocketAddr,
    worker: u32,
    shared: Arc<RelayShared>,
}

/// What is relayed by clients of one listener and transport, worker by worker.
#[derive(Debug)]
struct Ledger {
    listener: u64,
    transport: Transport,
    traffic: Vec<Arc<Traffic>>,
}

/// The engine. One thread calls all verbs.
pub struct Engine {
    options: Options,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    description: Description,
    sequence: u64,
    endpoints: HashMap<u64, Endpoint>,
    udp_listeners: u32,
    ledgers: Vec<Ledger>,
    relays: HashMap<u64, Placed>,
    legs: HashMap<Leg, Vec<u64>>,
    streams: HashMap<u64, Leg>,
    buckets: HashMap<u64, Weak<Bucket>>,
    limited: HashMap<u64, Arc<Bucket>>,
    /// What the workers were told last.
    protection: Arc<Protection>,
    answers: Answers,
    drops: Drops,
    closings: bool,
    adopted: u32,
    opened: u32,
    holding: bool,
}

impl Engine {
    /// An engine that has not begun; listeners can be bound already.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new(options: Options) -> io::Result<Self> {
        let clock = match options.manual_clock {
            Some(now) => Clock::by_hand(nanos(now)),
            None => Clock::system(sys::clock::monotonic()),
        };
        let workers = options.workers.clamp(1, MOST_WORKERS);
        Ok(Self {
            shared: Arc::new(Shared::new(workers, clock)?),
            options,
            threads: Vec::new(),
            description: Description { workers, ..Description::default() },
            sequence: 0,
            endpoints: HashMap::new(),
            udp_listeners: 0,
            ledgers: Vec::new(),
            relays: HashMap::new(),
            legs: HashMap::new(),
            streams: HashMap::new(),
            buckets: HashMap::new(),
            limited: HashMap::new(),
            protection: Arc::default(),
            answers: Answers::default(),
            drops: Drops::default(),
            closings: false,
            adopted: 0,
            opened: 0,
            holding: false,
        })
    }

    /// Readable when `poll` has events.
    #[must_use]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }

    /// Begins to move packets.
    ///
    /// # Errors
    /// A thread cannot be started, or its way to the kernel not be opened.
    pub fn start(&mut self) -> io::Result<()> {
        let started = threads::start(&self.options, &self.shared)?;
        self.threads = started.threads;
        self.description.io = started.io;
        self.description.notes.extend(started.notes);
        Ok(())
    }

    /// Closes everything; blocks until all threads have ended.
    pub fn stop(&mut self) {
        threads::stop(&self.shared, &mut self.threads);
        for relay in self.relays.values() {
            self.shared.around.relayed.remove(relay.bound);
        }
        self.relays.clear();
        self.legs.clear();
        self.streams.clear();
        self.endpoints.clear();
    }

    /// How it runs.
    #[must_use]
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// From now on workers are not woken for what they are told, and answers by UDP wait, until
    /// [`Engine::release`]: many requests cost one change of threads and one call, not one each.
    pub fn hold(&mut self) {
        self.holding = true;
    }

    /// Sends the answers that wait, and wakes the workers that were told something.
    pub fn release(&mut self) {
        self.holding = false;
        self.answers.send(&self.drops);
        for station in &self.shared.stations {
            station.orders.hurry();
            station.gathering.end();
        }
    }

    /// Moves a clock by hand, when all has been done that was ordered before.
    pub fn set_time(&self, seconds: f64) {
        self.await_workers(0..self.workers(), PATIENCE);
        self.shared.clock.set(nanos(seconds));
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn handle(&mut self, worker: u32) -> u64 {
        self.next() << WORKER_BITS | u64::from(worker)
    }

    fn order(&self, worker: u32, order: Order) {
        self.shared.stations[worker as usize].orders.give(order);
    }

    fn order_now(&self, worker: u32, order: Order) {
        if self.holding {
            self.shared.stations[worker as usize].orders.give_soon(order);
        } else {
            self.order_at_once(worker, order);
        }
    }

    /// Gives an order that somebody waits for, also while others are held back.
    fn order_at_once(&self, worker: u32, order: Order) {
        let station = &self.shared.stations[worker as usize];
        station.orders.give_now(order);
        station.gathering.end();
    }

    fn workers(&self) -> u32 {
        self.shared.stations.len() as u32
    }
}

/// What comes back.
impl Engine {
    /// Moves at most so many events into a batch: what became of streams and messages of the known
    /// first. When more wait the descriptor is readable again.
    ///
    /// # Errors
    /// A worker has ended, and with it the calls that it served.
    pub fn poll(&mut self, most: usize, batch: &mut Vec<Event>) -> io::Result<()> {
        self.shared.bell.answer();
        let begin = batch.len();
        self.shared.hand_up.take(most, batch);
        if !self.shared.hand_up.is_empty() {
            self.shared.bell.ring();
        }
        for event in &batch[begin..] {
            // The others are known since they were adopted.
            if let Event::Opened(leg, _) = event
                && leg.transport == Transport::Dtls
            {
                self.streams.insert(leg.stream, *leg);
            }
            if let Event::Closed(leg, _) = event {
                self.streams.remove(&leg.stream);
                self.abandon(leg);
            }
        }
        match self.shared.broken() {
            Some(problem) => Err(io::Error::other(problem)),
            None => Ok(()),
        }
    }

    /// Time has passed: streams over their deadlines are closed, expired rules dropped.
    pub fn tick(&mut self) {
        self.shared.around.local.forget();
        self.buckets.retain(|_, bucket| bucket.strong_count() > 0);
        for worker in 0..self.workers() {
            self.order_now(worker, Order::Tick);
        }
    }
}

impl std::ops::Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn worker_of(handle: u64) -> u32 {
    (handle % (1 << WORKER_BITS)) as u32
}

#[cfg(test)]
mod tests;
