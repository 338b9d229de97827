//! Which worker a client belongs to: the same function in the kernel and here.
//!
//! The sockets of a listener's workers share an address (SO_REUSEPORT). A program of classic BPF
//! at the group tells the kernel which of them gets a datagram, counted in the order in which they
//! were bound. Headers with IPv4 options or IPv6 extensions are misread, on purpose: such a
//! datagram reaches the wrong worker, which knows by `steer` whose it is.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::options::{is_ipv6, set_value};

/// The worker, below `workers`, of a client's address. A secret odd `seed` keeps clients from
/// choosing theirs.
#[must_use]
pub fn steer(client: SocketAddr, seed: u32, workers: u32) -> u32 {
    let host = match client {
        SocketAddr::V4(v4) => v4.ip().to_bits(),
        SocketAddr::V6(v6) => {
            let low = v6.ip().to_bits() as u64;
            ((low >> 32) as u32).wrapping_mul(seed) ^ low as u32
        }
    };
    let mixed = (host ^ u32::from(client.port())).wrapping_mul(seed);
    (mixed >> 16) % workers.max(1)
}

/// Makes the kernel steer what arrives at the group that a socket shares its address with. For the
/// whole group at once, at any time.
///
/// # Errors
/// The socket is not bound with others in mind, or the kernel does not know the option.
pub fn attach(socket: BorrowedFd<'_>, seed: u32, workers: u32) -> io::Result<()> {
    let mut program = program(is_ipv6(socket)?, seed, workers.max(1));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set_value(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &filter)
}

// <linux/filter.h> and <linux/bpf_common.h>. The program's accumulator is A, its index register X.
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const MULTIPLY: u32 = libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K;
const XOR_X: u32 = libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X;
const SHIFT_RIGHT: u32 = libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const A_TO_X: u32 = libc::BPF_MISC | libc::BPF_TAX;
const RETURN_A: u32 = libc::BPF_RET | libc::BPF_A;

/// Offsets from here on are those of the IP header (SKF_NET_OFF).
const IP_HEADER: u32 = -0x10_0000_i32 as u32;

fn program(ipv6: bool, seed: u32, workers: u32) -> Vec<libc::sock_filter> {
    let (host, port) = if ipv6 {
        // The last eight bytes of the source; the port after a header of 40 bytes.
        let host = vec![
            (LOAD_WORD, IP_HEADER + 16),
            (MULTIPLY, seed),
            (A_TO_X, 0),
            (LOAD_WORD, IP_HEADER + 20),
            (XOR_X, 0),
        ];
        (host, IP_HEADER + 40)
    } else {
        (vec![(LOAD_WORD, IP_HEADER + 12)], IP_HEADER + 20)
    };
    let rest = [
        (A_TO_X, 0),
        (LOAD_HALF, port),
        (XOR_X, 0),
        (MULTIPLY, seed),
        (SHIFT_RIGHT, 16),
        (MODULO, workers),
        (RETURN_A, 0),
    ];
    host.into_iter()
        .chain(rest)
        .map(|(code, k)| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::socket::{SocketOptions, bind_udp, local_addr};
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    const SEED: u32 = 0x9E37_79B1;
    const SHARED: SocketOptions = SocketOptions {
        buffers: super::super::options::Buffers { receive: 0, send: 0 },
        shared: true,
    };

    /// A group of sockets that share a port of a host.
    fn group(host: &str, workers: u32) -> (Vec<UdpSocket>, SocketAddr) {
        let first = bind_udp(format!("{host}:0").parse().unwrap(), &SHARED).unwrap();
        let address = local_addr(first.as_fd()).unwrap();
        let mut sockets = vec![UdpSocket::from(first)];
        for _ in 1..workers {
            sockets.push(bind_udp(address, &SHARED).unwrap().into());
        }
        (sockets, address)
    }

    #[test]
    fn the_kernel_steers_as_we_say() {
        for (host, workers) in [("127.0.0.1", 2), ("127.0.0.1", 5), ("[::1]", 3), ("[::1]", 1)] {
            let (sockets, address) = group(host, workers);
            attach(sockets[0].as_fd(), SEED, workers).unwrap();
            let mut reached = vec![0; workers as usize];
            for _ in 0..64 {
                let client = UdpSocket::bind(format!("{host}:0")).unwrap();
                client.send_to(b"hello", address).unwrap();
                let from = client.local_addr().unwrap();
                let worker = steer(from, SEED, workers) as usize;
                let (_, seen) = sockets[worker].recv_from(&mut [0; 8]).unwrap();
                assert_eq!(seen, from);
                reached[worker] += 1;
            }
            assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
        }
    }

    #[test]
    fn clients_of_many_hosts_are_spread_evenly() {
        let (seed, workers) = (SEED, 4);
        let mut counts = [0; 4];
        for low in 0..4_000u32 {
            let four = SocketAddr::from(([192, 0, 2 + (low >> 8) as u8, low as u8], 3_478));
            let host = (0x2001_0db8_u128 << 96) | (u128::from(low) << 40) | 1;
            let six = SocketAddr::from((std::net::Ipv6Addr::from(host), 5_000));
            for client in [four, six] {
                counts[steer(client, seed, workers) as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    }

    #[test]
    fn one_worker_gets_all() {
        let client = "[2001:db8::1]:1".parse().unwrap();
        assert_eq!(steer(client, SEED, 1), 0);
        assert_eq!(steer(client, SEED, 0), 0);
    }
}
