//! Turns of workers by a driver in memory: what arrives is put there, what left is looked at.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{BorrowedFd, RawFd};

use super::*;
use crate::counters::Drop;
use crate::fields::Fields;
use crate::forward::{HandedUp, Listener};
use crate::handup::Event;
use crate::io::outbox::Outbox;
use crate::io::{Datagram, Ready};
use crate::leg::{Host, Leg, Transport};
use crate::orders::{self, Address};
use crate::rules::relay::RelayShared;
use crate::rules::table::NewRelay;
use crate::time::{Clock, SECOND};

#[cfg(feature = "dtls")]
mod associations;
mod faults;
mod passing;
mod pipes;
mod proxied;
mod streams;
mod turns;

const NOW: Nanos = 100 * SECOND;
const LATER: Nanos = 200 * SECOND;
const CHANNEL: u16 = 0x4001;
const PEER: &str = "198.51.100.1:5000";
const SERVER: &str = "203.0.113.1:3478";
const LISTENER: Token = Token::listener(0);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

fn is_open(descriptor: RawFd) -> bool {
    std::path::Path::new(&format!("/proc/self/fd/{descriptor}")).exists()
}

/// Where something arrives, from whom, its bytes, and how many of them each datagram has.
type Coming = (Token, SocketAddr, Vec<u8>, usize);

/// The kernel, played.
#[derive(Default)]
struct Played {
    /// What the next turns receive.
    coming: VecDeque<(Vec<Coming>, Vec<Ready>)>,
    /// What has been asked of it, in its order.
    log: Vec<String>,
    /// Datagrams that have left: where to, and their bytes.
    left: Vec<(SocketAddr, Vec<u8>)>,
    /// Whether the next order to watch something is a fault.
    breaks: bool,
}

impl Played {
    fn note(&mut self, what: &str, token: Token) {
        self.log.push(format!("{what} {:?} {}", token.kind(), token.place()));
    }
}

impl Driver for Played {
    const NAME: &'static str = "played";
    const SLOTS: usize = 16;

    fn new(_: &Arena) -> io::Result<Self> {
        Ok(Self::default())
    }

    fn watch(&mut self, _: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        assert!(!std::mem::take(&mut self.breaks), "a fault, as the test wants it");
        self.note("watch", token);
        Ok(())
    }

    fn unwatch(&mut self, _: BorrowedFd<'_>, token: Token) {
        self.note("unwatch", token);
    }

    fn hand_on(&mut self, socket: BorrowedFd<'_>, token: Token, _: &Arena, _: &mut Arrivals) {
        self.unwatch(socket, token);
    }

    fn want(&mut self, _: BorrowedFd<'_>, _: Token, _: bool, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn receive(
        &mut self,
        arena: &mut Arena,
        arrivals: &mut Arrivals,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.log.push(format!("receive {timeout:?}"));
        let (datagrams, ready) = self.coming.pop_front().unwrap_or_default();
        arrivals.ready = ready;
        for (slot, (socket, from, bytes, segment)) in (0..).zip(datagrams) {
            assert!((slot as usize) < Self::SLOTS);
            arena.bytes_mut(slot)[..bytes.len()].copy_from_slice(&bytes);
            let (len, segment) = (bytes.len() as u32, segment as u32);
            let (start, via, to, fields, received) = (0, None, None, Fields::default(), 0);
            let datagram =
                Datagram { socket, slot, start, len, segment, from, via, to, fields, received };
            arrivals.datagrams.push(datagram);
        }
        Ok(())
    }

    fn send(&mut self, outbox: &mut Outbox, arena: &Arena) {
        self.log.push(format!("send {}", outbox.transmits().len()));
        for (index, transmit) in outbox.transmits().iter().enumerate() {
            assert!(is_open(transmit.envelope.socket), "a socket closed too early");
            let bytes: Vec<u8> = outbox.gather(index, arena).flatten().copied().collect();
            let to = transmit.envelope.to.get().unwrap();
            let datagrams = bytes.chunks(transmit.segment.max(1) as usize);
            self.left.extend(datagrams.map(|datagram| (to, datagram.to_vec())));
        }
    }
}

/// Workers that share what an engine's do, each with one listener.
fn workers(count: u32) -> Vec<Worker<Played>> {
    let shared = Arc::new(Shared::new(count as usize, Clock::by_hand(NOW)).unwrap());
    (0..count).map(|index| worker(index, &shared)).collect()
}

fn worker(index: u32, shared: &Arc<Shared>) -> Worker<Played> {
    let mut worker = Worker::<Played>::new(index, shared.clone()).unwrap();
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap().into());
    let handed_up = HandedUp::default();
    let listener = Listener {
        id: 1,
        socket,
        receives: true,
        endpoint: at(SERVER),
        ledger: 0,
        handed_up,
        proxies: Default::default(),
        plain: true,
        dtls: None,
    };
    worker.give(Order::Ledger(Arc::default()));
    worker.give(Order::Listen(listener));
    worker.turn().unwrap();
    worker.driver.log.clear();
    worker
}

impl Worker<Played> {
    fn give(&self, order: Order) {
        self.station.orders.give(order);
    }

    /// Orders for a relay of a client with a channel to `PEER`.
    fn give_relay(&self, id: u64, client: SocketAddr) -> Arc<RelayShared> {
        self.give_relay_to(id, udp_leg(client))
    }

    fn give_relay_to(&self, id: u64, leg: Leg) -> Arc<RelayShared> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let shared = Arc::new(RelayShared::new(LATER));
        let (is_ipv4, purses) = (true, Vec::new());
        let relay = NewRelay { id, socket, is_ipv4, purses, shared: shared.clone() };
        self.give(Order::Open(Box::new(relay), Some(address(leg))));
        self.give(Order::Permit(id, Host::from(at(PEER)), LATER));
        self.give(Order::Bind(id, CHANNEL, at(PEER), LATER));
        shared
    }

    /// A turn in which these datagrams arrive, each by itself.
    fn arrive(&mut self, datagrams: &[(Token, SocketAddr, &[u8])]) {
        let coming = datagrams
            .iter()
            .map(|(token, from, bytes)| (*token, *from, bytes.to_vec(), bytes.len()));
        self.driver.coming.push_back((coming.collect(), Vec::new()));
        self.turn().unwrap();
    }

    fn relay(&self, id: u64) -> Token {
        let table = &self.forwarder.table;
        table.relays.get(table.place_of(id).unwrap()).unwrap().token
    }

    fn drops(&self, reason: Drop) -> u64 {
        self.station.counters.drops.get()[reason as usize]
    }

    fn events(&self) -> Vec<Event> {
        let mut batch = Vec::new();
        self.shared.hand_up.take(usize::MAX, &mut batch);
        batch
    }
}

fn udp_leg(client: SocketAddr) -> Leg {
    Leg { listener: 1, transport: Transport::Udp, local: at(SERVER), client, stream: 0, via: None }
}

fn address(leg: Leg) -> Address {
    Address { leg, listener: 0, wildcard: false, ledger: 0 }
}

/// A client whose datagrams are that worker's.
fn client_of(shared: &Shared, worker: u32) -> SocketAddr {
    let clients = (1..).map(|port| SocketAddr::from(([192, 0, 2, 9], port)));
    clients.into_iter().find(|client| shared.worker_of(*client) == worker).unwrap()
}
