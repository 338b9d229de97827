//! What every driver does, over real sockets on loopback.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::arena::Arena;
use super::epoll::EpollDriver;
use super::outbox::{Envelope, Outbox, Piece, RunMark};
use super::probe::works_uring;
use super::uring::UringDriver;
use super::{Arrivals, Driver, Ready, Token};
use crate::address::RawAddress;
use crate::fields::Fields;
use crate::sys::batch::send_one;
use crate::sys::control::Asked;
use crate::sys::options::{Buffers, prepare_listener, prepare_relay};
use crate::sys::socket::{SocketOptions, bind_udp};

mod receiving;
mod sending;

/// How long to wait for what must come.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// A datagram as it was received.
#[derive(Clone, Debug)]
pub(super) struct Got {
    socket: Token,
    from: SocketAddr,
    to: Option<IpAddr>,
    fields: Fields,
    received: u64,
    /// Bytes of each datagram that was merged into it.
    segment: u32,
    data: Vec<u8>,
}

/// A driver with all that a worker gives it, and what came of it.
pub(super) struct Bench<D> {
    driver: D,
    arena: Arena,
    arrivals: Arrivals,
    outbox: Outbox,
    got: Vec<Got>,
    ready: Vec<Ready>,
    turns: usize,
}

/// The slot in which tests write what they send: the worker's own.
const OURS: u32 = 0;

impl<D: Driver> Bench<D> {
    fn new() -> Self {
        let arena = Arena::new(D::SLOTS + 1);
        Self {
            driver: D::new(&arena).unwrap(),
            arena,
            arrivals: Arrivals::default(),
            outbox: Outbox::default(),
            got: Vec::new(),
            ready: Vec::new(),
            turns: 0,
        }
    }

    fn watch(&mut self, socket: &impl AsFd, token: Token) {
        self.driver.watch(socket.as_fd(), token).unwrap();
    }

    fn unwatch(&mut self, socket: &impl AsFd, token: Token) {
        self.driver.unwatch(socket.as_fd(), token);
    }

    /// One turn that waits so long at most.
    fn turn(&mut self, timeout: Duration) {
        self.turns += 1;
        self.driver.receive(&mut self.arena, &mut self.arrivals, Some(timeout)).unwrap();
        self.ready.extend(&self.arrivals.ready);
        for datagram in &self.arrivals.datagrams {
            let start = datagram.start as i32;
            let data = self.arena.slice(datagram.slot, start, datagram.len as usize);
            self.got.push(Got {
                socket: datagram.socket,
                from: datagram.from,
                to: datagram.to,
                fields: datagram.fields,
                received: datagram.received,
                segment: datagram.segment,
                data: data.to_vec(),
            });
        }
    }

    /// Turns until there is what must come.
    fn until(&mut self, mut there: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !there(self) {
            assert!(Instant::now() < deadline, "{} in {:?}", self.got.len(), self.ready);
            self.turn(Duration::from_millis(100));
        }
    }

    /// Whether a descriptor was told to be ready.
    fn is_told(&self, is: impl Fn(&Ready) -> bool) -> bool {
        self.ready.iter().any(is)
    }

    /// Puts a datagram into the outbox.
    fn push(&mut self, mark: &mut RunMark, envelope: &Envelope, data: &[u8]) {
        let piece = self.outbox.scratch(data);
        self.push_pieces(mark, envelope, &[piece]);
    }

    fn push_pieces(&mut self, mark: &mut RunMark, envelope: &Envelope, pieces: &[Piece]) {
        let payload = pieces.iter().map(Piece::len).sum();
        self.outbox.push(mark, envelope, pieces, payload, 0);
    }

    /// Sends the outbox; returns lost datagrams, errno and whether the run was refused, of each.
    fn send(&mut self) -> Vec<(u32, i32, bool)> {
        self.driver.send(&mut self.outbox, &self.arena);
        let outcomes = self
            .outbox
            .transmits()
            .iter()
            .map(|transmit| (transmit.lost, transmit.errno, transmit.refused_run))
            .collect();
        self.outbox.clear();
        outcomes
    }
}

/// That a message was sent.
const SENT: (u32, i32, bool) = (0, 0, false);

