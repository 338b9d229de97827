//! What leaves at the end of a turn: messages gathered from slots of the arena, and runs of them.
//!
//! Packets of equal size to one destination become one *run*, which the kernel cuts into datagrams
//! (UDP_SEGMENT): its way through the IP stack is what a packet costs, and a run goes it once. A run
//! may grow while other packets are put behind it; the order towards one destination is kept, since
//! a destination has one open run at most and each packet that does not fit opens the next. The
//! packets of a run have one IP header.

use std::net::IpAddr;
use std::os::fd::RawFd;

use super::Token;
use super::arena::Arena;
use crate::address::RawAddress;
use crate::fields::Fields;
use crate::time::Nanos;

/// Datagrams that one run may have: what every kernel with UDP_SEGMENT takes (UDP_MAX_SEGMENTS).
pub const LONGEST_RUN: u32 = 64;

/// Bytes that one run may have: a UDP length field's worth, less the largest headers.
const LARGEST_RUN: u32 = 65_000;

/// Messages and pieces that are gathered before a flush is due.
const MESSAGES: usize = 1_024;
const PIECES: usize = 8_192;

const SCRATCH: u32 = u32::MAX;
const END: u32 = u32::MAX;

/// Bytes of a slot, or of the outbox's own scratch memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    slot: u32,
    start: i32,
    len: u32,
}

impl Piece {
    /// Bytes of a slot; `start` may be negative, within the headroom.
    #[must_use]
    pub fn of_slot(slot: u32, start: i32, len: usize) -> Self {
        Self { slot, start, len: len as u32 }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Where a message goes, by what, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// The socket it leaves by; open at least until the turn ends.
    pub socket: RawFd,
    /// Where to.
    pub to: RawAddress,
    /// The address of ours to send from, where the socket is bound to all of them.
    pub from: Option<IpAddr>,
    /// What its IP header is to say beside.
    pub fields: Fields,
    /// The relay whose packet it is.
    pub relay: Token,
    /// Where it is counted beside the relay; the driver does not look at it.
    pub ledger: u32,
    /// From the client to a peer; else from a peer to the client.
    pub upward: bool,
    /// Set the Don't Fragment bit, although the socket does not (DONT-FRAGMENT). Sent by itself.
    pub dont_fragment: bool,
    /// Whether the path takes runs.
    pub runs: bool,
}

/// One message or run, and after the flush what became of it.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where it goes.
    pub envelope: Envelope,
    /// Bytes of each datagram but the last, which may be shorter.
    pub segment: u32,
    /// How many datagrams.
    pub packets: u32,
    /// Bytes in all.
    pub bytes: u32,
    /// Bytes of it that are the peers' and clients' own.
    pub payload: u64,
    /// When its first packet was received (CLOCK_REALTIME), if that is measured; else 0.
    pub received: Nanos,
    /// Datagrams of it that were not sent: set by the driver.
    pub lost: u32,
    /// Why not, as errno: set by the driver.
    pub errno: i32,
    /// The path refused the run as a run, and it was sent datagram by datagram: set by the driver.
    pub refused_run: bool,
    first: u32,
    last: u32,
    closed: bool,
}

/// Remembers a destination's open run; belongs to the destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunMark {
    flush: u64,
    index: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    piece: Piece,
    next: u32,
}

/// Collects what a turn sends.
#[derive(Debug)]
pub struct Outbox {
    transmits: Vec<Transmit>,
    links: Vec<Link>,
    scratch: Vec<u8>,
    header: ([u8; 4], Option<Piece>),
    flush: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            transmits: Vec::with_capacity(MESSAGES),
            links: Vec::with_capacity(PIECES),
            scratch: Vec::new(),
            header: ([0; 4], None),
            flush: 1,
        }
    }
}

