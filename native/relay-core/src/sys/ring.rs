//! An io_uring whose receives fill the slots of an arena.
//!
//! The kernel takes slots from a ring of buffers, one for each datagram, and gives them back with
//! the completion. A receive stays armed until a completion without `more` says otherwise. Sends
//! are taken while they are submitted: they may not wait (MSG_DONTWAIT), so that nothing they
//! point to is looked at when `send` returns.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::batch::{EMPTY, Sealed};
use super::buffers::BufferRing;
use super::control::{RECEIVE_SPACE, Told};
use crate::address::RawAddress;
use crate::io::arena::{Arena, SLOT_SIZE};

/// Requests that are handed over at once.
const SUBMISSIONS: u32 = 1_024;

/// Completions that wait without spilling.
const COMPLETIONS: u32 = 4_096;

/// The one group of buffers.
const GROUP: u16 = 0;

/// Bytes in front of a received datagram: `struct io_uring_recvmsg_out`, the sender, what is told.
pub(crate) const PAYLOAD: usize = 16 + RawAddress::SIZE + RECEIVE_SPACE;

/// How often a request that the kernel has no memory for is tried again.
const TRIES: u32 = 1_000;

const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// What the request was named.
    pub(crate) name: u64,
    /// What the call would have returned, errors negative.
    pub(crate) result: i32,
    flags: u32,
}

impl Completion {
    /// The slot that was filled, which is the caller's until it gives it back.
    #[must_use]
    pub(crate) fn slot(&self) -> Option<u32> {
        cqueue::buffer_select(self.flags).map(u32::from)
    }

    /// Whether the request goes on.
    #[must_use]
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }
}

/// A message to be sent.
pub(crate) enum Sending<'m> {
    /// Bytes in one piece, without anything asked of the kernel.
    Plain {
        /// By which socket.
        socket: RawFd,
        /// Where to.
        to: &'m RawAddress,
        /// What.
        bytes: &'m [u8],
    },
    /// One of the sealed messages.
    Sealed {
        /// By which socket.
        socket: RawFd,
        /// Which of them.
        message: usize,
    },
}

/// The rings. To be used by the thread that made them.
pub(crate) struct Ring {
    // Dropped in this order: the kernel stops, then the memory goes.
    ring: IoUring,
    buffers: BufferRing,
    template: Box<libc::msghdr>,
    /// Completions that were met while looking for others.
    met: VecDeque<Completion>,
    /// Requests that point to memory which may be gone were left behind: nothing is submitted
    /// any more.
    broken: bool,
}

impl Ring {
    /// Rings for the first `slots` slots of an arena, a power of two; the kernel has none yet.
    ///
    /// # Errors
    /// The kernel is too old for what is needed, forbids it, or is out of memory.
    ///
    /// # Panics
    /// If the arena has fewer slots.
    pub(crate) fn new(arena: &Arena, slots: u16) -> io::Result<Self> {
        let ring = build()?;
        let buffers = BufferRing::new(arena, slots)?;
        // SAFETY: the buffers' ring stays where it is until it is dropped, after the ring, which
        // unregisters it.
        unsafe {
            let submitter = ring.submitter();
            submitter.register_buf_ring_with_flags(buffers.address(), slots, GROUP, 0)?;
        }
        let template = Box::new(libc::msghdr {
            msg_namelen: RawAddress::SIZE as u32,
            msg_controllen: RECEIVE_SPACE,
            ..EMPTY
        });
        Ok(Self { ring, buffers, template, met: VecDeque::new(), broken: false })
    }

    /// Lends slots to the kernel until a completion brings them back: nobody is to read them, or
    /// to lend them again, before that.
    pub(crate) fn lend(&mut self, slots: impl Iterator<Item = u32>) {
        self.buffers.add(slots);
    }

