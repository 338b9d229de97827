//! System calls: beside the arena the only place with `unsafe`, in small files.
//!
//! What rustix offers is called through it. The rest is ours: socket options that have no name
//! there, many messages in one call, control messages, the error queue, the program that steers
//! clients to workers, and the rings that are shared with the kernel.

use std::io;

pub mod batch;
mod buffers;
pub mod clock;
pub mod control;
pub mod cpu;
pub mod errors;
pub mod options;
pub(crate) mod ring;
#[cfg(test)]
pub(crate) mod seccomp;
pub mod socket;
pub mod steering;
pub mod wake;

/// The result of a call that says -1 where it fails.
fn checked(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The length of a `T`, as system calls want it told.
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
