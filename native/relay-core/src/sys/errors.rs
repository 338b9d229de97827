//! The error queue of a socket: ICMP errors that its packets met with.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::{array_at, messages, u32_at};
use crate::address::RawAddress;

/// An ICMP error that is relayed to the client (RFC 8656 section 11.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Where the packet went.
    pub target: SocketAddr,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// The MTU of the path's narrow place, where that is the error; else 0.
    pub mtu: u32,
}

/// Who tells it, and the ICMP types that are relayed.
const ICMP4: u8 = libc::SO_EE_ORIGIN_ICMP;
const ICMP6: u8 = libc::SO_EE_ORIGIN_ICMP6;

/// Room for `struct sock_extended_err` with its offender (64), a time stamp (32), what the ICMP
/// message's own IP header says (48).
const SPACE: usize = 192;

#[repr(C, align(8))]
struct Room([u8; SPACE]);

/// The next error of the queue; `None` for what is no ICMP error that is relayed.
///
/// # Errors
/// `WouldBlock`: the queue is empty.
pub fn read_icmp(socket: BorrowedFd<'_>) -> io::Result<Option<Icmp>> {
    let mut target = RawAddress::EMPTY;
    let mut room = Room([0; SPACE]);
    let mut header = libc::msghdr {
        msg_name: target.as_mut_ptr().cast(),
        msg_namelen: RawAddress::SIZE as u32,
        msg_iov: std::ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: room.0.as_mut_ptr().cast(),
        msg_controllen: SPACE,
        msg_flags: 0,
    };
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points to an address and to room for control messages, both ours and of
    // the lengths given; there is no room for bytes, and the kernel drops them.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let told = &room.0[..header.msg_controllen.min(SPACE)];
    Ok(target.get().and_then(|target| relayed(target, told)))
}

fn relayed(target: SocketAddr, told: &[u8]) -> Option<Icmp> {
    messages(told).find_map(|(level, kind, value)| {
        // struct sock_extended_err: errno, origin, type, code, padding, info, data.
        let [origin, icmp_type, code] = array_at::<3>(value, 4)?;
        let info = u32_at(value, 8)?;
        let has_mtu = match (level, kind, origin, icmp_type) {
            // Destination unreachable ("fragmentation needed" is its code 4), time exceeded.
            (libc::IPPROTO_IP, libc::IP_RECVERR, ICMP4, 3 | 11) => (icmp_type, code) == (3, 4),
            // Destination unreachable, packet too big (whatever its code), time exceeded.
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, ICMP6, 1..=3) => icmp_type == 2,
            _ => return None,
        };
        Some(Icmp { target, kind: icmp_type, code, mtu: if has_mtu { info } else { 0 } })
    })
}

#[cfg(test)]
mod tests {
    use super::super::options::prepare_relay;
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    /// Nobody listens there: no system hands out such a port by itself.
    fn closed_port(host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), 1)
    }

    #[test]
    fn a_closed_port_is_told_with_the_peer_it_was() {
        for (host, kind, code) in [("127.0.0.1", 3, 3), ("::1", 1, 4)] {
            let socket = UdpSocket::bind((host, 0)).unwrap();
            prepare_relay(socket.as_fd(), host.contains(':'), true).unwrap();
            let target = closed_port(host);
            let none = read_icmp(socket.as_fd()).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            socket.send_to(b"to nobody", target).unwrap();
            let icmp = Icmp { target, kind, code, mtu: 0 };
            assert_eq!(read_icmp(socket.as_fd()).unwrap(), Some(icmp));
            assert!(read_icmp(socket.as_fd()).is_err());
        }
    }

    #[test]
    fn what_our_own_side_says_is_not_relayed() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare_relay(socket.as_fd(), false, false).unwrap();
        let target = closed_port("127.0.0.1");
        let too_long = socket.send_to(&[0; 65_508], target).unwrap_err();
        assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
        // Whether the kernel queues it or not, nothing of it is relayed.
        while let Ok(read) = read_icmp(socket.as_fd()) {
            assert_eq!(read, None);
        }
    }

    /// An extended error as the kernel writes it.
    fn extended(level: i32, name: i32, origin: u8, icmp_type: u8, code: u8) -> Vec<u8> {
        let mut bytes = 32usize.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(name.to_ne_bytes());
        bytes.extend([90, 0, 0, 0, origin, icmp_type, code, 0]);
        bytes.extend(1_280u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn only_what_the_rfc_names_is_relayed_and_only_one_error_has_an_mtu() {
        let target: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let ip = (libc::IPPROTO_IP, libc::IP_RECVERR);
        let ipv6 = (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
        for ((level, name), origin, icmp_type, code, mtu) in [
            (ip, ICMP4, 3, 3, Some(0)),
            (ip, ICMP4, 3, 4, Some(1_280)),
            (ip, ICMP4, 11, 0, Some(0)),
            (ip, ICMP4, 12, 0, None),
            (ip, ICMP6, 3, 3, None),
            (ip, libc::SO_EE_ORIGIN_LOCAL, 3, 4, None),
            (ipv6, ICMP6, 1, 4, Some(0)),
            (ipv6, ICMP6, 2, 0, Some(1_280)),
            (ipv6, ICMP6, 2, 1, Some(1_280)),
            (ipv6, ICMP6, 3, 0, Some(0)),
            (ipv6, ICMP6, 4, 0, None),
            (ipv6, ICMP4, 3, 3, None),
        ] {
            let told = extended(level, name, origin, icmp_type, code);
            let icmp = relayed(target, &told);
            assert_eq!(icmp.map(|icmp| icmp.mtu), mtu, "{icmp_type} {code}");
        }
    }
}
