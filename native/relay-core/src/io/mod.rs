//! What a worker asks of the kernel, whichever way it is asked.
//!
//! One turn of a worker: [`Driver::receive`] fills the arrivals, everything in them is handled,
//! [`Driver::send`] empties the outbox and so gives the slots back. Nothing received in one turn is
//! looked at in a later one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use self::arena::Arena;
use self::outbox::Outbox;
use crate::fields::Fields;
use crate::time::Nanos;

pub mod arena;
#[cfg(test)]
mod contract;
pub mod epoll;
pub mod outbox;
pub mod probe;
mod readiness;
mod sending;
mod slots;
pub mod uring;
mod watched;

/// What a socket is to its worker: a place in one of its tables, and which tenant of the place.
/// What arrives for a former tenant finds that the generation differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The descriptor that wakes the worker.
    Wake,
    /// A UDP endpoint of clients.
    Listener,
    /// A relayed transport address.
    Relay,
    /// A TCP or TLS connection.
    Stream,
    /// The connection of a peer that a stream was spliced with.
    Peer,
}

impl Token {
    /// The descriptor that wakes the worker.
    pub const WAKE: Self = Self::new(0, 0, 0);
    const GENERATIONS: u32 = 1 << 23;

    const fn new(kind: u64, place: u32, generation: u32) -> Self {
        Self(kind << 55 | ((generation % Self::GENERATIONS) as u64) << 32 | place as u64)
    }

    /// A UDP endpoint of clients.
    #[must_use]
    pub const fn listener(place: u32) -> Self {
        Self::new(1, place, 0)
    }

    /// A relayed transport address.
    #[must_use]
    pub const fn relay(place: u32, generation: u32) -> Self {
        Self::new(2, place, generation)
    }

    /// A TCP or TLS connection.
    #[must_use]
    pub const fn stream(place: u32, generation: u32) -> Self {
        Self::new(3, place, generation)
    }

    /// The connection of the peer that a stream is spliced with.
    #[must_use]
    pub const fn of_peer(self) -> Self {
        Self::new(4, self.place() as u32, self.generation())
    }

    /// What it names.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 >> 55 & 7 {
            0 => Kind::Wake,
            1 => Kind::Listener,
            2 => Kind::Relay,
            3 => Kind::Stream,
            _ => Kind::Peer,
        }
    }

    /// Whether datagrams are what its descriptor brings.
    #[must_use]
    pub const fn is_udp(self) -> bool {
        matches!(self.kind(), Kind::Listener | Kind::Relay)
    }

    /// The place in its table.
    #[must_use]
    pub const fn place(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }

    /// Which tenant of the place.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32 % Self::GENERATIONS
    }

    /// As a number that a kernel interface carries along (below 2^58).
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From that number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// One datagram, or several of one sender that the kernel merged (UDP_GRO).
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// The socket it came by.
    pub socket: Token,
    /// The slot its bytes are in.
    pub slot: u32,
    /// Where in the slot they begin.
    pub start: u32,
    /// How many bytes.
    pub len: u32,
    /// Bytes of each datagram but the last, which may be shorter; `len` when there is one.
    pub segment: u32,
    /// Whose it is: who sent it, or whom the proxy named that did.
    pub from: SocketAddr,
    /// That proxy.
    pub via: Option<SocketAddr>,
    /// Which address of ours it was sent to, where the socket is bound to all of them.
    pub to: Option<IpAddr>,
    /// What its IP header says beside.
    pub fields: Fields,
    /// When the kernel received it (CLOCK_REALTIME), if the socket was asked to tell; else 0.
    pub received: Nanos,
}

/// A datagram on its way to another worker, with its bytes.
#[derive(Debug)]
pub struct Carried {
    /// The socket it came by.
    pub socket: Token,
    /// Who sent it.
    pub from: SocketAddr,
    /// Which address of ours it was sent to, where the socket is bound to all of them.
    pub to: Option<IpAddr>,
    /// What its IP header says beside.
    pub fields: Fields,
    /// Its bytes.
    pub data: Box<[u8]>,
}

