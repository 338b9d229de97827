//! The engine as its one caller sees it: verbs that do not block, and events to poll.
//!
//! The caller's thread binds relays itself, so that it hears of an error at once, and sends answers
//! by UDP itself. Everything else is an order to the worker whose client it is about. An order is
//! queued before the answer that tells of it is sent, and a worker obeys after it received and
//! before it handles: no packet that an answer provoked meets an older rule.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::counters::{Drop, Drops, Traffic};
use crate::forward::Listener;
use crate::handup::{Event, Standing};
use crate::io::probe::IoChoice;
use crate::leg::{CloseReason, Host, Leg, Transport};
use crate::orders::{Address, Adoption, Order};
use crate::rules::bucket::{Bucket, Purse};
use crate::rules::protection::Protection;
use crate::rules::relay::RelayShared;
use crate::rules::table::NewRelay;
use crate::stream::StreamSettings;
use crate::stream::tls::{Identity, TlsConfig, TlsConfigError, server_config};
use crate::sys;
use crate::sys::options::Buffers;
use crate::sys::socket::SocketOptions;
use crate::time::{Clock, nanos};
use crate::wire::nonce::NonceKeys;

pub use self::report::{EngineCounters, RelayReport};
pub use self::shared::Shared;

mod report;
mod shared;
mod threads;

/// A handle's low bits name its worker.
const WORKER_BITS: u32 = 8;

/// The most workers that an engine may have.
pub const MOST_WORKERS: usize = 1 << WORKER_BITS;

/// How long to wait for a worker to close a socket whose port is wanted again.
const CLOSING: Duration = Duration::from_millis(250);

/// Every so manieth relay's packets are stamped by the kernel, to be measured.
const STAMPED: u64 = 16;

/// How an engine is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that move packets, 1 to [`MOST_WORKERS`].
    pub workers: usize,
    /// The CPU of each worker, as far as it names any.
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
    /// Seconds for a TLS handshake.
    pub handshake_timeout: f64,
    /// Seconds from a frame's first byte to its last.
    pub frame_timeout: f64,
    /// Certificates of TLS streams, the default first; none: no TLS.
    pub identities: Vec<Identity>,
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
        Ok(Streams { settings, tls })
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
    Udp { index: u32, bound: SocketAddr, sockets: Vec<Arc<OwnedFd>>, buffers: Buffers },
    Streams(Streams),
}

#[derive(Clone, Debug)]
struct Streams {
    settings: StreamSettings,
    tls: Option<Arc<TlsConfig>>,
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
    drops: Drops,
    closings: bool,
    next_polled: usize,
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
            drops: Drops::default(),
            closings: false,
            next_polled: 0,
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
        for station in &self.shared.stations {
            station.orders.give_now(Order::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.drops.add(Drop::Refused, 0);
            }
        }
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

    /// Moves a clock by hand.
    pub fn set_time(&self, seconds: f64) {
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
        self.shared.stations[worker as usize].orders.give_now(order);
    }

    fn workers(&self) -> u32 {
        self.shared.stations.len() as u32
    }
}

/// Endpoints.
impl Engine {
    /// Serves UDP at an endpoint, or on an inherited, bound descriptor.
    ///
    /// # Errors
    /// The endpoint cannot be bound.
    pub fn listen(
        &mut self,
        endpoint: SocketAddr,
        settings: &ListenerSettings,
        inherited: Option<OwnedFd>,
    ) -> io::Result<u64> {
        let buffers = settings.buffers();
        let (sockets, bound) = match inherited {
            Some(socket) => {
                let bound = sys::socket::inherit_udp(&socket, buffers)?;
                (vec![Arc::new(socket)], bound)
            }
            None => self.bind_group(endpoint, buffers)?,
        };
        let wildcard = bound.ip().is_unspecified();
        for socket in &sockets {
            sys::options::prepare_listener(socket.as_fd(), wildcard, true)?;
        }
        self.note_buffers(&sockets[0], bound, buffers);
        let id = self.next();
        let index = self.udp_listeners;
        self.udp_listeners += 1;
        let ledger = self.ledger(id, Transport::Udp);
        for worker in 0..self.workers() {
            let own = sockets.get(worker as usize);
            let listener = Listener {
                id,
                socket: own.unwrap_or(&sockets[0]).clone(),
                receives: own.is_some(),
                endpoint: bound,
                ledger,
            };
            self.order_now(worker, Order::Listen(listener));
        }
        self.endpoints.insert(id, Endpoint::Udp { index, bound, sockets, buffers });
        Ok(id)
    }

