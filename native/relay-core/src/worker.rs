//! One thread that moves packets, with sockets and tables of its own.
//!
//! A turn: receive, obey, handle, send. Orders are obeyed after receiving and before handling, so
//! that no packet that an answer provoked meets an older rule than its answer told of.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::address::RawAddress;
use crate::connection::Connection;
use crate::counters::Drop;
use crate::engine::Shared;
use crate::forward::{Forwarder, Inbound, Verdict, WorkerCounters};
use crate::handup::{HandUp, Standing};
use crate::io::arena::Arena;
use crate::io::{Arrivals, Datagram, Driver, Kind, Ready, Token};
use crate::leg::{CloseReason, Leg, Transport};
use crate::orders::{Address, Adoption, Order, Orders};
use crate::rules::bucket::Purse;
use crate::rules::relay::{Client, Relay, Way, find};
use crate::rules::table::{Moving, NewRelay, Newcomer, UdpKey};
use crate::stream::{Flush, Scratch, Stream};
use crate::sys;
use crate::time::{Nanos, seconds};
use crate::wire::binding::{BindingRequest, binding_success};
use crate::wire::message::Stun;
use crate::wire::nonce::NonceKeys;

/// Slots for what does not come by the driver: streams' bytes, packets of other workers.
const SPARE_SLOTS: u32 = 8;

/// Packets from other workers that wait at most.
const PASSED: usize = 1_024;

/// Reads of one stream in a turn: what TLS holds back of one read, and a bound.
const READS: usize = 4;

/// Reads of streams in their handshake in a turn. One may cost a signature with an RSA key, more
/// than a thousand packets do; what is left over is ready again in the next turn.
const HANDSHAKES: u32 = 4;

/// How long a worker lets requests gather while Python has not got round to the last ones and no
/// packet is being relayed. Reading each as it comes would take the CPU from Python each time.
const GATHERING: Duration = Duration::from_micros(200);

/// One packet in so many is measured.
const SAMPLE: u32 = 64;

/// A datagram that reached another worker than its client's.
#[derive(Debug)]
struct Passed {
    socket: Token,
    from: SocketAddr,
    to: Option<IpAddr>,
    data: Box<[u8]>,
}

/// What others see of a worker, and how they reach it.
#[derive(Debug)]
pub struct Station {
    /// What it is told.
    pub orders: Orders,
    /// What it hands up.
    pub hand_up: HandUp,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    passed: Mutex<VecDeque<Passed>>,
}

