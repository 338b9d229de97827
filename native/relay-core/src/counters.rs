//! Counters that one worker writes and anybody reads, at the price of a plain addition.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Nanos;

/// A number with one writer: no locked instruction, and still never torn for whoever reads it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; to be called by the one writer alone.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Replaces; to be called by the one writer alone.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a packet went no further; the names are those of `turnd_packets_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Drop {
    /// Neither STUN nor ChannelData, or a length that lies.
    NotStun,
    /// ChannelData or Send from a five-tuple without allocation.
    NoAllocation,
    /// From a peer, while the client's connection is gone.
    NoClient,
    /// ChannelData on a number that is not bound, or no longer.
    NoChannel,
    /// A peer, or a Send towards one, without permission.
    NoPermission,
    /// A protected endpoint, or a port of ours that is not relayed now.
    ForbiddenPeer,
    /// A Send without peer or data, or with an unknown attribute that must be understood.
    MalformedIndication,
    /// EMSGSIZE: the path's MTU, or over what fits a datagram.
    TooBig,
    /// The host's firewall, no route, ICMP errors.
    Refused,
    /// The kernel's or our queue towards the receiver is full.
    QueueFull,
    /// More messages waiting for a decision than the bound allows.
    HandUpFull,
    /// The allocation has ended, its relay is about to close.
    Expired,
    /// A trusted proxy's datagram without a PROXY header, or with a bad one.
    ProxyHeader,
    /// A token bucket is empty.
    Bandwidth,
    /// A DTLS record of no session; or no record where only DTLS is served.
    DtlsRecord,
    /// A DTLS handshake beyond the bound of those at the same time, or a datagram of one that waits
    /// beyond what it keeps.
    DtlsHandshake,
    /// An ICMP error beyond those that a client is told of.
    IcmpRate,
    /// TTL or hop limit have run out.
    HopLimit,
}

impl Drop {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 18] = [
        Self::NotStun,
        Self::NoAllocation,
        Self::NoClient,
        Self::NoChannel,
        Self::NoPermission,
        Self::ForbiddenPeer,
        Self::MalformedIndication,
        Self::TooBig,
        Self::Refused,
        Self::QueueFull,
        Self::HandUpFull,
        Self::Expired,
        Self::ProxyHeader,
        Self::Bandwidth,
        Self::DtlsRecord,
        Self::DtlsHandshake,
        Self::IcmpRate,
        Self::HopLimit,
    ];

    /// The reason's name outside.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotStun => "not_stun",
            Self::NoAllocation => "no_allocation",
            Self::NoClient => "no_client",
            Self::NoChannel => "no_channel",
            Self::NoPermission => "no_permission",
            Self::ForbiddenPeer => "forbidden_peer",
            Self::MalformedIndication => "malformed_indication",
            Self::TooBig => "too_big",
            Self::Refused => "refused",
            Self::QueueFull => "queue_full",
            Self::HandUpFull => "hand_up_full",
            Self::Expired => "expired",
            Self::ProxyHeader => "proxy_header",
            Self::Bandwidth => "bandwidth",
            Self::DtlsRecord => "dtls_record",
            Self::DtlsHandshake => "dtls_handshake",
            Self::IcmpRate => "icmp_rate",
            Self::HopLimit => "hop_limit",
        }
    }

    /// Why a send failed, by errno.
    #[must_use]
    pub const fn of_errno(errno: i32) -> Self {
        match errno {
            libc::EMSGSIZE => Self::TooBig,
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Self::QueueFull,
            _ => Self::Refused,
        }
    }
}

/// How many packets were dropped, by reason.
#[derive(Debug, Default)]
pub struct Drops([Count; Drop::ALL.len()]);

impl Drops {
    /// Counts.
    pub fn add(&self, reason: Drop, packets: u64) {
        self.0[reason as usize].add(packets);
    }

    /// How many, in the order of [`Drop::ALL`].
    #[must_use]
    pub fn get(&self) -> [u64; Drop::ALL.len()] {
        std::array::from_fn(|reason| self.0[reason].get())
    }
}

/// Packets and payload bytes, by direction.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From clients to peers.
    pub up: Direction,
    /// From peers to clients.
    pub down: Direction,
}

/// One direction of it.
#[derive(Debug, Default)]
pub struct Direction {
    /// Packets that were sent on.
    pub packets: Count,
    /// Their payload's bytes.
    pub bytes: Count,
    /// When the last one was, on the engine's clock; 0: never.
    pub last: Count,
}

impl Traffic {
    /// Counts what was sent on.
    pub fn add(&self, upward: bool, packets: u64, bytes: u64, now: Nanos) {
        let direction = if upward { &self.up } else { &self.down };
        direction.packets.add(packets);
        direction.bytes.add(bytes);
        direction.last.set(now);
    }

    /// Counts what somebody else sent on.
    pub fn add_totals(&self, more: &TrafficTotals) {
        let directions = [
            (&self.up, more.packets_up, more.bytes_up, more.last_up),
            (&self.down, more.packets_down, more.bytes_down, more.last_down),
        ];
        for (direction, packets, bytes, last) in directions {
            direction.packets.add(packets);
            direction.bytes.add(bytes);
            direction.last.set(direction.last.get().max(last));
        }
    }

    /// The numbers now.
    #[must_use]
    pub fn get(&self) -> TrafficTotals {
        TrafficTotals {
            packets_up: self.up.packets.get(),
            bytes_up: self.up.bytes.get(),
            last_up: self.up.last.get(),
            packets_down: self.down.packets.get(),
            bytes_down: self.down.bytes.get(),
            last_down: self.down.last.get(),
        }
    }
}

/// A snapshot of [`Traffic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Packets from clients to peers.
    pub packets_up: u64,
    /// Their payload's bytes.
    pub bytes_up: u64,
    /// When the last was; 0: never.
    pub last_up: Nanos,
    /// Packets from peers to clients.
    pub packets_down: u64,
    /// Their payload's bytes.
    pub bytes_down: u64,
    /// When the last was; 0: never.
    pub last_down: Nanos,
}

impl std::ops::AddAssign for TrafficTotals {
    fn add_assign(&mut self, more: Self) {
        self.packets_up += more.packets_up;
        self.bytes_up += more.bytes_up;
        self.last_up = self.last_up.max(more.last_up);
        self.packets_down += more.packets_down;
        self.bytes_down += more.bytes_down;
        self.last_down = self.last_down.max(more.last_down);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let drops = Drops::default();
        for (index, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            drops.add(reason, index as u64);
        }
        assert_eq!(drops.get()[11], 11);
        let names: std::collections::HashSet<_> = Drop::ALL.map(Drop::name).into();
        assert_eq!(names.len(), Drop::ALL.len());
    }

    #[test]
    fn errors_of_sending_have_reasons() {
        assert_eq!(Drop::of_errno(libc::EMSGSIZE), Drop::TooBig);
        assert_eq!(Drop::of_errno(libc::EAGAIN), Drop::QueueFull);
        assert_eq!(Drop::of_errno(libc::EPERM), Drop::Refused);
    }

    #[test]
    fn traffic_is_counted_by_direction_and_adds_up() {
        let traffic = Traffic::default();
        traffic.add(true, 2, 320, 5);
        traffic.add(false, 1, 100, 7);
        let mut sum = traffic.get();
        sum += traffic.get();
        assert_eq!((sum.packets_up, sum.bytes_up, sum.last_up), (4, 640, 5));
        assert_eq!((sum.packets_down, sum.bytes_down, sum.last_down), (2, 200, 7));
    }
}
