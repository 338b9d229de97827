//! Socket addresses as the kernel wants them, made once and kept beside what they belong to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The bytes of a `sockaddr_in` or `sockaddr_in6`, aligned as both need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct RawAddress {
    bytes: [u8; Self::SIZE],
}

impl RawAddress {
    /// Room for either family.
    pub const SIZE: usize = 28;

    /// Room for the kernel to write an address to.
    pub const EMPTY: Self = Self { bytes: [0; Self::SIZE] };

    /// Where the kernel reads the address, or writes one of at most [`RawAddress::SIZE`] bytes.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Where the kernel reads the address.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// How many bytes of it count.
    #[must_use]
    pub fn len(&self) -> u32 {
        if self.family() == AF_INET { 16 } else { 28 }
    }

    /// Whether no address has been written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.family() == 0
    }

    /// Whether it is one of IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.family() == AF_INET6
    }

    fn family(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[0], self.bytes[1]])
    }

    /// What the kernel wrote in front of a received packet: `bytes` as `msg_name` had them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut raw = Self::EMPTY;
        let len = bytes.len().min(Self::SIZE);
        raw.bytes[..len].copy_from_slice(&bytes[..len]);
        raw
    }

    /// The address, unless it is of another family.
    #[must_use]
    pub fn get(&self) -> Option<SocketAddr> {
        let b = &self.bytes;
        let port = u16::from_be_bytes([b[2], b[3]]);
        match self.family() {
            AF_INET => {
                let host = Ipv4Addr::new(b[4], b[5], b[6], b[7]);
                Some(SocketAddr::V4(SocketAddrV4::new(host, port)))
            }
            AF_INET6 => {
                let mut host = [0; 16];
                host.copy_from_slice(&b[8..24]);
                let scope = u32::from_ne_bytes([b[24], b[25], b[26], b[27]]);
                // The flow label is no part of who somebody is.
                Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(host), port, 0, scope)))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut raw = Self::EMPTY;
        raw.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                raw.bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
                raw.bytes[4..8].copy_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                raw.bytes[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
                raw.bytes[8..24].copy_from_slice(&v6.ip().octets());
                raw.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            }
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_way_there_and_back() {
        for text in ["192.0.2.1:3478", "[2001:db8::1]:65535", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = RawAddress::from(address);
            assert_eq!(raw.get(), Some(address));
            assert_eq!(RawAddress::from_bytes(&raw.bytes[..raw.len() as usize]), raw);
        }
    }

    #[test]
    fn another_family_is_no_address() {
        assert_eq!(RawAddress::EMPTY.get(), None);
        assert!(RawAddress::EMPTY.is_empty());
        assert_eq!(RawAddress::from_bytes(&[1, 0, 0, 0]).get(), None);
    }

    #[test]
    fn a_flow_label_is_ignored() {
        let with = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 77, 0);
        let mut raw = RawAddress::from(SocketAddr::V6(with));
        raw.bytes[4] = 9;
        assert_eq!(raw.get(), Some("[::1]:1".parse().unwrap()));
    }
}