    /// Asks for all that arrives at a socket, from the next `enter` on.
    ///
    /// # Errors
    /// The ring has broken.
    pub(crate) fn receive(&mut self, socket: RawFd, name: u64) -> io::Result<()> {
        let template = std::ptr::from_ref(&*self.template);
        let request = opcode::RecvMsgMulti::new(Fd(socket), template, GROUP).build();
        // SAFETY: the kernel reads the template, which lives as long as the ring, and writes to
        // slots that it was lent, whose memory the buffers keep.
        unsafe { self.push(request.user_data(name)) }
    }

    /// Asks to be told, once, when a descriptor can be read, from the next `enter` on.
    ///
    /// # Errors
    /// The ring has broken.
    pub(crate) fn poll(&mut self, descriptor: RawFd, name: u64) -> io::Result<()> {
        let request = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).build();
        // SAFETY: it points to nothing.
        unsafe { self.push(request.user_data(name)) }
    }

    /// Ends the request of that name and waits until it has ended: its last completion is among
    /// those that wait then, and nothing holds its descriptor.
    ///
    /// # Errors
    /// The ring has broken.
    pub(crate) fn cancel(&mut self, name: u64) -> io::Result<()> {
        self.check()?;
        self.submit()?;
        for _ in 0..TRIES {
            self.sift();
            let last = |met: &Completion| met.name == name && !met.more();
            if self.met.iter().any(last) || self.cancel_once(CancelBuilder::user_data(name))? {
                return Ok(());
            }
        }
        self.broken = true;
        self.check()
    }

    /// Asks for the end of requests and lets the kernel see to it. Says whether there was none of
    /// that name, and none has ended meanwhile.
    fn cancel_once(&mut self, which: CancelBuilder) -> io::Result<bool> {
        let cancelled = self.ring.submitter().register_sync_cancel(None, which);
        let known = self.met.len();
        self.flush()?;
        self.sift();
        match cancelled.map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) | Err((Some(libc::EINTR), _)) => Ok(false),
            Err((Some(libc::ENOENT), _)) => Ok(self.met.len() == known),
            Err((_, error)) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// Submits what was asked for and waits until something has completed, at most so long.
    ///
    /// # Errors
    /// The ring has broken.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.check()?;
        if !self.met.is_empty() || timeout == Some(Duration::ZERO) {
            return self.flush();
        }
        let result = match timeout {
            None => self.ring.submitter().submit_and_wait(1),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        self.judge(result)
    }

    /// The next completion.
    pub(crate) fn next_completion(&mut self) -> Option<Completion> {
        if let Some(met) = self.met.pop_front() {
            return Some(met);
        }
        self.ring.completion().next().map(completion)
    }

    /// The next completion of a request that has been met with already.
    pub(crate) fn met_of(&mut self, name: u64) -> Option<Completion> {
        let at = self.met.iter().position(|met| met.name == name)?;
        self.met.remove(at)
    }

    /// Sends messages by name, in their order. Those that fail complete: `takes` is shown what
    /// completes meanwhile, and says whether it was one of them.
    ///
    /// # Errors
    /// The ring has broken; what was sent is not known.
    pub(crate) fn send<'m>(
        &mut self,
        messages: impl Iterator<Item = (u64, Sending<'m>)>,
        sealed: &Sealed<'_, 'm>,
        mut takes: impl FnMut(&Completion) -> bool,
    ) -> io::Result<()> {
        self.check()?;
        // Broken, should anything end this before all is submitted.
        self.broken = true;
        for (name, message) in messages {
            let request =
                request(&message, sealed).flags(squeue::Flags::SKIP_SUCCESS).user_data(name);
            // SAFETY: what it points to is borrowed for `'m`, longer than this call; whatever is
            // submitted is done when that returns, by the flags; and should not all be submitted,
            // nothing will be any more.
            unsafe { self.push_unchecked(&request)? };
        }
        self.submit()?;
        self.broken = false;
        if self.ring.completion().is_empty() && self.met.is_empty() {
            return Ok(());
        }
        self.sift();
        self.met.retain(|met| !takes(met));
        Ok(())
    }

    /// A datagram in a slot, by its completion's result: how many bytes, its sender, what is told.
    #[must_use]
    pub(crate) fn datagram(
        &self,
        arena: &Arena,
        slot: u32,
        result: i32,
    ) -> Option<(usize, RawAddress, Told)> {
        let len = usize::try_from(result).ok()?.min(SLOT_SIZE);
        let parts = RecvMsgOut::parse(arena.bytes(slot, len), &self.template).ok()?;
        let sender = RawAddress::from_bytes(parts.name_data());
        let told = Told::from_bytes(parts.control_data());
        Some((parts.payload_data().len(), sender, told))
    }

    /// # Safety
    /// What the request points to must live until it has completed.
    unsafe fn push(&mut self, request: squeue::Entry) -> io::Result<()> {
        self.check()?;
        // SAFETY: as the caller promises.
        unsafe { self.push_unchecked(&request) }
    }

    /// # Safety
    /// As `push`.
    unsafe fn push_unchecked(&mut self, request: &squeue::Entry) -> io::Result<()> {
        // SAFETY: as the caller promises.
        while unsafe { self.ring.submission().push(request) }.is_err() {
            self.submit()?;
        }
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an io_uring that has broken"));
        }
        Ok(())
    }

    /// Hands all requests over, without waiting.
    fn submit(&mut self) -> io::Result<()> {
        for _ in 0..TRIES {
            if self.ring.submission().is_empty() {
                return Ok(());
            }
            let result = self.ring.submitter().submit();
            self.judge(result)?;
            if !self.ring.submission().is_empty() {
                // Completions spill over, and must be taken first.
                self.sift();
            }
        }
        self.broken = true;
        self.check()
    }

    /// Hands all requests over and lets the kernel see to what has arrived, without waiting.
    fn flush(&mut self) -> io::Result<()> {
        let requests = self.ring.submission().len() as u32;
        let events = EnterFlags::GETEVENTS.bits();
        let submitter = self.ring.submitter();
        // SAFETY: requests were pushed with the promise that they need; there is no argument.
        let result = unsafe { submitter.enter::<libc::sigset_t>(requests, 0, events, None) };
        self.judge(result)
    }

    /// Tells what passes (the time has, a signal came, no memory now) from what stays.
    fn judge(&mut self, result: io::Result<usize>) -> io::Result<()> {
        match result.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) => {
                Ok(())
            }
            Err((_, error)) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// Takes all completions in.
    fn sift(&mut self) {
        self.met.extend(self.ring.completion().map(completion));
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Else the kernel would let go of the sockets only when it gets round to it.
        for _ in 0..TRIES {
            let known = self.met.len();
            let cancelled = self.check().and_then(|()| self.cancel_once(CancelBuilder::any()));
            if cancelled.is_err() || self.met.len() == known {
                break;
            }
        }
        // Without its buffers no receive writes anything, whenever the kernel takes the rest down.
        let result = self.ring.submitter().unregister_buf_ring(GROUP);
        if result.is_err() {
            self.buffers.leak();
        }
    }
}

/// What else is needed came with these or before them (Linux 6.1).
fn build() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(SUBMISSIONS)
}

fn request(message: &Sending<'_>, sealed: &Sealed<'_, '_>) -> squeue::Entry {
    match *message {
        Sending::Plain { socket, to, bytes } => {
            opcode::Send::new(Fd(socket), bytes.as_ptr(), bytes.len() as u32)
                .dest_addr(to.as_ptr().cast())
                .dest_addr_len(to.len())
                .flags(SEND_FLAGS)
                .build()
        }
        Sending::Sealed { socket, message } => {
            opcode::SendMsg::new(Fd(socket), sealed.header(message))
                .flags(SEND_FLAGS as u32)
                .build()
        }
    }
}

fn completion(entry: cqueue::Entry) -> Completion {
    Completion { name: entry.user_data(), result: entry.result(), flags: entry.flags() }
}
