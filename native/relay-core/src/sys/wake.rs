//! A descriptor that wakes a thread that waits for descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

/// An eventfd: readable from the first [`Wake::wake`] until [`Wake::drain`].
#[derive(Debug)]
pub struct Wake {
    descriptor: OwnedFd,
}

impl Wake {
    /// A descriptor that nobody has woken yet.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// Makes it readable. From any thread, any number of times.
    pub fn wake(&self) {
        self.call(|descriptor| write(descriptor, &1u64.to_ne_bytes()));
    }

    /// Makes it wait again. To be called before what it announced is looked at, so that no later
    /// announcement is lost.
    pub fn drain(&self) {
        let mut count = [0; 8];
        self.call(|descriptor| read(descriptor, &mut count));
    }

    /// An eventfd fails in one way: full (it is readable already) or empty (it waits already).
    fn call(&self, mut io: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>) {
        while let Err(error) = io(self.as_fd()) {
            if error != Errno::INTR {
                debug_assert_eq!(error, Errno::AGAIN);
                return;
            }
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(wake: &Wake) -> bool {
        let mut fds = [PollFd::new(wake, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).unwrap() == 1
    }

    #[test]
    fn it_is_readable_until_it_is_drained() {
        let wake = Wake::new().unwrap();
        assert!(!readable(&wake));
        wake.drain();
        wake.wake();
        wake.wake();
        assert!(readable(&wake));
        wake.drain();
        assert!(!readable(&wake));
    }
}