impl Outbox {
    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transmits.is_empty()
    }

    /// Whether it is time to flush before more is put in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.transmits.len() >= MESSAGES || self.links.len() + 4 > PIECES
    }

    /// Bytes that live until the flush.
    pub fn scratch(&mut self, bytes: &[u8]) -> Piece {
        let start = self.scratch.len() as i32;
        self.scratch.extend_from_slice(bytes);
        Piece { slot: SCRATCH, start, len: bytes.len() as u32 }
    }

    /// Bytes that live until the flush, appended by `write`.
    pub fn scratch_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Piece {
        let start = self.scratch.len();
        write(&mut self.scratch);
        Piece { slot: SCRATCH, start: start as i32, len: (self.scratch.len() - start) as u32 }
    }

    /// A header of four bytes; equal ones in a row, as runs have them, share their memory.
    pub fn header(&mut self, header: [u8; 4]) -> Piece {
        match self.header {
            (same, Some(piece)) if same == header => piece,
            _ => {
                let piece = self.scratch(&header);
                self.header = (header, Some(piece));
                piece
            }
        }
    }

    /// Puts one datagram in: `pieces` in their order, of which `payload` bytes are not ours.
    pub fn push(
        &mut self,
        mark: &mut RunMark,
        envelope: &Envelope,
        pieces: &[Piece],
        payload: usize,
        received: Nanos,
    ) {
        let bytes: u32 = pieces.iter().map(|piece| piece.len).sum();
        let index = if mark.flush == self.flush && self.joins(mark.index, envelope, bytes) {
            mark.index as usize
        } else {
            *mark = RunMark { flush: self.flush, index: self.transmits.len() as u32 };
            self.transmits.push(Transmit {
                envelope: *envelope,
                segment: bytes,
                packets: 0,
                bytes: 0,
                payload: 0,
                received,
                lost: 0,
                errno: 0,
                refused_run: false,
                first: END,
                last: END,
                closed: bytes == 0 || envelope.dont_fragment || !envelope.runs,
            });
            mark.index as usize
        };
        self.append(index, pieces);
        let run = &mut self.transmits[index];
        run.packets += 1;
        run.bytes += bytes;
        run.payload += payload as u64;
        run.closed |= bytes < run.segment;
    }

    fn joins(&self, index: u32, envelope: &Envelope, bytes: u32) -> bool {
        let run = &self.transmits[index as usize];
        !run.closed
            && bytes > 0
            && bytes <= run.segment
            && run.packets < LONGEST_RUN
            && run.bytes + bytes <= LARGEST_RUN
            && !envelope.dont_fragment
            && run.envelope.relay == envelope.relay
            && run.envelope.socket == envelope.socket
            && run.envelope.to == envelope.to
            && run.envelope.fields == envelope.fields
    }

    fn append(&mut self, index: usize, pieces: &[Piece]) {
        for piece in pieces {
            let link = self.links.len() as u32;
            self.links.push(Link { piece: *piece, next: END });
            let run = &mut self.transmits[index];
            match run.last {
                END => run.first = link,
                last => self.links[last as usize].next = link,
            }
            self.transmits[index].last = link;
        }
    }

    /// All messages, in the order in which they are to leave.
    #[must_use]
    pub fn transmits(&self) -> &[Transmit] {
        &self.transmits
    }

    /// A message, to note what became of it.
    pub fn transmit_mut(&mut self, index: usize) -> &mut Transmit {
        &mut self.transmits[index]
    }

    /// A message's bytes, piece by piece; no piece has bytes of two datagrams.
    pub fn gather<'a>(
        &'a self,
        index: usize,
        arena: &'a Arena,
    ) -> impl Iterator<Item = &'a [u8]> + 'a {
        let mut next = self.transmits[index].first;
        std::iter::from_fn(move || {
            let link = self.links.get(next as usize)?;
            next = link.next;
            Some(self.locate(link.piece, arena))
        })
    }

    /// A message's bytes, if they are one piece.
    #[must_use]
    pub fn in_one_piece<'a>(&'a self, index: usize, arena: &'a Arena) -> Option<&'a [u8]> {
        let mut pieces = self.gather(index, arena);
        pieces.next().filter(|_| pieces.next().is_none())
    }

    fn locate<'a>(&'a self, piece: Piece, arena: &'a Arena) -> &'a [u8] {
        let len = piece.len();
        if piece.slot == SCRATCH {
            let start = piece.start as usize;
            return &self.scratch[start..start + len];
        }
        arena.slice(piece.slot, piece.start, len)
    }

    /// How often it has been emptied, and once more: what marks of now carry.
    #[cfg(test)]
    pub(crate) fn flushes(&self) -> u64 {
        self.flush
    }

    /// Forgets all; every mark is out of date.
    pub fn clear(&mut self) {
        self.transmits.clear();
        self.links.clear();
        self.scratch.clear();
        self.header.1 = None;
        self.flush += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(port: u16) -> Envelope {
        Envelope {
            socket: 7,
            to: RawAddress::from(std::net::SocketAddr::from(([127, 0, 0, 1], port))),
            from: None,
            fields: Fields::default(),
            relay: Token::relay(1, 1),
            ledger: 0,
            upward: true,
            dont_fragment: false,
            runs: true,
        }
    }

    fn bytes(outbox: &Outbox, index: usize, arena: &Arena) -> Vec<u8> {
        outbox.gather(index, arena).flatten().copied().collect()
    }

    #[test]
    fn equal_packets_to_one_destination_become_a_run() {
        let mut arena = Arena::new(1);
        arena.bytes_mut(0)[..8].copy_from_slice(b"abcdefgh");
        let mut outbox = Outbox::default();
        let (mut one, mut other) = (RunMark::default(), RunMark::default());
        for start in [0, 3] {
            outbox.push(&mut one, &envelope(1), &[Piece::of_slot(0, start, 3)], 3, 0);
            outbox.push(&mut other, &envelope(2), &[Piece::of_slot(0, start, 2)], 2, 0);
        }
        outbox.push(&mut one, &envelope(1), &[Piece::of_slot(0, 6, 2)], 2, 0);
        assert_eq!(outbox.transmits().len(), 2);
        let run = &outbox.transmits()[0];
        assert_eq!((run.packets, run.segment, run.bytes, run.payload), (3, 3, 8, 8));
        assert_eq!(bytes(&outbox, 0, &arena), b"abcdefgh");
        assert_eq!(bytes(&outbox, 1, &arena), b"abde");
    }

    #[test]
    fn only_the_last_of_a_run_is_shorter() {
        let arena = Arena::new(1);
        let mut outbox = Outbox::default();
        let mut mark = RunMark::default();
        for len in [3, 2, 3, 4, 0, 4] {
            outbox.push(&mut mark, &envelope(1), &[Piece::of_slot(0, 0, len)], len, 0);
        }
        let packets: Vec<u32> = outbox.transmits().iter().map(|run| run.packets).collect();
        assert_eq!(packets, [2, 1, 1, 1, 1]);
        assert_eq!(bytes(&outbox, 0, &arena).len(), 5);
    }

    #[test]
    fn a_run_is_bounded() {
        let mut outbox = Outbox::default();
        let mut mark = RunMark::default();
        for _ in 0..=LONGEST_RUN {
            outbox.push(&mut mark, &envelope(1), &[Piece::of_slot(0, 0, 10)], 10, 0);
        }
        for _ in 0..3 {
            outbox.push(&mut mark, &envelope(1), &[Piece::of_slot(0, 0, 30_000)], 30_000, 0);
        }
        let packets: Vec<u32> = outbox.transmits().iter().map(|run| run.packets).collect();
        assert_eq!(packets, [LONGEST_RUN, 1, 2, 1]);
    }

    #[test]
    fn a_path_without_runs_gets_single_packets() {
        let mut outbox = Outbox::default();
        let mut mark = RunMark::default();
        for different in [
            Envelope { runs: false, ..envelope(1) },
            Envelope { dont_fragment: true, ..envelope(1) },
        ] {
            outbox.clear();
            for _ in 0..2 {
                outbox.push(&mut mark, &different, &[Piece::of_slot(0, 0, 10)], 10, 0);
            }
            assert_eq!(outbox.transmits().len(), 2);
        }
    }

    #[test]
    fn a_flush_ends_all_runs_and_scratch_memory() {
        let arena = Arena::new(1);
        let mut outbox = Outbox::default();
        let mut mark = RunMark::default();
        for round in 0..2 {
            let header = outbox.header([round; 4]);
            assert_eq!(outbox.header([round; 4]), header);
            outbox.push(&mut mark, &envelope(1), &[header, Piece::of_slot(0, 0, 2)], 2, 0);
            assert_eq!(outbox.transmits().len(), 1);
            assert_eq!(bytes(&outbox, 0, &arena), [round, round, round, round, 0, 0]);
            outbox.clear();
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn it_says_when_it_is_full() {
        let mut outbox = Outbox::default();
        while !outbox.is_full() {
            let mut mark = RunMark::default();
            outbox.push(&mut mark, &envelope(1), &[Piece::of_slot(0, 0, 1)], 1, 0);
        }
        assert_eq!(outbox.transmits().len(), MESSAGES);
    }
}
