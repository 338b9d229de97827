//! One relayed transport address, one five-tuple that has relays, and their channels.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::Purse;
use super::table::UdpKey;
use crate::address::RawAddress;
use crate::counters::{Drops, Traffic};
use crate::io::Token;
use crate::io::outbox::RunMark;
use crate::leg::{Host, Leg};
use crate::places::Places;
use crate::time::{Nanos, SECOND};

/// What of a relay is known outside of its worker.
#[derive(Debug)]
pub struct RelayShared {
    deadline: AtomicU64,
    /// What it moved.
    pub traffic: Traffic,
    /// What it did not.
    pub drops: Drops,
}

impl RelayShared {
    /// Until when it lives.
    #[must_use]
    pub fn new(deadline: Nanos) -> Self {
        Self {
            deadline: AtomicU64::new(deadline),
            traffic: Traffic::default(),
            drops: Drops::default(),
        }
    }

    /// Until when it lives: compared with every packet.
    #[must_use]
    pub fn deadline(&self) -> Nanos {
        self.deadline.load(Ordering::Acquire)
    }

    /// Sets its end, sooner or later than before; 0: at once.
    pub fn set_deadline(&self, deadline: Nanos) {
        self.deadline.store(deadline, Ordering::Release);
    }
}

/// How many ICMP errors a client was told of: whoever can make a router complain is no client.
#[derive(Clone, Copy, Debug, Default)]
pub struct IcmpRate {
    since: Nanos,
    told: u8,
}

impl IcmpRate {
    /// At most so many in each second that begins with an error.
    pub const PER_SECOND: u8 = 10;

    /// Whether one more may be told; if so it is counted.
    pub fn admits(&mut self, now: Nanos) -> bool {
        if now.saturating_sub(self.since) >= SECOND {
            *self = Self { since: now, told: 0 };
        }
        let has_room = self.told < Self::PER_SECOND;
        self.told += u8::from(has_room);
        has_room
    }
}

/// One relayed transport address and what it lets pass.
#[derive(Debug)]
pub struct Relay {
    /// Its handle.
    pub id: u64,
    /// Its place in the table, and which tenant of it.
    pub token: Token,
    /// Its socket.
    pub socket: OwnedFd,
    /// Whose it is, by place; none: a reservation.
    pub client: Option<u32>,
    /// Hosts that may send to the client, sorted, until when.
    pub permissions: Vec<(Host, Nanos)>,
    /// Channel numbers by the peer's raw address, sorted.
    pub channels: Vec<(SocketAddr, u16)>,
    /// What it draws bandwidth from.
    pub purses: Vec<Purse>,
    /// The open run towards peers without a channel.
    pub run: RunMark,
    /// Whether its paths take runs.
    pub runs: bool,
    /// Whether its worker receives from the socket.
    pub watched: bool,
    /// The ICMP errors that its client was told of lately.
    pub icmp: IcmpRate,
    /// What is known of it outside.
    pub shared: Arc<RelayShared>,
    /// The family of the address it is bound to.
    pub is_ipv4: bool,
}

impl Relay {
    /// The socket's number, for the turn.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether a host may send to the client now.
    #[must_use]
    pub fn permits(&self, host: Host, now: Nanos) -> bool {
        self.permitted_until(host).is_some_and(|deadline| now < deadline)
    }

    /// Until when it may, or might.
    #[must_use]
    pub fn permitted_until(&self, host: Host) -> Option<Nanos> {
        let found = self.permissions.binary_search_by(|(permitted, _)| permitted.cmp(&host));
        Some(self.permissions[found.ok()?].1)
    }

    /// Installs, extends or, with a deadline that has passed, removes a permission.
    pub fn permit(&mut self, host: Host, deadline: Nanos, now: Nanos) {
        let found = self.permissions.binary_search_by(|(permitted, _)| permitted.cmp(&host));
        match found {
            Ok(index) if now < deadline => self.permissions[index].1 = deadline,
            Ok(index) => drop(self.permissions.remove(index)),
            Err(index) if now < deadline => self.permissions.insert(index, (host, deadline)),
            Err(_) => (),
        }
    }

    /// The number of the channel that a raw address has.
    #[must_use]
    pub fn number_of(&self, target: SocketAddr) -> Option<u16> {
        let found = self.channels.binary_search_by(|(known, _)| known.cmp(&target));
        Some(self.channels[found.ok()?].1)
    }
}

/// The relay that a token names, unless its place has another tenant by now.
pub fn find(relays: &mut Places<Relay>, token: Token) -> Option<&mut Relay> {
    relays.get_mut(token.place() as u32).filter(|relay| relay.token == token)
}

/// One channel binding (RFC 8656 section 12), with what a packet needs precomputed.
#[derive(Debug)]
pub struct Channel {
    /// Its number.
    pub number: u16,
    /// The relay it is of, by place.
    pub relay: u32,
    /// The peer as clients know it.
    pub peer: SocketAddr,
    /// Where its packets go and come from.
    pub target: SocketAddr,
    /// The same for the kernel.
    pub raw: RawAddress,
    /// Until when it is bound.
    pub deadline: Nanos,
    /// Whether a packet to it needs a look at what is protected.
    pub guarded: bool,
    /// Its open run.
    pub run: RunMark,
}

/// How packets reach a client.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// From a listener's socket, by its index among the worker's.
    Datagrams {
        /// The listener.
        listener: u32,
        /// Where to.
        to: RawAddress,
    },
    /// By a connection, by its place.
    Stream(u32),
    /// By a DTLS session, by its place.
    Session(u32),
    /// Not at all: its connection has ended, and its relays wait for what Python decides.
    Gone,
}

/// One five-tuple that has relays.
#[derive(Debug)]
pub struct Client {
    /// Which.
    pub leg: Leg,
    /// How packets reach it.
    pub way: Way,
    /// What its datagrams are looked up by; none for a stream.
    pub key: Option<UdpKey>,
    /// Index of the ledger that its packets are counted in.
    pub ledger: u32,
    /// Its relays by place, at most one a family.
    pub relays: Vec<u32>,
    /// Its channels, sorted by number.
    pub channels: Vec<Channel>,
    /// The open run towards it.
    pub run: RunMark,
    /// Whether the path to it takes runs.
    pub runs: bool,
}

impl Client {
    /// Where a number's channel is, or would be.
    pub fn find(&self, number: u16) -> Result<usize, usize> {
        self.channels.binary_search_by(|channel| channel.number.cmp(&number))
    }

    /// The channel of that number.
    pub fn channel(&mut self, number: u16) -> Option<&mut Channel> {
        let index = self.find(number).ok()?;
        Some(&mut self.channels[index])
    }
}