fn bind(address: &str) -> OwnedFd {
    // What every system grants.
    let buffers = Buffers { receive: 212_992, send: 212_992 };
    let options = SocketOptions { buffers, shared: false };
    bind_udp(address.parse().unwrap(), &options).unwrap()
}

fn relay(address: &str) -> UdpSocket {
    let socket = bind(address);
    prepare_relay(socket.as_fd(), address.starts_with('['), false).unwrap();
    UdpSocket::from(socket)
}

fn listener(address: &str, wildcard: bool, stamped: bool) -> UdpSocket {
    let socket = bind(address);
    prepare_listener(socket.as_fd(), wildcard, stamped).unwrap();
    UdpSocket::from(socket)
}

/// As many descriptors as the system lets us have.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// A plain socket of somebody else, that waits for what must come.
fn stranger(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Some that the system does not write by itself.
const FIELDS: [Fields; 4] = [
    Fields { hops: 9, class: 0 },
    Fields { hops: 255, class: 0xB9 },
    Fields { hops: 1, class: 3 },
    Fields { hops: 64, class: 0xFF },
];

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

fn envelope(socket: &UdpSocket, to: SocketAddr) -> Envelope {
    Envelope {
        socket: socket.as_raw_fd(),
        to: RawAddress::from(to),
        from: None,
        fields: Fields::default(),
        relay: Token::relay(0, 1),
        ledger: 0,
        upward: true,
        dont_fragment: false,
        runs: true,
    }
}

/// The next datagram that somebody received.
fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut room = vec![0; 65_536];
    let (len, from) = socket.recv_from(&mut room).unwrap();
    room.truncate(len);
    (room, from)
}

/// Somebody sends a run, merged all the way to a socket with UDP_GRO.
fn send_run(sender: &UdpSocket, data: &[u8], segment: u16, to: SocketAddr) {
    let asked = Asked::nothing().cut(segment);
    let to = RawAddress::from(to);
    send_one(sender.as_raw_fd(), &to, &[IoSlice::new(data)], &asked).unwrap();
}

/// Each test for each driver.
macro_rules! for_every_driver {
    ($($module:ident: $($test:ident),+;)+) => {
        mod epoll {
            use super::*;
            $($(
                #[test]
                fn $test() {
                    $module::$test::<EpollDriver>();
                }
            )+)+
        }

        mod uring {
            use super::*;
            $($(
                #[test]
                fn $test() {
                    // Some machines forbid io_uring: there, what is left to ask of it is that the
                    // probe says so, which is what keeps workers from it.
                    match works_uring() {
                        Ok(()) => $module::$test::<UringDriver>(),
                        Err(why) => assert!(!why.is_empty()),
                    }
                }
            )+)+
        }
    };
}

for_every_driver! {
    receiving:
        one_datagram_arrives_with_its_sender,
        a_burst_arrives_in_its_order,
        a_run_arrives_merged,
        a_wildcard_socket_tells_where_to,
        header_fields_are_told,
        arrival_is_stamped_if_asked_for,
        a_flood_starves_no_other_socket,
        more_than_there_are_slots_arrives,
        an_idle_turn_brings_nothing,
        a_thread_is_woken_until_it_drains,
        a_stream_is_told_again_until_it_is_read,
        a_stream_is_wanted_for_what_it_is,
        a_socket_that_is_unwatched_frees_its_port,
        a_socket_that_is_handed_on_loses_nothing,
        a_driver_that_is_dropped_frees_all_ports,
        a_place_has_its_next_tenant,
        two_thousand_sockets_are_seen_to;
    sending:
        messages_leave_in_their_order,
        a_packet_goes_on_from_its_slot,
        a_run_is_cut_into_datagrams,
        an_answer_leaves_from_the_address_that_was_asked,
        messages_leave_with_their_header_fields,
        a_run_that_the_socket_refuses_is_sent_apart,
        a_run_that_the_path_refuses_is_sent_apart,
        what_does_not_fit_is_lost_with_its_reason,
        fragments_are_not_sent_where_they_are_forbidden,
        an_icmp_error_costs_no_other_packet,
        an_error_that_a_whole_packet_meets_is_told,
        a_full_outbox_is_sent;
}