    /// A socket a worker at one address, and the kernel told whose client is whose.
    fn bind_group(
        &self,
        endpoint: SocketAddr,
        buffers: Buffers,
    ) -> io::Result<(Vec<Arc<OwnedFd>>, SocketAddr)> {
        let options = SocketOptions { buffers, shared: self.workers() > 1 };
        let first = sys::socket::bind_udp(endpoint, &options)?;
        let bound = sys::socket::local_addr(first.as_fd())?;
        let mut sockets = vec![Arc::new(first)];
        for _ in 1..self.workers() {
            sockets.push(Arc::new(sys::socket::bind_udp(bound, &options)?));
        }
        if options.shared {
            sys::steering::attach(sockets[0].as_fd(), self.shared.seed, self.workers())?;
        }
        Ok((sockets, bound))
    }

    fn note_buffers(&mut self, socket: &OwnedFd, bound: SocketAddr, asked: Buffers) {
        let Ok(granted) = sys::options::granted_buffers(socket.as_fd()) else { return };
        let pairs = [
            ("receive_buffer", "rmem_max", asked.receive, granted.receive),
            ("send_buffer", "wmem_max", asked.send, granted.send),
        ];
        for (name, limit, asked, granted) in pairs {
            if granted < asked {
                self.description.notes.push(format!(
                    "{bound}: the kernel grants {granted} bytes of sockets.{name}, not {asked}: \
                     raise net.core.{limit}"
                ));
            }
        }
    }

    /// A handle under which streams of one accepting endpoint are adopted.
    ///
    /// # Errors
    /// A certificate cannot be served.
    pub fn stream_listener(&mut self, settings: &ListenerSettings) -> Result<u64, TlsConfigError> {
        let streams = settings.streams()?;
        let id = self.next();
        self.endpoints.insert(id, Endpoint::Streams(streams));
        Ok(id)
    }

    /// New settings for a listener. Open streams keep their session.
    ///
    /// # Errors
    /// A certificate cannot be served; the old settings stay.
    pub fn configure(
        &mut self,
        id: u64,
        settings: &ListenerSettings,
    ) -> Result<(), TlsConfigError> {
        match self.endpoints.get_mut(&id) {
            Some(Endpoint::Streams(streams)) => *streams = settings.streams()?,
            Some(Endpoint::Udp { sockets, buffers, .. }) => {
                *buffers = settings.buffers();
                for socket in sockets {
                    if sys::options::set_buffers(socket.as_fd(), *buffers).is_err() {
                        break; // the kernel takes any size: the socket is gone
                    }
                }
            }
            None => (),
        }
        Ok(())
    }

    /// No new clients by this listener. UDP legs with relays end with it, streams stay.
    pub fn close_listener(&mut self, id: u64) {
        let Some(Endpoint::Udp { index, .. }) = self.endpoints.remove(&id) else { return };
        let ended: Vec<Leg> = self.legs.keys().filter(|leg| leg.listener == id).copied().collect();
        for leg in ended {
            self.close_relays_of(&leg);
        }
        for worker in 0..self.workers() {
            self.order_now(worker, Order::CloseListener(index));
        }
        self.closings = true;
    }

    /// Where a UDP listener is bound.
    #[must_use]
    pub fn endpoint(&self, id: u64) -> Option<SocketAddr> {
        match self.endpoints.get(&id)? {
            Endpoint::Udp { bound, .. } => Some(*bound),
            Endpoint::Streams(_) => None,
        }
    }

