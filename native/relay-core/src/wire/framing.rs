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
use crate::wire::message::{
    CHANNEL_HEADER_SIZE, CONNECTION_BIND_REQUEST, HEADER_SIZE, MAGIC_COOKIE,
};

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
    /// A ConnectionBind request waits for its answer.
    held: bool,
}

impl Framer {
    /// `timeout`: from a frame's first byte to its last.
    #[must_use]
    pub fn new(timeout: Nanos) -> Self {
        let largest = LARGEST_BEFORE_RELAY;
        Self { timeout, deadline: None, largest, kept: Vec::new(), lost: false, held: false }
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

    /// Whether a ConnectionBind request was given out and waits for its answer. What follows it may
    /// be for the peer (RFC 6062 section 5.4): until it is released there are no further frames.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Lets the request wait, for as long as a frame may take; what follows it is the caller's.
    pub fn hold(&mut self, now: Nanos) {
        self.kept = Vec::new();
        self.deadline = self.deadline.or(Some(now.saturating_add(self.timeout)));
    }

    /// The request has its answer.
    pub fn release(&mut self) {
        self.held = false;
        self.deadline = None;
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
        if self.held {
            return Ok(None);
        }
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
        self.held = rest.starts_with(&CONNECTION_BIND_REQUEST.to_be_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::BINDING_REQUEST;
    use crate::wire::sample;

    const TIMEOUT: Nanos = 10;
    const CHANNEL_DATA: &[u8] = b"\x40\x00\x00\x05hello\0\0\0";

    /// One read of these bytes: the frames it completes, where the stream still has borders.
    fn read(framer: &mut Framer, bytes: &[u8], now: Nanos) -> Result<Vec<Vec<u8>>, LostBorders> {
        let mut buffer = vec![0xEE; READ_BUFFER];
        let kept = framer.resume(&mut buffer);
        let filled = kept + bytes.len();
        buffer[kept..filled].copy_from_slice(bytes);
        let (mut at, mut frames) = (0, Vec::new());
        while let Some(frame) = framer.next_frame_untrusted(&buffer[..filled], &mut at)? {
            frames.push(buffer[frame].to_vec());
        }
        framer.keep(&buffer[..filled], at, now);
        Ok(frames)
    }

    fn channel_data(size: u16) -> Vec<u8> {
        let mut frame = [&[0x40, 0][..], &size.to_be_bytes()].concat();
        frame.resize(frame.len() + padded(size.into()), 7);
        frame
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let binding = sample::message(BINDING_REQUEST, &[(0x8022, b"client")]);
        let stream = [&binding, CHANNEL_DATA, CHANNEL_DATA, &binding].concat();
        let expected = [&binding[..], &CHANNEL_DATA[..9], &CHANNEL_DATA[..9], &binding];
        for size in 1..=stream.len() {
            let mut framer = Framer::new(TIMEOUT);
            let frames: Vec<_> = stream
                .chunks(size)
                .flat_map(|chunk| read(&mut framer, chunk, 0).unwrap())
                .collect();
            assert_eq!(frames, expected);
            assert_eq!(framer.deadline(), None);
        }
    }

    #[test]
    fn an_idle_stream_holds_nothing() {
        let mut framer = Framer::new(TIMEOUT);
        read(&mut framer, &CHANNEL_DATA[..7], 0).unwrap();
        assert!(framer.kept.capacity() > 0);
        read(&mut framer, &CHANNEL_DATA[7..], 0).unwrap();
        assert_eq!(framer.kept.capacity(), 0);
    }

    #[test]
    fn only_the_frame_that_was_cut_is_kept() {
        let mut framer = Framer::new(TIMEOUT);
        read(&mut framer, &[CHANNEL_DATA, &CHANNEL_DATA[..7]].concat(), 0).unwrap();
        assert_eq!(framer.kept, CHANNEL_DATA[..7]);
        let frames = read(&mut framer, &[&CHANNEL_DATA[7..], &CHANNEL_DATA[..3]].concat(), 0);
        assert_eq!(frames, Ok(vec![CHANNEL_DATA[..9].to_vec()]));
        assert_eq!(framer.kept, CHANNEL_DATA[..3]);
    }

    #[test]
    fn a_frame_under_way_has_a_deadline_from_its_beginning_on() {
        let mut framer = Framer::new(TIMEOUT);
        assert!(!framer.is_overdue(Nanos::MAX));
        read(&mut framer, &CHANNEL_DATA[..3], 100).unwrap();
        read(&mut framer, &CHANNEL_DATA[3..5], 105).unwrap();
        assert_eq!(framer.deadline(), Some(110));
        assert!(!framer.is_overdue(109));
        assert!(framer.is_overdue(110));
        read(&mut framer, &[&CHANNEL_DATA[5..], &CHANNEL_DATA[..1]].concat(), 109).unwrap();
        assert_eq!(framer.deadline(), Some(119));
        read(&mut framer, &CHANNEL_DATA[1..], 110).unwrap();
        assert_eq!(framer.deadline(), None);
    }

    #[test]
    fn reading_nothing_changes_nothing() {
        let mut framer = Framer::new(TIMEOUT);
        assert_eq!(read(&mut framer, b"", 1), Ok(vec![]));
        assert_eq!(framer.deadline(), None);
        read(&mut framer, &CHANNEL_DATA[..2], 1).unwrap();
        assert_eq!(read(&mut framer, b"", 5), Ok(vec![]));
        assert_eq!(framer.deadline(), Some(11));
    }

    #[test]
    fn garbage_is_told_by_its_first_bytes() {
        for garbage in [
            &b"\x04"[..],
            b"\x3F",
            b"\x50",
            b"\xFF\0\0",
            b"\x16\x03\x01\0",
            b"\0\x01\0\x03",
            b"\0\x01\0\0\x22",
            b"\0\x01\0\0\x21\x12\xA4\x43",
        ] {
            let mut framer = Framer::new(TIMEOUT);
            assert_eq!(read(&mut framer, garbage, 0), Err(LostBorders), "{garbage:?}");
            assert_eq!(read(&mut framer, CHANNEL_DATA, 0), Err(LostBorders));
        }
    }

    #[test]
    fn frames_before_garbage_are_given() {
        let data = [CHANNEL_DATA, b"\xFF"].concat();
        let (mut framer, mut at) = (Framer::new(TIMEOUT), 0);
        assert_eq!(framer.next_frame_untrusted(&data, &mut at), Ok(Some(0..9)));
        assert_eq!(framer.next_frame_untrusted(&data, &mut at), Err(LostBorders));
    }

    #[test]
    fn only_a_client_with_a_relay_sends_long_frames() {
        let (fits, too_long) = (channel_data(4092), channel_data(4093));
        let mut framer = Framer::new(TIMEOUT);
        assert_eq!(read(&mut framer, &fits, 0).unwrap().len(), 1);
        assert_eq!(read(&mut framer, &too_long[..4], 0), Err(LostBorders));
        let mut framer = Framer::new(TIMEOUT);
        framer.expect_media();
        assert_eq!(read(&mut framer, &too_long, 0).unwrap()[0].len(), 4097);
    }

    #[test]
    fn the_longest_frames_fit_however_they_are_split() {
        let mut framer = Framer::new(TIMEOUT);
        framer.expect_media();
        let mut stun = sample::message(BINDING_REQUEST, &[(0x8022, &[7; 0xFFFC - 4])]);
        assert_eq!(stun.len(), 20 + 0xFFFC);
        stun.extend_from_slice(&channel_data(0xFFFF));
        for size in [1021, 65_535, 65_536] {
            let frames: Vec<_> =
                stun.chunks(size).flat_map(|chunk| read(&mut framer, chunk, 0).unwrap()).collect();
            assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [65_552, 65_539]);
        }
    }

    #[test]
    fn what_follows_a_connection_bind_is_not_looked_at() {
        let bind = sample::message(CONNECTION_BIND_REQUEST, &[]);
        let mut framer = Framer::new(TIMEOUT);
        let mut buffer = [&bind[..], b"\xFF no frame"].concat();
        buffer.resize(READ_BUFFER, 0);
        let filled = bind.len() + 10;
        let mut at = 0;
        let next = |framer: &mut Framer, at: &mut usize| {
            framer.next_frame_untrusted(&buffer[..filled], at)
        };
        assert_eq!(next(&mut framer, &mut at), Ok(Some(0..bind.len())));
        assert!(framer.is_held());
        assert_eq!(next(&mut framer, &mut at), Ok(None));
        framer.hold(5);
        assert!(!framer.is_overdue(14) && framer.is_overdue(15));
        assert_eq!(framer.resume(&mut vec![0; READ_BUFFER]), 0, "the rest is the caller's");
        framer.release();
        assert_eq!((framer.is_held(), framer.deadline()), (false, None));
        assert_eq!(next(&mut framer, &mut at), Err(LostBorders));
    }
}