impl Station {
    /// A worker's, who has not begun.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            orders: Orders::new()?,
            hand_up: HandUp::default(),
            counters: Arc::default(),
            passed: Mutex::default(),
        })
    }

    fn pass(&self, passed: Passed) -> bool {
        let mut queue = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let room = queue.len() < PASSED;
        if room {
            queue.push_back(passed);
        }
        drop(queue);
        self.orders.wake().wake();
        room
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
    streams: std::collections::HashMap<u64, u32, foldhash::quality::RandomState>,
    orders: Vec<Order>,
    nonce_keys: Option<Arc<NonceKeys>>,
    frames: Vec<Range<usize>>,
    scratch: Scratch,
    /// Closed when the turn's packets have been sent.
    buried: Vec<OwnedFd>,
    spare: u32,
    sampled: u32,
    handshakes: u32,
    handed_up: bool,
    relayed: bool,
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
            streams: std::collections::HashMap::default(),
            orders: Vec::new(),
            nonce_keys: None,
            frames: Vec::new(),
            scratch: Scratch::default(),
            buried: Vec::new(),
            spare: 0,
            sampled: 0,
            handshakes: 0,
            handed_up: false,
            relayed: false,
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
                self.station.counters.faults.add(1);
                self.forwarder.outbox.clear();
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        arrivals.clear();
        self.driver.receive(&mut self.arena, &mut arrivals, None)?;
        let now = self.shared.clock.now();
        if arrivals.ready.iter().any(|ready| ready.socket == Token::WAKE) {
            self.station.orders.wake().drain();
        }
        self.obey(now);
        for datagram in &arrivals.datagrams {
            self.datagram(*datagram, now);
        }
        self.take_passed(now);
        for ready in &arrivals.ready {
            self.ready(*ready, now);
        }
        self.flush_streams();
        self.flush(now);
        self.handshakes = 0;
        self.buried.clear();
        self.arrivals = arrivals;
        if std::mem::take(&mut self.handed_up) {
            self.shared.bell.ring();
            if !std::mem::take(&mut self.relayed) && !self.station.hand_up.is_empty() {
                std::thread::sleep(GATHERING);
            }
        }
        self.relayed = false;
        Ok(())
    }

    /// Sends what the outbox holds; all slots but those of this turn's arrivals are free then.
    fn flush(&mut self, now: Nanos) {
        self.spare = 0;
        if !self.forwarder.outbox.is_empty() {
            self.relayed = true;
            self.driver.send(&mut self.forwarder.outbox, &self.arena);
            self.forwarder.settle(now, sys::clock::realtime());
        }
    }

    fn spare_slot(&mut self, now: Nanos) -> u32 {
        if self.spare == SPARE_SLOTS {
            self.flush(now);
        }
        self.spare += 1;
        D::SLOTS as u32 + self.spare - 1
    }

    // ------------------------------------------------------------------------------ datagrams

    fn datagram(&mut self, mut datagram: Datagram, now: Nanos) {
        if self.forwarder.outbox.is_full() {
            self.flush(now);
        }
        if datagram.received != 0 {
            self.sampled = self.sampled.wrapping_add(1);
            if self.sampled % SAMPLE != 0 {
                datagram.received = 0;
            }
        }
        match datagram.socket.kind() {
            Kind::Listener => self.from_listener(&datagram, now),
            Kind::Relay => self.forwarder.from_peer(&mut self.arena, &datagram, now),
            Kind::Wake | Kind::Stream => (),
        }
    }

    fn from_listener(&mut self, datagram: &Datagram, now: Nanos) {
        let client = self.forwarder.client_of(datagram);
        if client.is_none() && self.shared.stations.len() > 1 {
            let owner = self.shared.worker_of(datagram.from);
            if owner != self.index {
                return self.pass_on(owner, datagram);
            }
        }
        let (mut start, end) = (datagram.start, datagram.start + datagram.len);
        loop {
            let len = datagram.segment.min(end - start) as usize;
            let (slot, received) = (datagram.slot, datagram.received);
            let inbound = Inbound { slot, start: start as usize, len, received };
            match self.forwarder.from_client(&self.arena, client, inbound, now) {
                Verdict::Done => (),
                Verdict::Answer(request) => self.forwarder.answer_binding(request, datagram, now),
                Verdict::Decide => {
                    if let Some(leg) = self.forwarder.leg_of(datagram) {
                        self.hand_up(leg, client.is_some(), inbound, now);
                    }
                }
            }
            start += datagram.segment;
            if start >= end {
                return;
            }
        }
    }

    fn hand_up(&mut self, leg: Leg, has_relay: bool, inbound: Inbound, now: Nanos) {
        let data = inbound.bytes(&self.arena);
        let knows_nonce = || {
            let (Some(keys), Ok(stun)) = (&self.nonce_keys, Stun::from_untrusted(data)) else {
                return false;
            };
            keys.verifies_untrusted(&stun, leg.client, seconds(now))
        };
        let known = has_relay || knows_nonce();
        let standing = if known { Standing::Known } else { Standing::Stranger };
        if !self.station.hand_up.message(leg, data, standing) {
            self.station.counters.drops.add(Drop::HandUpFull, 1);
        }
        self.handed_up = true;
    }

    fn pass_on(&self, owner: u32, datagram: &Datagram) {
        let Some(station) = self.shared.stations.get(owner as usize) else { return };
        let all = self.arena.bytes(datagram.slot, (datagram.start + datagram.len) as usize);
        let Datagram { socket, from, to, .. } = *datagram;
        for data in all[datagram.start as usize..].chunks(datagram.segment.max(1) as usize) {
            if !station.pass(Passed { socket, from, to, data: data.into() }) {
                self.station.counters.drops.add(Drop::QueueFull, 1);
            }
        }
    }

    fn take_passed(&mut self, now: Nanos) {
        if self.shared.stations.len() == 1 {
            return;
        }
        let mut queue = self.station.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = std::mem::take(&mut *queue);
        drop(queue);
        for Passed { socket, from, to, data } in passed {
            let slot = self.spare_slot(now);
            self.arena.bytes_mut(slot)[..data.len()].copy_from_slice(&data);
            let (len, segment) = (data.len() as u32, data.len() as u32);
            let datagram = Datagram { socket, slot, start: 0, len, segment, from, to, received: 0 };
            self.datagram(datagram, now);
        }
    }

    // -------------------------------------------------------------------------------- streams

    fn ready(&mut self, ready: Ready, now: Nanos) {
        match ready.socket.kind() {
            Kind::Relay if ready.error => self.read_errors(ready.socket, now),
            Kind::Stream => {
                let place = ready.socket.place() as u32;
                let found = self.forwarder.connections.get(place);
                if found.is_none_or(|connection| connection.token != ready.socket) {
                    return;
                }
                if ready.writable {
                    self.send_stream(place, Stream::writable);
                }
                if ready.readable && self.may_read(place) {
                    self.read_stream(place, now);
                }
            }
            Kind::Wake | Kind::Listener | Kind::Relay => (),
        }
    }

    fn read_errors(&mut self, token: Token, now: Nanos) {
        for _ in 0..32 {
            let Some(relay) = find(&mut self.forwarder.table.relays, token) else { return };
            match sys::errors::read_icmp(relay.socket.as_fd()) {
                Ok(Some(icmp)) => self.forwarder.icmp_from_peer(token, &icmp, now),
                Ok(None) => (),
                Err(_) => return, // no more of them
            }
        }
    }

    fn may_read(&mut self, place: u32) -> bool {
        let Some(connection) = self.forwarder.connections.get(place) else { return false };
        if connection.stream.is_open() {
            return true;
        }
        self.handshakes += 1;
        self.handshakes <= HANDSHAKES
    }

    fn read_stream(&mut self, place: u32, now: Nanos) {
        for _ in 0..READS {
            let slot = self.spare_slot(now);
            let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
            let progress =
                connection.stream.readable(self.arena.bytes_mut(slot), &mut self.scratch);
            if progress.opened {
                self.station.hand_up.opened(connection.leg);
                self.handed_up = true;
            }
            let bytes = self.arena.bytes(slot, progress.filled);
            let mut at = 0;
            let mut end = progress.end;
            self.frames.clear();
            loop {
                match connection.stream.next_frame(bytes, &mut at) {
                    Ok(Some(frame)) => self.frames.push(frame),
                    Ok(None) => break connection.stream.keep_rest(bytes, at, now),
                    Err(_) => break end = Some(CloseReason::Garbage),
                }
            }
            self.take_frames(place, slot, now);
            if let Some(reason) = end {
                self.flush(now); // frames that came before the end are still sent
                return self.end_connection(place, reason);
            }
            if progress.flush {
                self.mark_unflushed(place);
            }
            if !progress.more {
                return;
            }
        }
    }

    fn take_frames(&mut self, place: u32, slot: u32, now: Nanos) {
        let frames = std::mem::take(&mut self.frames);
        for frame in &frames {
            let Some(connection) = self.forwarder.connections.get(place) else { break };
            let (client, leg) = (connection.client, connection.leg);
            let inbound = Inbound { slot, start: frame.start, len: frame.len(), received: 0 };
            match self.forwarder.from_client(&self.arena, client, inbound, now) {
                Verdict::Done => (),
                Verdict::Answer(request) => self.answer_binding(place, request),
                Verdict::Decide => self.hand_up(leg, client.is_some(), inbound, now),
            }
            if self.forwarder.outbox.is_full() {
                // The slot's frames are still needed: only the outbox is emptied.
                self.driver.send(&mut self.forwarder.outbox, &self.arena);
                self.forwarder.settle(now, sys::clock::realtime());
            }
        }
        self.frames = frames;
    }

    fn answer_binding(&mut self, place: u32, request: BindingRequest) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        let mut answer = Vec::new();
        binding_success(&request, connection.leg.client, &mut answer);
        if connection.stream.queue_answer(&answer).is_err() {
            self.station.counters.drops.add(Drop::QueueFull, 1);
        }
        self.station.counters.bindings.add(1);
        self.mark_unflushed(place);
    }

    fn mark_unflushed(&mut self, place: u32) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        if !connection.unflushed {
            connection.unflushed = true;
            self.forwarder.unflushed.push(place);
        }
    }

    fn flush_streams(&mut self) {
        while let Some(place) = self.forwarder.unflushed.pop() {
            if let Some(connection) = self.forwarder.connections.get_mut(place) {
                connection.unflushed = false;
            }
            self.send_stream(place, Stream::flush);
        }
    }

    fn send_stream(&mut self, place: u32, send: impl FnOnce(&mut Stream) -> Flush) {
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        let waits = match send(&mut connection.stream) {
            Flush::Done => false,
            Flush::Waits => true,
            Flush::Failed => return self.end_connection(place, CloseReason::Client),
        };
        if waits != connection.waits {
            connection.waits = waits;
            let socket = connection.stream.as_fd();
            if self.driver.want(socket, connection.token, true, waits).is_err() {
                self.end_connection(place, CloseReason::Server);
            }
        }
    }

    fn end_connection(&mut self, place: u32, reason: CloseReason) {
        let Some(mut connection) = self.forwarder.connections.remove(place) else { return };
        self.streams.remove(&connection.leg.stream);
        let client = connection.client.and_then(|client| self.forwarder.table.clients.get(client));
        let relays: Vec<u64> = client
            .into_iter()
            .flat_map(|client| &client.relays)
            .filter_map(|place| Some(self.forwarder.table.relays.get(*place)?.id))
            .collect();
        for id in relays {
            self.close_relay(id);
        }
        connection.stream.farewell();
        self.driver.unwatch(connection.stream.as_fd(), connection.token);
        let standing =
            if connection.client.is_some() { Standing::Known } else { Standing::Stranger };
        self.station.hand_up.closed(connection.leg, reason, standing);
        self.handed_up = true;
    }

    // --------------------------------------------------------------------------------- orders

    fn obey(&mut self, now: Nanos) {
        let mut orders = std::mem::take(&mut self.orders);
        self.station.orders.take(&mut orders);
        for order in orders.drain(..) {
            self.carry_out(order, now);
        }
        self.orders = orders;
    }

    fn carry_out(&mut self, order: Order, now: Nanos) {
        let table = &mut self.forwarder.table;
        match order {
            Order::Ledger(ledger) => self.forwarder.ledgers.push(ledger),
            Order::Listen(listener) => self.listen(listener),
            Order::CloseListener(index) => self.close_listener(index),
            Order::Adopt(adoption) => self.adopt(*adoption, now),
            Order::CloseLeg(stream, reason) => {
                if let Some(place) = self.streams.get(&stream).copied() {
                    self.end_connection(place, reason);
                }
            }
            Order::Answer(stream, data) => self.answer(stream, &data),
            Order::Open(relay, address) => self.open(*relay, address),
            Order::Assign(id, address, purses) => {
                if let Some(place) = table.place_of(id) {
                    self.assign(place, &address, Some(purses));
                }
            }
            Order::Release(id, to) => self.release(id, &to),
            Order::Claim(from, address, purses) => {
                if let Ok(Some(moving)) = from.recv() {
                    self.claim(*moving, &address, purses);
                }
            }
            Order::Permit(id, host, deadline) => table.permit(id, host, deadline, now),
            Order::Bind(id, number, peer, deadline) => {
                table.bind_channel(id, number, peer, deadline, now);
            }
            Order::Close(id) => self.close_relay(id),
            Order::Protect(protection) => table.protect(protection),
            Order::KnowNonces(keys) => self.nonce_keys = Some(keys),
            Order::Tick => self.tick(now),
            Order::Report(to) => {
                self.buried.clear();
                // Who asked may have given up.
                let _ = to.send(());
            }
            Order::Stop => self.stop(),
        }
    }

    fn listen(&mut self, listener: crate::forward::Listener) {
        let token = Token::listener(self.forwarder.listeners.len() as u32);
        if listener.receives && self.driver.watch(listener.socket.as_fd(), token).is_err() {
            self.station.counters.faults.add(1);
        }
        self.forwarder.listeners.push(Some(listener));
    }

    fn close_listener(&mut self, index: u32) {
        let Some(place) = self.forwarder.listeners.get_mut(index as usize) else { return };
        if let Some(listener) = place.take().filter(|listener| listener.receives) {
            self.driver.unwatch(listener.socket.as_fd(), Token::listener(index));
        }
    }

    fn adopt(&mut self, adoption: Adoption, now: Nanos) {
        let Adoption { socket, leg, settings, tls, first_bytes, ledger } = adoption;
        let stream = match &tls {
            Some(tls) => Stream::tls(socket.into(), &settings, tls, &first_bytes, now),
            None => Stream::tcp(socket.into(), &settings, &first_bytes),
        };
        let place = self.forwarder.connections.add(|place, generation| Connection {
            leg,
            token: Token::stream(place, generation),
            stream,
            client: None,
            ledger,
            unflushed: false,
            waits: false,
        });
        self.streams.insert(leg.stream, place);
        let Some(connection) = self.forwarder.connections.get(place) else { return };
        let watched = self.driver.watch(connection.stream.as_fd(), connection.token);
        if watched.is_err() {
            return self.end_connection(place, CloseReason::Server);
        }
        // A handshake's bytes are announced by the driver, unless they have been read already.
        if tls.is_none() || !first_bytes.is_empty() {
            self.read_stream(place, now);
        }
    }

    fn answer(&mut self, stream: u64, data: &[u8]) {
        let Some(place) = self.streams.get(&stream).copied() else { return };
        let Some(connection) = self.forwarder.connections.get_mut(place) else { return };
        if connection.stream.queue_answer(data).is_err() {
            self.station.counters.drops.add(Drop::QueueFull, 1);
        }
        self.mark_unflushed(place);
    }

    fn open(&mut self, relay: NewRelay, address: Option<Address>) {
        let place = self.forwarder.table.add(relay);
        if let Some(address) = address {
            self.assign(place, &address, None);
        }
    }

    /// Lets a relay serve a client; only now is it read, so that nothing arrived is lost.
    fn assign(&mut self, place: u32, address: &Address, purses: Option<Vec<Purse>>) {
        let Some((client, newcomer)) = self.newcomer(address) else {
            // The stream has ended meanwhile: Python will hear of it, the relay goes with it.
            if let Some(id) = self.forwarder.table.relays.get(place).map(|relay| relay.id) {
                self.close_relay(id);
            }
            return;
        };
        let (client, idle) = self.forwarder.table.assign(place, client, newcomer);
        self.settle_in(place, client, newcomer.way, purses);
        self.forget_client(idle);
    }

    fn newcomer(&self, address: &Address) -> Option<(Option<u32>, Newcomer)> {
        let Address { leg, listener, wildcard, ledger } = *address;
        if leg.transport == Transport::Udp {
            let local = wildcard.then(|| leg.local.ip());
            let key = UdpKey { listener, client: leg.client, local };
            let way = Way::Datagrams { listener, to: RawAddress::from(leg.client) };
            let client = self.forwarder.table.client_of(&key);
            return Some((client, Newcomer { leg, way, key: Some(key), ledger }));
        }
        let place = *self.streams.get(&leg.stream)?;
        let connection = self.forwarder.connections.get(place)?;
        let way = Way::Stream(place);
        Some((connection.client, Newcomer { leg, way, key: None, ledger }))
    }

    fn settle_in(&mut self, place: u32, client: u32, way: Way, purses: Option<Vec<Purse>>) {
        if let Way::Stream(stream) = way {
            if let Some(connection) = self.forwarder.connections.get_mut(stream) {
                connection.client = Some(client);
                connection.stream.expect_media();
            }
        }
        let Some(relay) = self.forwarder.table.relays.get_mut(place) else { return };
        if let Some(purses) = purses {
            relay.purses = purses;
        }
        if !relay.watched {
            relay.watched = self.driver.watch(relay.socket.as_fd(), relay.token).is_ok();
            if !relay.watched {
                self.station.counters.faults.add(1);
            }
        }
    }

    fn forget_client(&mut self, idle: Option<Client>) {
        if let Some(Client { way: Way::Stream(stream), .. }) = idle {
            if let Some(connection) = self.forwarder.connections.get_mut(stream) {
                connection.client = None;
            }
        }
    }

    fn release(&mut self, id: u64, to: &std::sync::mpsc::SyncSender<Option<Box<Moving>>>) {
        let taken = self.forwarder.table.take(id).map(|(mut moving, idle)| {
            self.forget_client(idle);
            let relay = moving.relay_mut();
            if std::mem::take(&mut relay.watched) {
                self.driver.unwatch(relay.socket.as_fd(), relay.token);
            }
            Box::new(moving)
        });
        // Who asked may have given up.
        let _ = to.send(taken);
    }

    fn claim(&mut self, moving: Moving, address: &Address, purses: Vec<Purse>) {
        // Without its leg the relay goes: Python hears of the stream's end.
        let Some((client, newcomer)) = self.newcomer(address) else { return };
        let (place, client) = self.forwarder.table.put(moving, client, newcomer);
        self.settle_in(place, client, newcomer.way, Some(purses));
    }

    fn close_relay(&mut self, id: u64) {
        let Some((relay, idle)) = self.forwarder.table.remove(id) else { return };
        self.forget_client(idle);
        self.bury(relay);
    }

    fn bury(&mut self, relay: Relay) {
        if relay.watched {
            self.driver.unwatch(relay.socket.as_fd(), relay.token);
        }
        // Packets of this turn may still be sent by it.
        self.buried.push(relay.socket);
    }

    fn tick(&mut self, now: Nanos) {
        self.forwarder.table.tidy(now);
        let overdue: Vec<(u32, CloseReason)> = self
            .forwarder
            .connections
            .iter()
            .filter_map(|(place, connection)| Some((place, connection.stream.overdue(now)?)))
            .collect();
        for (place, reason) in overdue {
            self.end_connection(place, reason);
        }
    }

    fn stop(&mut self) {
        let places: Vec<u32> = self.forwarder.connections.iter().map(|(place, _)| place).collect();
        for place in places {
            self.end_connection(place, CloseReason::Server);
        }
        self.stopped = true;
    }
}
