//! Socket options as the engine needs them.
//!
//! Fragmentation (RFC 8656 sections 13 to 15): the Don't Fragment bit is 0 unless a Send indication
//! has DONT-FRAGMENT: the RFC's alternate behaviour, since a socket does not tell the bit of what it
//! received.
//!
//! On IPv4 what an ICMP error says of a path's MTU is not believed (OMIT, and PROBE with the bit):
//! who forges one could make all our packets to a host small, and a packet with the bit shall meet
//! the narrow place each time, so that its client is told each time. The other mode that sends
//! without the bit (DONT) would keep such errors from the error queue. On IPv6 no router fragments,
//! so that the error has to be believed: what is longer leaves in fragments from then on.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::net::{AddressFamily, sockopt};

use super::control::Told;
use super::socklen;

/// SO_RCVBUF and SO_SNDBUF, in bytes of our asking; 0: the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// Bytes of packets that wait to be read.
    pub receive: u32,
    /// Bytes of packets that wait to leave.
    pub send: u32,
}

/// Asks for buffers; the kernel grants less where `net.core.rmem_max` or `wmem_max` is less.
///
/// # Errors
/// What the kernel says.
pub fn set_buffers(socket: BorrowedFd<'_>, asked: Buffers) -> io::Result<()> {
    if asked.receive != 0 {
        sockopt::set_socket_recv_buffer_size(socket, asked.receive as usize)?;
    }
    if asked.send != 0 {
        sockopt::set_socket_send_buffer_size(socket, asked.send as usize)?;
    }
    Ok(())
}

/// The buffers that a socket has, to be compared with what was asked for.
///
/// # Errors
/// What the kernel says.
pub fn granted_buffers(socket: BorrowedFd<'_>) -> io::Result<Buffers> {
    // The kernel doubles what it grants, for its own bookkeeping, and tells the double.
    let half = |bytes: usize| u32::try_from(bytes / 2).unwrap_or(u32::MAX);
    Ok(Buffers {
        receive: half(sockopt::socket_recv_buffer_size(socket)?),
        send: half(sockopt::socket_send_buffer_size(socket)?),
    })
}

/// Makes a bound socket one that clients send to.
///
/// `wildcard`: it is bound to all addresses, and is to tell which of them a datagram came to.
/// `stamped`: the kernel is to tell when it received a datagram.
///
/// # Errors
/// What the kernel says.
pub fn prepare_listener(socket: BorrowedFd<'_>, wildcard: bool, stamped: bool) -> io::Result<()> {
    let ipv6 = is_ipv6(socket)?;
    let fd = socket.as_raw_fd();
    let_fragment(fd, ipv6, true)?;
    if wildcard && ipv6 {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    } else if wildcard {
        set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    prepare(fd, ipv6, stamped)
}

/// Makes a bound socket one that peers send to: it keeps the ICMP errors that its packets met with
/// (`errors::read_icmp`). The next send or read then fails once with the error.
///
/// # Errors
/// What the kernel says.
pub fn prepare_relay(socket: BorrowedFd<'_>, ipv6: bool, stamped: bool) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let_fragment(fd, ipv6, true)?;
    if ipv6 {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
    } else {
        set(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
    }
    prepare(fd, ipv6, stamped)
}

fn prepare(fd: RawFd, ipv6: bool, stamped: bool) -> io::Result<()> {
    let (level, hops, class) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVTTL, libc::IP_RECVTOS)
    };
    for (level, name) in [(libc::SOL_UDP, libc::UDP_GRO), (level, hops), (level, class)] {
        match set(fd, level, name, 1) {
            // A kernel older than 5.0, or none of Linux: datagrams come one by one, and what is
            // sent on has the system's header, the alternate behaviour of section 14.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
            other => other?,
        }
    }
    if stamped {
        set(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    }
    Ok(())
}

/// Whether what a socket sends may be fragmented; else a packet too big for our link is EMSGSIZE.
///
/// # Errors
/// What the kernel says.
pub fn let_fragment(fd: RawFd, ipv6: bool, allowed: bool) -> io::Result<()> {
    if ipv6 {
        let mode = if allowed { libc::IPV6_PMTUDISC_DONT } else { libc::IPV6_PMTUDISC_PROBE };
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)
    } else {
        let mode = if allowed { libc::IP_PMTUDISC_OMIT } else { libc::IP_PMTUDISC_PROBE };
        set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
    }
}

/// Whether a socket is one of IPv6.
///
/// # Errors
/// It is no socket.
pub fn is_ipv6(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_domain(socket)? == AddressFamily::INET6)
}

/// Makes a TCP connection one that carries media: dead ones end in about two minutes instead of
/// never, small writes leave at once, and the kernel holds back no more than we do for a slow
/// client (`backlog`, in bytes), since what it holds back is late media.
///
/// # Errors
/// The client is gone already, or it is no TCP connection.
pub fn prepare_stream(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(20))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_nodelay(socket, true)?;
    let held_back = i32::try_from(backlog.max(16_384)).unwrap_or(i32::MAX);
    set(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, held_back)
}

/// The type of service or traffic class of a TCP connection's packets, as they come from the client
/// at its begin; 0 where the kernel does not tell.
#[must_use]
pub fn class_of_stream(socket: BorrowedFd<'_>) -> u8 {
    let fd = socket.as_raw_fd();
    let (level, asking, options) = match is_ipv6(socket) {
        Ok(true) => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, libc::IPV6_2292PKTOPTIONS),
        Ok(false) => (libc::IPPROTO_IP, libc::IP_RECVTOS, libc::IP_PKTOPTIONS),
        Err(_) => return 0,
    };
    let mut room = [0; 64];
    let told = set(fd, level, asking, 1).and_then(|()| get(fd, level, options, &mut room));
    told.map_or(0, |told| Told::from_bytes(told).fields.class)
}

