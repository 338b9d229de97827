//! Control messages beside a datagram: what the kernel tells of one, what it is to do with one.
//!
//! `struct cmsghdr` is a length (of header and value), a level and a kind; values follow, and each
//! message begins at a multiple of eight. Read and written here byte by byte, in safe code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::clock::from_parts;
use crate::address::RawAddress;
use crate::fields::Fields;
use crate::time::Nanos;

/// Room for all that the kernel may tell of one received datagram: where it was sent to (40),
/// UDP_GRO (24), a time stamp (32), TTL or hop limit (24), type of service or traffic class (24).
pub const RECEIVE_SPACE: usize = 144;

const HEADER: usize = 16;
const ALIGN: usize = 8;

/// One control message: level, kind, value.
type Message<'a> = (i32, i32, &'a [u8]);

/// Room for control messages, aligned as the kernel wants it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Space(pub(super) [u8; RECEIVE_SPACE]);

impl Space {
    /// Room with nothing in it.
    pub const EMPTY: Self = Self([0; RECEIVE_SPACE]);
}

/// The messages that the kernel wrote.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from_ne_bytes(rest.get(..8)?.try_into().ok()?);
        let level = i32::from_ne_bytes(rest.get(8..12)?.try_into().ok()?);
        let kind = i32::from_ne_bytes(rest.get(12..HEADER)?.try_into().ok()?);
        let value = rest.get(HEADER..len)?;
        rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or(&[]);
        Some((level, kind, value))
    })
}

/// What the kernel tells of a received datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Bytes of each of the datagrams that it merged; `None`: it is one.
    pub segment: Option<u32>,
    /// The address of ours that it was sent to, if the socket was asked to tell.
    pub to: Option<IpAddr>,
    /// What its IP header says beside, if the socket was asked to tell.
    pub fields: Fields,
    /// When it was received (CLOCK_REALTIME), if the socket was asked to tell; else 0.
    pub received: Nanos,
}

impl Told {
    /// Reads the messages that came with a datagram.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut told = Self::default();
        for (level, kind, value) in messages(bytes) {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => told.segment = u32_at(value, 0),
                // struct in_pktinfo: index, the address to answer from, the header's destination.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    told.to = array_at::<4>(value, 4).map(|host| Ipv4Addr::from(host).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    told.to = array_at::<16>(value, 0).map(|host| Ipv6Addr::from(host).into());
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    told.fields.hops = low_byte(value).max(1);
                }
                (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    told.fields.class = low_byte(value);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    told.received = time_at(value).unwrap_or(0);
                }
                _ => {}
            }
        }
        told
    }
}

/// `N` bytes of a value.
pub(super) fn array_at<const N: usize>(value: &[u8], start: usize) -> Option<[u8; N]> {
    value.get(start..start + N)?.try_into().ok()
}

/// A number of a value.
pub(super) fn u32_at(value: &[u8], start: usize) -> Option<u32> {
    array_at(value, start).map(u32::from_ne_bytes)
}

/// What a number is that fits a byte: the kernel writes an `int`, or a byte (IP_TOS).
fn low_byte(value: &[u8]) -> u8 {
    match *value {
        [byte] => byte,
        _ => u32_at(value, 0).unwrap_or(0) as u8,
    }
}

fn time_at(value: &[u8]) -> Option<Nanos> {
    let seconds = i64::from_ne_bytes(array_at(value, 0)?);
    let nanoseconds = i64::from_ne_bytes(array_at(value, 8)?);
    Some(from_parts(seconds, nanoseconds))
}

/// What the kernel is to do with a datagram that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    space: Space,
    len: usize,
}

impl Asked {
    /// Nothing out of the ordinary.
    #[must_use]
    pub fn nothing() -> Self {
        Self { space: Space::EMPTY, len: 0 }
    }

    /// Cut it into datagrams of so many bytes (UDP_SEGMENT).
    #[must_use]
    pub fn cut(self, segment: u16) -> Self {
        self.with(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes())
    }