impl Datagram {
    /// Where it came from, and answers go.
    #[must_use]
    pub fn sender(&self) -> SocketAddr {
        self.via.unwrap_or(self.from)
    }

    /// Each single datagram, with a copy of its bytes.
    pub fn carried<'a>(&self, arena: &'a Arena) -> impl Iterator<Item = Carried> + use<'a> {
        let all = arena.bytes(self.slot, (self.start + self.len) as usize);
        let Self { socket, from, to, fields, .. } = *self;
        self.segments().map(move |segment| {
            let data = all[segment.start as usize..segment.end as usize].into();
            Carried { socket, from, to, fields, data }
        })
    }

    /// Where in the slot each single datagram is; at least one, which may be empty.
    pub fn segments(&self) -> impl Iterator<Item = Range<u32>> + use<> {
        let (end, size) = (self.start + self.len, self.segment.max(1));
        let mut next = Some(self.start);
        std::iter::from_fn(move || {
            let start = next?;
            let stop = end.min(start + size);
            next = (stop < end).then_some(stop);
            Some(start..stop)
        })
    }
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whose descriptor.
    pub socket: Token,
    /// It can be read, or has ended.
    pub readable: bool,
    /// It takes bytes again.
    pub writable: bool,
    /// Its error queue has something (relays: an ICMP error).
    pub error: bool,
}

/// What one `receive` brought.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Datagrams; those of one socket in the order of their arrival.
    pub datagrams: Vec<Datagram>,
    /// Streams that are ready, relays with errors, the wake-up.
    pub ready: Vec<Ready>,
}

impl Arrivals {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.datagrams.clear();
        self.ready.clear();
    }

    /// Whether nothing came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.ready.is_empty()
    }

    /// How many datagrams there are, each merged one by itself, and how many descriptors beside.
    #[must_use]
    pub fn packets(&self) -> usize {
        let merged = |one: &Datagram| one.len.div_ceil(one.segment.max(1)).max(1) as usize;
        self.datagrams.iter().map(merged).sum::<usize>() + self.ready.len()
    }

    /// Takes out the datagrams of one socket.
    pub fn take_from(&mut self, socket: Token, arena: &Arena) -> Vec<Carried> {
        let mut taken = Vec::new();
        self.datagrams.retain(|datagram| {
            let is_other = datagram.socket != socket;
            if !is_other {
                taken.extend(datagram.carried(arena));
            }
            is_other
        });
        taken
    }

    /// Tells to look at a socket's error queue.
    fn note_error(&mut self, socket: Token) {
        self.ready.push(Ready { socket, readable: false, writable: false, error: true });
    }
}

/// A way to move packets: epoll with recvmmsg and sendmmsg, or io_uring.
pub trait Driver {
    /// For the first line and the metric: `epoll` or `io_uring`.
    const NAME: &'static str;

    /// Slots of the arena that the driver needs, from 0 on; those behind it are the worker's.
    const SLOTS: usize;

    /// A driver for an arena of at least so many slots. To be made by the thread that uses it.
    ///
    /// # Errors
    /// Out of descriptors or memory, or the kernel does not have what the driver needs.
    fn new(arena: &Arena) -> io::Result<Self>
    where
        Self: Sized;

