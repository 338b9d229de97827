//! UDP sockets: bound, inherited, and asked where they are.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::options::{self, Buffers, let_fragment};

/// How a UDP socket is bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Its buffers.
    pub buffers: Buffers,
    /// Whether it shares its address with others of ours (SO_REUSEPORT).
    pub shared: bool,
}

/// A non-blocking UDP socket at an address; one of IPv6 takes no IPv4.
///
/// # Errors
/// It cannot be bound.
pub fn bind_udp(address: SocketAddr, options: &SocketOptions) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if options.shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    options::set_buffers(socket.as_fd(), options.buffers)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// A socket that was bound before us, made non-blocking and ours alone; the address that it has.
///
/// # Errors
/// `EPROTOTYPE`: the descriptor is no UDP socket.
pub fn inherit_udp(socket: &OwnedFd, buffers: Buffers) -> io::Result<SocketAddr> {
    let domain = sockopt::socket_domain(socket).map_err(no_socket)?;
    let kind = sockopt::socket_type(socket).map_err(no_socket)?;
    if ![AddressFamily::INET, AddressFamily::INET6].contains(&domain) || kind != SocketType::DGRAM {
        return Err(Errno::PROTOTYPE.into());
    }
    rustix::io::ioctl_fionbio(socket, true)?;
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    options::set_buffers(socket.as_fd(), buffers)?;
    local_addr(socket.as_fd())
}

fn no_socket(error: Errno) -> io::Error {
    if error == Errno::NOTSOCK {
        return Errno::PROTOTYPE.into();
    }
    error.into()
}

/// Where a socket is bound.
///
/// # Errors
/// What the kernel says.
pub fn local_addr(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = net::getsockname(socket)?;
    Ok(SocketAddr::try_from(address)?)
}

/// Whether a host is an address of this machine, by trying to bind it. Of the address its host and
/// scope count, not its port.
///
/// Not knowing (out of descriptors, say) is a yes: it must not open what is protected.
#[must_use]
pub fn is_local_host(host: SocketAddr) -> bool {
    let mut address = host;
    address.set_port(0);
    match bind_udp(address, &SocketOptions::default()) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.raw_os_error(),
            Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EINVAL)
        ),
    }
}

/// Does something while the socket sends nothing in fragments (DONT-FRAGMENT, RFC 8656 section
/// 14.9), which is otherwise free to.
///
/// # Errors
/// What `sending` says, or the kernel of the option.
pub fn without_fragments<T>(
    socket: i32,
    ipv6: bool,
    sending: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let_fragment(socket, ipv6, false)?;
    let result = sending();
    let_fragment(socket, ipv6, true)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsRawFd;

    fn bind(address: &str) -> io::Result<OwnedFd> {
        bind_udp(address.parse().unwrap(), &SocketOptions::default())
    }

    #[test]
    fn a_bound_socket_knows_its_address_and_does_not_block() {
        for host in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let socket = bind(host).unwrap();
            let address = local_addr(socket.as_fd()).unwrap();
            assert_ne!(address.port(), 0);
            assert_eq!(address.ip(), host.parse::<SocketAddr>().unwrap().ip());
            let taken = bind_udp(address, &SocketOptions::default());
            assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
            let std = UdpSocket::from(socket);
            let empty = std.recv(&mut [0; 1]).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn an_ipv6_wildcard_leaves_ipv4_alone() {
        let six = bind("[::]:0").unwrap();
        let port = local_addr(six.as_fd()).unwrap().port();
        // A host that no other test uses.
        bind(&format!("127.0.3.1:{port}")).unwrap();
    }

    #[test]
    fn an_address_is_shared_if_asked_for() {
        let shared = SocketOptions { shared: true, ..SocketOptions::default() };
        let first = bind_udp("127.0.0.1:0".parse().unwrap(), &shared).unwrap();
        let address = local_addr(first.as_fd()).unwrap();
        let second = bind_udp(address, &shared).unwrap();
        assert_eq!(local_addr(second.as_fd()).unwrap(), address);
    }

    #[test]
    fn an_address_that_is_not_ours_is_told_by_errno() {
        let error = bind("192.0.2.1:0").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    }

    #[test]
    fn only_udp_sockets_are_inherited() {
        let udp = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = inherit_udp(&udp, Buffers::default()).unwrap();
        assert_eq!(address, local_addr(udp.as_fd()).unwrap());
        let empty = UdpSocket::from(udp).recv(&mut [0; 1]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let tcp = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        for other in [tcp, file] {
            let error = inherit_udp(&other, Buffers::default()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPROTOTYPE));
        }
    }

    #[test]
    fn our_own_hosts_are_known() {
        for (host, ours) in [
            ("127.0.0.1:9", true),
            ("[::1]:9", true),
            ("192.0.2.1:9", false),
            ("[2001:db8::1]:9", false),
            ("[fe80::1]:9", false),
        ] {
            assert_eq!(is_local_host(host.parse().unwrap()), ours, "{host}");
        }
    }

    #[test]
    fn nothing_is_sent_in_fragments_meanwhile() {
        let sender = UdpSocket::from(bind("127.0.0.1:0").unwrap());
        options::prepare_relay(sender.as_fd(), false, false).unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let fd = sender.as_raw_fd();
        // 65,507 bytes fit a datagram of IPv4, and loopback's MTU.
        without_fragments(fd, false, || sender.send_to(&[1; 65_507], to)).unwrap();
        let mut room = vec![0; 65_536];
        assert_eq!(receiver.recv(&mut room).unwrap(), 65_507);
        let failed = without_fragments(fd, false, || Err::<(), _>(Errno::MSGSIZE.into()));
        assert_eq!(failed.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }
}