    /// Say this in its IP header beside; what is 0 is left to the system.
    #[must_use]
    pub fn mark(self, fields: Fields, ipv6: bool) -> Self {
        let (level, hops, class) = if ipv6 {
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS)
        } else {
            (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS)
        };
        let with = |asked: Self, kind, value: u8| match value {
            0 => asked,
            _ => asked.with(level, kind, &i32::from(value).to_ne_bytes()),
        };
        with(with(self, hops, fields.hops), class, fields.class)
    }

    /// Let it leave from this address of ours. The interface is that of the destination's scope:
    /// between link-local addresses there is only the one.
    #[must_use]
    pub fn leave_from(self, host: IpAddr, to: &RawAddress) -> Self {
        match host {
            IpAddr::V4(host) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&host.octets());
                self.with(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
            IpAddr::V6(host) => {
                let scope = match to.get() {
                    Some(SocketAddr::V6(to)) => to.scope_id(),
                    Some(SocketAddr::V4(_)) | None => 0,
                };
                let mut info = [0; 20];
                info[..16].copy_from_slice(&host.octets());
                info[16..].copy_from_slice(&scope.to_ne_bytes());
                self.with(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
        }
    }

    fn with(mut self, level: i32, kind: i32, value: &[u8]) -> Self {
        let len = HEADER + value.len();
        let room = &mut self.space.0[self.len..self.len + len];
        room[..8].copy_from_slice(&len.to_ne_bytes());
        room[8..12].copy_from_slice(&level.to_ne_bytes());
        room[12..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..].copy_from_slice(value);
        self.len += len.next_multiple_of(ALIGN);
        self
    }

    /// The messages.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.space.0[..self.len]
    }
}

// Values are laid out for the 64-bit kernels that the engine is built for.
const _: () = assert!(size_of::<libc::cmsghdr>() == HEADER && size_of::<usize>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_can_be_read_back() {
        let to = RawAddress::from("[fe80::2%7]:9".parse::<SocketAddr>().unwrap());
        let asked = Asked::nothing().cut(1_200).leave_from("fe80::1".parse().unwrap(), &to);
        let all: Vec<Message<'_>> = messages(asked.as_bytes()).collect();
        let segment = 1_200u16.to_ne_bytes();
        assert_eq!(all[0], (libc::SOL_UDP, libc::UDP_SEGMENT, segment.as_slice()));
        let (level, kind, info) = all[1];
        assert_eq!((level, kind), (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO));
        assert_eq!(u32_at(info, 16), Some(7));
        let told = Told::from_bytes(asked.as_bytes());
        assert_eq!(told.to, Some("fe80::1".parse().unwrap()));
        let to = RawAddress::from("192.0.2.1:9".parse::<SocketAddr>().unwrap());
        let host: IpAddr = "192.0.2.7".parse().unwrap();
        let asked = Asked::nothing().leave_from(host, &to);
        assert_eq!(Told::from_bytes(asked.as_bytes()).to, Some(host));
        assert!(Asked::nothing().as_bytes().is_empty());
    }

    #[test]
    fn a_time_stamp_and_a_segment_are_read() {
        let mut asked = Asked::nothing().with(libc::SOL_UDP, libc::UDP_GRO, &160u32.to_ne_bytes());
        let mut time = [0; 16];
        time[0] = 2;
        time[8] = 5;
        asked = asked.with(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
        let told = Told::from_bytes(asked.as_bytes());
        assert_eq!(told.segment, Some(160));
        assert_eq!(told.received, 2_000_000_005);
    }

    #[test]
    fn header_fields_can_be_read_back() {
        for ipv6 in [false, true] {
            for fields in [
                Fields::default(),
                Fields { hops: 63, class: 0 },
                Fields { hops: 255, class: 0xFF },
                Fields { hops: 0, class: 0xB8 },
            ] {
                let asked = Asked::nothing().mark(fields, ipv6);
                assert_eq!(Told::from_bytes(asked.as_bytes()).fields, fields);
            }
        }
        let of_ipv4 = Asked::nothing().with(libc::IPPROTO_IP, libc::IP_TOS, &[0xB9]);
        assert_eq!(Told::from_bytes(of_ipv4.as_bytes()).fields.class, 0xB9, "a byte on IPv4");
        let spent = Asked::nothing().with(libc::IPPROTO_IP, libc::IP_TTL, &[0; 4]);
        assert_eq!(Told::from_bytes(spent.as_bytes()).fields.hops, 1, "0 is for who did not ask");
    }

    #[test]
    fn nonsense_ends_the_reading() {
        for bytes in [&[][..], &[1; 15], &[0; 64], &[255; 64], &[16, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Told::from_bytes(bytes), Told::default());
        }
    }
}
