//! Cutting a stream into STUN and ChannelData messages (RFC 8489 section 6.2.2, RFC 8656 section
//! 12.5).
//!
//! Rules of the house
//! 1.  Frames are places in the caller's buffer: nothing is copied while whole frames lie in it.
//!     Only a frame that a read cut is kept, and its bytes come first in the next read's buffer.
//! 2.  The first bytes of a frame tell its kind and its length, and each is judged as soon as it is
//!     there: garbage never waits for more garbage.
//! 3.  What is kept is less than one frame, and is freed as soon as a read ends where a frame does:
//!     an idle stream holds nothing.
//!
//! A read of a stream, where `read` stands for the socket or the TLS session:
//!
//! ```
//! # use relay_core::wire::framing::{Framer, LostBorders, READ_BUFFER};
//! # fn turn(framer: &mut Framer, now: u64, read: impl Fn(&mut [u8]) -> usize)
//! #     -> Result<(), LostBorders> {
//! let mut buffer = vec![0; READ_BUFFER];
//! let kept = framer.resume(&mut buffer);
//! let filled = kept + read(&mut buffer[kept..]);
//! let mut at = 0;
//! while let Some(frame) = framer.next_frame_untrusted(&buffer[..filled], &mut at)? {
//!     let message = &buffer[frame];
//! }
//! framer.keep(&buffer[..filled], at, now);
//! # Ok(())
//! # }
//! # turn(&mut Framer::new(1), 0, |_| 0).unwrap();
//! ```

use std::error::Error;
use std::fmt::{Display, Formatter};
use std::ops::Range;

use crate::time::Nanos;
use crate::wire::data::padding;
use crate::wire::message::{CHANNEL_HEADER_SIZE, HEADER_SIZE, MAGIC_COOKIE};

/// Bytes of the longest message that a length field can tell, with its header.
pub const LARGEST_FRAME: usize = HEADER_SIZE + 0xFFFF;

/// Bytes of a message from a client that has no relay yet: requests are short, and thousands of
/// strangers may each have one under way.
pub const LARGEST_BEFORE_RELAY: usize = 4096;

/// Bytes of a buffer that has room for a read of 64 KiB after whatever is kept.
pub const READ_BUFFER: usize = LARGEST_FRAME + (64 << 10);

/// Neither STUN nor ChannelData where a frame begins, or one that is too long: where the next frame
/// begins is not known any more, and the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostBorders;

impl Display for LostBorders {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("neither STUN nor ChannelData where a frame begins")
    }
}

impl Error for LostBorders {}

/// One stream's framing, and since when a frame is incomplete.
#[derive(Debug)]
pub struct Framer {
    timeout: Nanos,
    deadline: Option<Nanos>,
    largest: usize,
    /// The beginning of a frame that the last read cut.
    kept: Vec<u8>,
    lost: bool,
}

impl Framer {
    /// `timeout`: from a frame's first byte to its last.
    #[must_use]
    pub fn new(timeout: Nanos) -> Self {
        let largest = LARGEST_BEFORE_RELAY;
        Self { timeout, deadline: None, largest, kept: Vec::new(), lost: false }
    }

    /// The client has, or had, a relay: frames may be as long as a datagram.
    pub fn expect_media(&mut self) {
        self.largest = LARGEST_FRAME;
    }

    /// When the frame under way must be complete; None while none is.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// Whether a frame has been under way for too long.
    #[must_use]
    pub fn is_overdue(&self, now: Nanos) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Puts what is kept at the beginning of a buffer of more than [`LARGEST_FRAME`] bytes. Returns
    /// how much that is: the stream's next bytes belong right after it.
    #[must_use]
    pub fn resume(&self, buffer: &mut [u8]) -> usize {
        buffer[..self.kept.len()].copy_from_slice(&self.kept);
        self.kept.len()
    }

    /// The next whole frame at `at`, which then moves on behind its padding: STUN whole, ChannelData
    /// with its header and without its padding. None when no further frame is complete.
    ///
    /// # Errors
    /// The stream has lost its borders, now or before.
    #[inline]
    pub fn next_frame_untrusted(
        &mut self,
        data_untrusted: &[u8],
        at: &mut usize,
    ) -> Result<Option<Range<usize>>, LostBorders> {
        let rest = data_untrusted.get(*at..).unwrap_or_default();
        let size = match frame_size(rest) {
            Ok(size) if !self.lost && size.is_none_or(|size| padded(size) <= self.largest) => size,
            Ok(_) | Err(LostBorders) => {
                self.lost = true;
                return Err(LostBorders);
            }
        };
        let Some(size) = size.filter(|&size| padded(size) <= rest.len()) else { return Ok(None) };
        let frame = *at..*at + size;
        *at += padded(size);
        self.deadline = None;
        Ok(Some(frame))
    }

    /// Keeps what follows the last whole frame, to be called when there is no further one.
    ///
    /// `data` and `at` are those of [`Framer::next_frame_untrusted`].
    pub fn keep(&mut self, data: &[u8], at: usize, now: Nanos) {
        let rest = data.get(at..).unwrap_or_default();
        if rest.is_empty() {
            self.kept = Vec::new();
            self.deadline = None;
            return;
        }
        if at > 0 {
            self.kept.clear();
        }
        // What is kept already is where the data began: a long frame is not copied at each read.
        self.kept.extend_from_slice(rest.get(self.kept.len()..).unwrap_or_default());
        self.deadline = self.deadline.or(Some(now.saturating_add(self.timeout)));
    }
}

fn padded(size: usize) -> usize {
    size + padding(size)
}

/// Bytes of the frame that begins here, without padding; None when not enough is there to tell.
#[inline]
fn frame_size(bytes: &[u8]) -> Result<Option<usize>, LostBorders> {
    match *bytes {
        [] => Ok(None),
        [0..=3 | 0x40..=0x4F] | [0..=3 | 0x40..=0x4F, _] | [0..=3 | 0x40..=0x4F, _, _] => Ok(None),
        [0x40..=0x4F, _, high, low, ..] => {
            Ok(Some(CHANNEL_HEADER_SIZE + usize::from(u16::from_be_bytes([high, low]))))
        }
        [0..=3, _, high, low, ref rest @ ..] => {
            let cookie = &rest[..rest.len().min(MAGIC_COOKIE.len())];
            if low & 3 != 0 || !MAGIC_COOKIE.starts_with(cookie) {
                return Err(LostBorders);
            }
            Ok(Some(HEADER_SIZE + usize::from(u16::from_be_bytes([high, low]))))
        }
        _ => Err(LostBorders),
    }
}
