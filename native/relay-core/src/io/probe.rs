//! Which driver a worker gets, found by trying, and why.
//!
//! io_uring may be missing, too old, or forbidden (containers often do): only a packet that went
//! through it shows that it works.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use super::arena::Arena;
use super::epoll::EpollDriver;
use super::outbox::{Envelope, Outbox, RunMark};
use super::uring::UringDriver;
use super::{Arrivals, Driver, Token};
use crate::address::RawAddress;
use crate::fields::Fields;
use crate::sys::options::{is_ipv6, prepare_relay};
use crate::sys::socket::{SocketOptions, bind_udp, local_addr};

/// How long a packet to ourselves may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// epoll.
    Epoll,
    /// io_uring or nothing.
    Uring,
}

/// A driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// [`EpollDriver`].
    Epoll,
    /// [`UringDriver`].
    Uring,
}

impl Io {
    /// For the first line and the metric.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => EpollDriver::NAME,
            Self::Uring => UringDriver::NAME,
        }
    }
}

/// A driver, and in words why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The driver.
    pub io: Io,
    /// `io_uring: works here`.
    pub why: String,
}

/// Chooses a driver.
///
/// # Errors
/// In words, why io_uring does not work, where it alone was wanted.
pub fn choose(choice: IoChoice) -> Result<Chosen, String> {
    let chosen = |io: Io, why: &str| Chosen { io, why: format!("{}: {why}", io.name()) };
    match choice {
        IoChoice::Epoll => Ok(chosen(Io::Epoll, "as configured")),
        IoChoice::Uring => {
            works_uring()?;
            Ok(chosen(Io::Uring, "as configured"))
        }
        IoChoice::Auto => Ok(match works_uring() {
            Ok(()) => chosen(Io::Uring, "works here"),
            Err(why) => chosen(Io::Epoll, &why),
        }),
    }
}

/// Whether a packet goes through io_uring.
///
/// # Errors
/// In words, why none does.
pub(super) fn works_uring() -> Result<(), String> {
    go_round::<UringDriver>().map_err(|error| in_words(&error))
}

/// Sends a datagram to its sender.
fn go_round<D: Driver>() -> io::Result<()> {
    let any = |host| bind_udp(SocketAddr::new(host, 0), &SocketOptions::default());
    let socket = any(Ipv4Addr::LOCALHOST.into()).or_else(|_| any(Ipv6Addr::LOCALHOST.into()))?;
    prepare_relay(socket.as_fd(), is_ipv6(socket.as_fd())?, false)?;
    let token = Token::relay(0, 0);
    let mut arena = Arena::new(D::SLOTS);
    let mut driver = D::new(&arena)?;
    driver.watch(socket.as_fd(), token)?;
    let (mut arrivals, mut outbox) = (Arrivals::default(), Outbox::default());
    let envelope = Envelope {
        socket: socket.as_raw_fd(),
        to: RawAddress::from(local_addr(socket.as_fd())?),
        from: None,
        fields: Fields::default(),
        relay: token,
        ledger: 0,
        upward: true,
        dont_fragment: false,
        runs: true,
    };
    let piece = outbox.scratch(b"there and back");
    outbox.push(&mut RunMark::default(), &envelope, &[piece], piece.len(), 0);
    driver.send(&mut outbox, &arena);
    if let Some(lost) = outbox.transmits().iter().find(|sent| sent.lost > 0) {
        return Err(io::Error::from_raw_os_error(lost.errno));
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        driver.receive(&mut arena, &mut arrivals, Some(PATIENCE))?;
        if let Some(got) = arrivals.datagrams.first() {
            let data = arena.slice(got.slot, got.start as i32, got.len as usize);
            if data == b"there and back" {
                driver.unwatch(socket.as_fd(), token);
                return Ok(());
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// What is wrong with io_uring here, for an admin.
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring".into(),
        Some(libc::EPERM | libc::EACCES) => {
            let file = "/proc/sys/kernel/io_uring_disabled";
            match std::fs::read_to_string(file).as_deref().map(str::trim_ascii) {
                Ok(level @ ("1" | "2")) => {
                    format!("io_uring is forbidden: kernel.io_uring_disabled is {level}")
                }
                Ok(_) | Err(_) => "io_uring is forbidden, by a seccomp filter it seems".into(),
            }
        }
        Some(libc::EINVAL | libc::EOPNOTSUPP) => "the kernel's io_uring is too old".into(),
        Some(libc::ENOMEM) => "io_uring may lock no more memory (RLIMIT_MEMLOCK)".into(),
        _ if error.kind() == io::ErrorKind::TimedOut => {
            "io_uring brought no packet in two seconds".into()
        }
        _ => format!("io_uring does not work: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seccomp::forbid;

    #[test]
    fn epoll_always_works() {
        go_round::<EpollDriver>().unwrap();
        let chosen = choose(IoChoice::Epoll).unwrap();
        assert_eq!(chosen.io, Io::Epoll);
        assert_eq!(chosen.why, "epoll: as configured");
    }

    #[test]
    fn what_is_chosen_works() {
        match works_uring() {
            Ok(()) => {
                assert_eq!(choose(IoChoice::Uring).unwrap().io, Io::Uring);
                let chosen = choose(IoChoice::Auto).unwrap();
                assert_eq!(chosen.why, "io_uring: works here");
            }
            // This machine forbids io_uring or has none: then the probe says why.
            Err(why) => {
                assert_eq!(choose(IoChoice::Uring), Err(why.clone()));
                let chosen = choose(IoChoice::Auto).unwrap();
                assert_eq!(chosen.why, format!("epoll: {why}"));
            }
        }
    }

    #[test]
    fn where_io_uring_is_forbidden_it_is_epoll() {
        // A filter holds for its thread.
        let chosen = std::thread::spawn(|| {
            forbid(libc::SYS_io_uring_setup, libc::EPERM);
            assert!(choose(IoChoice::Uring).is_err());
            choose(IoChoice::Auto).unwrap()
        });
        let chosen = chosen.join().unwrap();
        assert_eq!(chosen.io, Io::Epoll);
        assert!(chosen.why.contains("forbidden"), "{}", chosen.why);
    }

    #[test]
    fn reasons_are_words() {
        for (errno, word) in [
            (libc::ENOSYS, "no io_uring"),
            (libc::EINVAL, "too old"),
            (libc::ENOMEM, "MEMLOCK"),
            (libc::EIO, "does not work"),
        ] {
            let why = in_words(&io::Error::from_raw_os_error(errno));
            assert!(why.contains(word), "{why}");
        }
        assert!(in_words(&io::ErrorKind::TimedOut.into()).contains("two seconds"));
    }
}