    /// Sees to a socket: datagrams of listeners and relays are received, streams and the wake-up
    /// are told when they are ready.
    ///
    /// # Errors
    /// What the kernel says; the socket is not watched then.
    fn watch(&mut self, socket: BorrowedFd<'_>, token: Token) -> io::Result<()>;

    /// Sees to a socket no more. To be called before it is closed; nothing of it is held open
    /// when this returns, so that closing it frees its port.
    fn unwatch(&mut self, socket: BorrowedFd<'_>, token: Token);

    /// As `unwatch`, for a UDP socket that another driver goes on with: what was received by it
    /// already is added to the arrivals, and what was not waits in it.
    fn hand_on(
        &mut self,
        socket: BorrowedFd<'_>,
        token: Token,
        arena: &Arena,
        arrivals: &mut Arrivals,
    );

    /// What a stream is wanted for from now on: to be read, to be written. At first it is to be
    /// read. That it has failed or ended is told anyhow.
    ///
    /// # Errors
    /// What the kernel says.
    fn want(
        &mut self,
        socket: BorrowedFd<'_>,
        token: Token,
        read: bool,
        write: bool,
    ) -> io::Result<()>;

    /// Waits until there is something, at most so long (`None`: however long; else rounded up to
    /// milliseconds), and takes it in place of what the arrivals had: a bounded batch, of each
    /// socket a bounded part, so that a flood on one starves no other. Interrupted or timed out,
    /// it brings nothing.
    ///
    /// # Errors
    /// The driver has broken; it can not go on.
    fn receive(
        &mut self,
        arena: &mut Arena,
        arrivals: &mut Arrivals,
        timeout: Option<Duration>,
    ) -> io::Result<()>;

    /// Sends everything now, without waiting for room: what the kernel does not take is noted in
    /// its message (`lost`, `errno`). An error of an earlier packet that the kernel tells at this
    /// one's cost (ICMP) is no reason: it is tried once more. A run that the path refuses is sent
    /// datagram by datagram, and `refused_run` says so. The outbox is not cleared.
    fn send(&mut self, outbox: &mut Outbox, arena: &Arena);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_kind_place_and_tenant() {
        let token = Token::relay(u32::MAX, 5);
        assert_eq!(
            (token.kind(), token.place(), token.generation()),
            (Kind::Relay, u32::MAX as usize, 5)
        );
        assert_eq!(Token::from_bits(token.to_bits()), token);
        assert_eq!(Token::listener(3).kind(), Kind::Listener);
        assert_eq!(Token::stream(3, 1).kind(), Kind::Stream);
        let peer = Token::stream(3, 1).of_peer();
        assert_eq!((peer.kind(), peer.place(), peer.generation()), (Kind::Peer, 3, 1));
        assert_eq!(Token::WAKE.kind(), Kind::Wake);
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one piece is a list of pieces, too")]
    fn what_was_merged_is_told_apart() {
        let segments = |start, len, segment| {
            let (from, socket) = ("192.0.2.1:1".parse().unwrap(), Token::listener(0));
            let (slot, via, to, received) = (0, None, None, 0);
            let fields = Fields::default();
            let all =
                Datagram { socket, slot, start, len, segment, from, via, to, fields, received };
            all.segments().collect::<Vec<_>>()
        };
        assert_eq!(segments(8, 5, 5), [8..13]);
        assert_eq!(segments(8, 5, 2), [8..10, 10..12, 12..13]);
        assert_eq!(segments(8, 0, 0), [8..8]);
        assert_eq!(segments(0, 2, 0), [0..1, 1..2], "never endless");
        let of = |len, segment| Datagram {
            socket: Token::listener(0),
            slot: 0,
            start: 0,
            len,
            segment,
            from: "192.0.2.1:1".parse().unwrap(),
            via: None,
            to: None,
            fields: Fields::default(),
            received: 0,
        };
        let ready = Ready { socket: Token::WAKE, readable: true, writable: false, error: false };
        let datagrams = vec![of(5, 5), of(5, 2), of(0, 0)];
        let arrivals = Arrivals { datagrams, ready: vec![ready] };
        assert_eq!(arrivals.packets(), 1 + 3 + 1 + 1);
    }

    #[test]
    fn generations_wrap() {
        assert_eq!(Token::stream(1, 1 << 23), Token::stream(1, 0));
        assert_ne!(Token::stream(1, 1), Token::stream(1, 0));
    }
}