    /// The index of the ledger of a listener and transport, on every worker.
    fn ledger(&mut self, listener: u64, transport: Transport) -> u32 {
        let known = self
            .ledgers
            .iter()
            .position(|ledger| ledger.listener == listener && ledger.transport == transport);
        known.unwrap_or_else(|| {
            let traffic: Vec<Arc<Traffic>> = (0..self.workers()).map(|_| Arc::default()).collect();
            for (worker, own) in (0..).zip(&traffic) {
                self.order(worker, Order::Ledger(own.clone()));
            }
            self.ledgers.push(Ledger { listener, transport, traffic });
            self.ledgers.len() - 1
        }) as u32
    }
}

/// Streams.
impl Engine {
    /// Takes over a connected stream. Its leg's handle tells it from all others.
    pub fn adopt(&mut self, socket: OwnedFd, mut leg: Leg, first_bytes: Vec<u8>) -> Leg {
        // Streams are spread evenly: a worker has as many as the next.
        let worker = (self.sequence % u64::from(self.workers())) as u32;
        leg.stream = self.handle(worker);
        let ledger = self.ledger(leg.listener, leg.transport);
        let Some(Endpoint::Streams(streams)) = self.endpoints.get(&leg.listener) else {
            return self.refuse(worker, leg);
        };
        let Streams { settings, tls } = streams.clone();
        let tls = if leg.transport == Transport::Tls { tls } else { None };
        if leg.transport == Transport::Tls && tls.is_none() {
            return self.refuse(worker, leg);
        }
        self.streams.insert(leg.stream, leg);
        let adoption = Adoption { socket, leg, settings, tls, first_bytes, ledger };
        self.order_now(worker, Order::Adopt(Box::new(adoption)));
        leg
    }

    /// The listener was closed while the connection was on its way.
    fn refuse(&self, worker: u32, leg: Leg) -> Leg {
        let station = &self.shared.stations[worker as usize];
        station.hand_up.closed(leg, CloseReason::Server, Standing::Stranger);
        self.shared.bell.ring();
        leg
    }

    /// Ends a stream.
    pub fn close_leg(&mut self, leg: &Leg, reason: CloseReason) {
        if self.streams.remove(&leg.stream).is_some() {
            self.close_relays_of(leg);
            self.order_now(worker_of(leg.stream), Order::CloseLeg(leg.stream, reason));
        }
    }

    /// Sends a STUN message to a client, from the address it came to.
    pub fn send_to_client(&mut self, leg: &Leg, data: &[u8]) {
        if leg.transport != Transport::Udp {
            if self.streams.contains_key(&leg.stream) {
                self.order_now(worker_of(leg.stream), Order::Answer(leg.stream, data.into()));
            }
            return;
        }
        let Some(Endpoint::Udp { bound, sockets, .. }) = self.endpoints.get(&leg.listener) else {
            return;
        };
        let from = bound.ip().is_unspecified().then(|| leg.local.ip());
        if let Err(error) = sys::socket::send_to(sockets[0].as_fd(), data, leg.client, from) {
            self.drops.add(Drop::of_errno(error.raw_os_error().unwrap_or(0)), 1);
        }
    }
}

