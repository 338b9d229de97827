//! Which descriptors are ready, by epoll: level-triggered, so that what was read in part is told
//! again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::{Ready, Token};

/// Descriptors that are told in one go; the kernel begins with the others the next time.
const AT_ONCE: usize = 512;

/// An epoll instance that knows descriptors by token.
pub(super) struct Readiness {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Readiness {
    /// One that sees to nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(AT_ONCE),
        })
    }

    /// Sees to a descriptor that is wanted for reading.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let data = EventData::new_u64(token.to_bits());
        Ok(epoll::add(&self.epoll, descriptor, data, EventFlags::IN)?)
    }

    /// What a descriptor is wanted for from now on.
    pub(super) fn want(
        &self,
        descriptor: BorrowedFd<'_>,
        token: Token,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, read);
        flags.set(EventFlags::OUT, write);
        let data = EventData::new_u64(token.to_bits());
        Ok(epoll::modify(&self.epoll, descriptor, data, flags)?)
    }

    /// Sees to a descriptor no more. One that was never added is none too.
    pub(super) fn remove(&self, descriptor: BorrowedFd<'_>) {
        let result = epoll::delete(&self.epoll, descriptor);
        debug_assert!(matches!(result, Ok(()) | Err(Errno::NOENT | Errno::BADF)));
    }

    /// Waits until something is ready, at most so long. Interrupted, it says that nothing is.
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = Ready> + '_> {
        let timeout = timeout.map(in_milliseconds);
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(ready))
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Rounded up, as kernels before 5.11 want it: rounded down, the last millisecond would be spent
/// in a loop of waits for no time at all.
fn in_milliseconds(time: Duration) -> Timespec {
    let milliseconds = time.as_nanos().div_ceil(1_000_000);
    let milliseconds = i64::try_from(milliseconds)
        .map_or(i64::from(i32::MAX), |number| number.min(i64::from(i32::MAX)));
    Timespec { tv_sec: milliseconds / 1_000, tv_nsec: milliseconds % 1_000 * 1_000_000 }
}

fn ready(event: &Event) -> Ready {
    let flags = event.flags;
    let token = Token::from_bits(event.data.u64());
    let ended = flags.intersects(EventFlags::ERR | EventFlags::HUP);
    Ready {
        socket: token,
        readable: flags.contains(EventFlags::IN) || ended,
        writable: flags.contains(EventFlags::OUT),
        error: flags.contains(EventFlags::ERR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_milliseconds() {
        let rounded = |time| {
            let timeout = in_milliseconds(time);
            (timeout.tv_sec, timeout.tv_nsec)
        };
        assert_eq!(rounded(Duration::ZERO), (0, 0));
        assert_eq!(rounded(Duration::from_nanos(1)), (0, 1_000_000));
        assert_eq!(rounded(Duration::from_micros(1_500_001)), (1, 501_000_000));
        assert_eq!(rounded(Duration::MAX).0, i64::from(i32::MAX) / 1_000);
    }
}