/// What the kernel says of an option, as much of it as there is room for.
fn get(fd: RawFd, level: i32, name: i32, room: &mut [u8]) -> io::Result<&[u8]> {
    let mut len = room.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is how much room there is, and says in
    // `len` how many it wrote.
    let result =
        unsafe { libc::getsockopt(fd, level, name, room.as_mut_ptr().cast(), &raw mut len) };
    super::checked(result)?;
    Ok(&room[..room.len().min(len as usize)])
}

/// Sets an option whose value is a number.
pub(crate) fn set(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_value(fd, level, name, &value)
}

/// Sets an option whose value is a `T`, as the kernel knows it.
pub(super) fn set_value<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a `T`, during the call.
    let result = unsafe {
        libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), socklen::<T>())
    };
    super::checked(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    use rustix::net::{self, SocketType};

    fn number(fd: BorrowedFd<'_>, level: i32, name: i32) -> i32 {
        let mut room = [0; 4];
        get(fd.as_raw_fd(), level, name, &mut room).unwrap();
        i32::from_ne_bytes(room)
    }

    /// What has the kernel tell them, on IPv4 and on IPv6.
    const HEADER_FIELDS: [[i32; 2]; 2] =
        [[libc::IP_RECVTTL, libc::IP_RECVTOS], [libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS]];
    const FREELY_IPV4: (i32, i32) = (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT);
    const FREELY_IPV6: (i32, i32) = (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT);

    #[test]
    fn a_listener_fragments_freely_and_tells_where_packets_came_to() {
        for (host, level, (mode, freely), told) in [
            ("0.0.0.0:0", libc::IPPROTO_IP, FREELY_IPV4, libc::IP_PKTINFO),
            ("[::]:0", libc::IPPROTO_IPV6, FREELY_IPV6, libc::IPV6_RECVPKTINFO),
        ] {
            let socket = UdpSocket::bind(host).unwrap();
            prepare_listener(socket.as_fd(), false, false).unwrap();
            assert_eq!(number(socket.as_fd(), level, mode), freely);
            assert_eq!(number(socket.as_fd(), level, told), 0);
            let stamps = |s: &UdpSocket| number(s.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
            assert_eq!(stamps(&socket), 0);
            prepare_listener(socket.as_fd(), true, true).unwrap();
            assert_eq!(number(socket.as_fd(), level, told), 1);
            assert_eq!(number(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO), 1);
            assert_eq!(stamps(&socket), 1);
            for option in HEADER_FIELDS[usize::from(host.starts_with('['))] {
                assert_eq!(number(socket.as_fd(), level, option), 1);
            }
        }
    }

    #[test]
    fn a_relay_fragments_freely_and_keeps_icmp_errors() {
        for (host, level, (mode, freely), kept) in [
            ("127.0.0.1:0", libc::IPPROTO_IP, FREELY_IPV4, libc::IP_RECVERR),
            ("[::1]:0", libc::IPPROTO_IPV6, FREELY_IPV6, libc::IPV6_RECVERR),
        ] {
            let socket = UdpSocket::bind(host).unwrap();
            prepare_relay(socket.as_fd(), host.starts_with('['), false).unwrap();
            assert_eq!(number(socket.as_fd(), level, mode), freely);
            assert_eq!(number(socket.as_fd(), level, kept), 1);
            for option in HEADER_FIELDS[usize::from(host.starts_with('['))] {
                assert_eq!(number(socket.as_fd(), level, option), 1);
            }
            assert_eq!(number(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO), 1);
        }
    }

    #[test]
    fn what_is_granted_can_be_compared_with_what_was_asked() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = granted_buffers(socket.as_fd()).unwrap();
        set_buffers(socket.as_fd(), Buffers::default()).unwrap();
        assert_eq!(granted_buffers(socket.as_fd()).unwrap(), before);
        let asked = Buffers { receive: 30_000, send: 20_000 };
        set_buffers(socket.as_fd(), asked).unwrap();
        assert_eq!(granted_buffers(socket.as_fd()).unwrap(), asked);
        let too_much = Buffers { receive: 1 << 30, send: 1 << 30 };
        set_buffers(socket.as_fd(), too_much).unwrap();
        assert!(granted_buffers(socket.as_fd()).unwrap().receive < 1 << 30);
    }

    #[test]
    fn a_stream_is_tuned() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        prepare_stream(client.as_fd(), 1).unwrap();
        let tcp = |name| number(client.as_fd(), libc::IPPROTO_TCP, name);
        assert_eq!(tcp(libc::TCP_KEEPIDLE), 60);
        assert_eq!(tcp(libc::TCP_KEEPINTVL), 20);
        assert_eq!(tcp(libc::TCP_KEEPCNT), 3);
        assert_ne!(tcp(libc::TCP_NODELAY), 0);
        assert_eq!(tcp(libc::TCP_NOTSENT_LOWAT), 16_384);
        prepare_stream(client.as_fd(), 1 << 20).unwrap();
        assert_eq!(tcp(libc::TCP_NOTSENT_LOWAT), 1 << 20);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(prepare_stream(udp.as_fd(), 1).is_err());
    }

    #[test]
    fn the_class_of_a_connection_is_that_of_its_first_packets() {
        for (host, level, option) in [
            ("127.0.0.1", libc::IPPROTO_IP, libc::IP_TOS),
            ("::1", libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        ] {
            let listener = TcpListener::bind((host, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
            let client = net::socket(family, SocketType::STREAM, None).unwrap();
            set(client.as_raw_fd(), level, option, 0xB8).unwrap();
            net::connect(&client, &address).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(class_of_stream(accepted.as_fd()), 0xB8);
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(class_of_stream(file.as_fd()), 0);
    }
}