/// Relays.
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
            None => (self.sequence % u64::from(self.workers())) as u32,
        };
        let id = self.handle(worker);
        sys::options::prepare_relay(socket.as_fd(), self.sequence % STAMPED == 0)?;
        let shared = Arc::new(RelayShared::new(nanos(deadline)));
        self.shared.around.relayed.add(bound, shared.clone());
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
            Transport::Udp => self.shared.worker_of(leg.client),
            Transport::Tcp | Transport::Tls => worker_of(leg.stream),
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

    /// Waits until all workers have closed what they were told to, for a short while.
    fn await_closings(&mut self) {
        self.closings = false;
        if self.threads.is_empty() {
            return;
        }
        let (to, from) = sync_channel(self.shared.stations.len());
        for worker in 0..self.workers() {
            self.order_now(worker, Order::Report(to.clone()));
        }
        for _ in 0..self.workers() {
            if from.recv_timeout(CLOSING).is_err() {
                return; // the port is as good as taken
            }
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
            return self.order_now(to, Order::Assign(id, address, purses));
        }
        let (give, take) = sync_channel(1);
        self.order_now(from, Order::Release(id, give));
        self.order_now(to, Order::Claim(take, address, purses));
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
        }
    }

    /// Installs or extends a channel binding; a deadline that has passed removes it.
    pub fn bind_channel(&self, id: u64, number: u16, peer: SocketAddr, deadline: f64) {
        if let Some(relay) = self.relays.get(&id) {
            self.order(relay.worker, Order::Bind(id, number, peer, nanos(deadline)));
        }
    }

    /// Sets the relay's end, sooner or later than before.
    pub fn extend(&self, id: u64, deadline: f64) {
        if let Some(relay) = self.relays.get(&id) {
            relay.shared.set_deadline(nanos(deadline));
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
    }

    fn close_relays_of(&mut self, leg: &Leg) {
        for id in self.legs.get(leg).cloned().unwrap_or_default() {
            self.close_relay(id);
        }
    }
}

/// Limits and protection.
impl Engine {
    /// Sets a token bucket's rate, bits per second. 0: no limit; None: forgets it.
    pub fn limit(&mut self, id: u64, bits_per_second: Option<u64>) {
        let bucket = self.bucket(id);
        match bits_per_second {
            Some(rate) => {
                bucket.set(rate);
                self.limited.insert(id, bucket);
            }
            None => {
                bucket.set(0);
                self.limited.remove(&id);
                self.buckets.remove(&id);
            }
        }
    }

    fn bucket(&mut self, id: u64) -> Arc<Bucket> {
        let known = self.buckets.entry(id).or_default();
        known.upgrade().unwrap_or_else(|| {
            let bucket = Arc::default();
            *known = Arc::downgrade(&bucket);
            bucket
        })
    }

    fn purses(&mut self, buckets: &[u64]) -> Vec<Purse> {
        buckets.iter().map(|id| Purse::new(self.bucket(*id))).collect()
    }

    /// Answers per second that strangers of one network may provoke; 0: no limit.
    pub fn budget(&self, answers_per_second: u64) {
        self.shared.around.budget.set(answers_per_second);
    }

    /// Whether one more answer may go to the host's network.
    #[must_use]
    pub fn draw(&self, host: IpAddr) -> bool {
        self.shared.around.budget.draw(host, self.shared.clock.now())
    }

    /// What nonces of ours are made with.
    pub fn know_nonces(&self, keys: NonceKeys) {
        let keys = Arc::new(keys);
        for worker in 0..self.workers() {
            self.order(worker, Order::KnowNonces(keys.clone()));
        }
    }

    /// What may never be reached; `own`: announced and bound host of every relay address.
    pub fn protect(&self, endpoints: &[SocketAddr], own: &[(IpAddr, IpAddr)]) {
        let protection = Arc::new(Protection::new(endpoints, own));
        for worker in 0..self.workers() {
            self.order(worker, Order::Protect(protection.clone()));
        }
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
        let workers = self.shared.stations.len();
        self.next_polled = (self.next_polled + 1) % workers;
        let begin = batch.len();
        for turn in 0..workers {
            let station = &self.shared.stations[(self.next_polled + turn) % workers];
            station.hand_up.take(most - (batch.len() - begin), batch);
        }
        if self.shared.stations.iter().any(|station| !station.hand_up.is_empty()) {
            self.shared.bell.ring();
        }
        for event in &batch[begin..] {
            if let Event::Closed(leg, _) = event {
                self.streams.remove(&leg.stream);
                self.close_relays_of(leg);
            }
        }
        match self.shared.broken() {
            Some(problem) => Err(io::Error::other(problem)),
            None => Ok(()),
        }
    }

    /// Time has passed: streams over their deadlines are closed, expired rules dropped.
    pub fn tick(&self) {
        self.shared.around.local.forget();
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
