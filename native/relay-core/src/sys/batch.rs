//! Many datagrams in one call: recvmmsg into slots of an arena, sendmmsg from borrowed pieces.

use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::RawFd;

use super::checked;
use super::control::{Asked, RECEIVE_SPACE, Space, Told};
use crate::address::RawAddress;
use crate::io::arena::{Arena, Loan, SLOT_SIZE};

/// A header that points to nothing.
pub(super) const EMPTY: libc::msghdr = libc::msghdr {
    msg_name: std::ptr::null_mut(),
    msg_namelen: 0,
    msg_iov: std::ptr::null_mut(),
    msg_iovlen: 0,
    msg_control: std::ptr::null_mut(),
    msg_controllen: 0,
    msg_flags: 0,
};

/// Reads datagrams into the first slots of an arena, each with room for its sender and for what
/// the kernel tells of it.
pub struct Reader {
    headers: Vec<libc::mmsghdr>,
    senders: Box<[RawAddress]>,
    told: Box<[Space]>,
    // What the headers point to beside the two above; the boxes and the memory stay where they are.
    _pieces: Box<[libc::iovec]>,
    loan: Loan,
}

// SAFETY: the headers point to memory that is the reader's own, and to the arena's, of which only
// `receive` writes, and that with the arena in hand.
unsafe impl Send for Reader {}

impl Reader {
    /// For the first `slots` slots of an arena.
    ///
    /// # Panics
    /// If it has fewer.
    #[must_use]
    pub fn new(arena: &Arena, slots: usize) -> Self {
        let mut senders = vec![RawAddress::EMPTY; slots].into_boxed_slice();
        let mut told = vec![Space::EMPTY; slots].into_boxed_slice();
        let mut pieces: Box<[libc::iovec]> = (0..slots)
            .map(|slot| libc::iovec {
                iov_base: arena.address(slot as u32).cast(),
                iov_len: SLOT_SIZE,
            })
            .collect();
        let headers = senders
            .iter_mut()
            .zip(&mut told)
            .zip(&mut pieces)
            .map(|((sender, told), piece)| libc::mmsghdr {
                msg_hdr: libc::msghdr {
                    msg_name: sender.as_mut_ptr().cast(),
                    msg_iov: std::ptr::from_mut(piece),
                    msg_iovlen: 1,
                    msg_control: told.0.as_mut_ptr().cast(),
                    ..EMPTY
                },
                msg_len: 0,
            })
            .collect();
        Self { headers, senders, told, _pieces: pieces, loan: arena.lend() }
    }

    /// Reads what has arrived at a socket, at most a datagram for each of `slots`, without waiting.
    /// Returns how many slots were filled, from the first of them on.
    ///
    /// # Errors
    /// `WouldBlock`: there is nothing. Else a pending error of an earlier send.
    ///
    /// # Panics
    /// If the arena is another one, or has no such slots.
    pub fn receive(
        &mut self,
        socket: RawFd,
        arena: &mut Arena,
        slots: Range<usize>,
    ) -> io::Result<usize> {
        assert!(arena.is_lent_by(&self.loan));
        let headers = &mut self.headers[slots];
        for header in headers.iter_mut() {
            header.msg_hdr.msg_namelen = RawAddress::SIZE as u32;
            header.msg_hdr.msg_controllen = RECEIVE_SPACE;
        }
        // SAFETY: each header points to a sender, a space for control messages and a slot, all of
        // the lengths given and alive as long as `self`; nobody reads slots meanwhile, since we
        // hold the arena exclusively.
        let result = unsafe {
            libc::recvmmsg(
                socket,
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        checked(result)
    }

    /// How many bytes a slot was filled with, and by whom.
    #[must_use]
    pub fn filled(&self, slot: usize) -> (u32, RawAddress) {
        (self.headers[slot].msg_len, self.senders[slot])
    }

    /// What the kernel told of the datagram in a slot.
    #[must_use]
    pub fn told(&self, slot: usize) -> Told {
        let len = self.headers[slot].msg_hdr.msg_controllen;
        if len == 0 {
            return Told::default();
        }
        Told::from_bytes(&self.told[slot].0[..len.min(RECEIVE_SPACE)])
    }
}

/// Memory for messages that are to be sent, used again and again.
#[derive(Default)]
pub struct Writer {
    headers: Vec<libc::mmsghdr>,
    pieces: Vec<libc::iovec>,
    asked: Vec<Asked>,
    /// Of each message: its first piece, and what it asks of the kernel, if anything.
    places: Vec<(usize, Option<usize>)>,
}

// SAFETY: between two batches the vectors are never read: `begin` empties them.
unsafe impl Send for Writer {}

// SAFETY: who shares a writer can do nothing with it: all it does takes it exclusively.
unsafe impl Sync for Writer {}

impl Writer {
    /// Begins a batch of messages that live for `'m`.
    pub fn begin<'m>(&mut self) -> Batch<'_, 'm> {
        self.headers.clear();
        self.pieces.clear();
        self.asked.clear();
        self.places.clear();
        Batch { writer: self, messages: PhantomData }
    }
}

/// Messages that are being put together.
pub struct Batch<'w, 'm> {
    writer: &'w mut Writer,
    messages: PhantomData<&'m [u8]>,
}

impl<'w, 'm> Batch<'w, 'm> {
    /// Adds a message: its destination, its bytes, and what it asks of the kernel.
    pub fn push(
        &mut self,
        to: &'m RawAddress,
        pieces: impl Iterator<Item = &'m [u8]>,
        asked: Option<Asked>,
    ) {
        let writer = &mut *self.writer;
        let first = writer.pieces.len();
        writer.pieces.extend(pieces.map(|piece| libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        }));
        let place = asked.map(|asked| {
            writer.asked.push(asked);
            writer.asked.len() - 1
        });
        writer.places.push((first, place));
        writer.headers.push(libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: to.as_ptr().cast_mut().cast(),
                msg_namelen: to.len(),
                msg_iovlen: writer.pieces.len() - first,
                ..EMPTY
            },
            msg_len: 0,
        });
    }

    /// Ends the adding.
    #[must_use]
    pub fn seal(self) -> Sealed<'w, 'm> {
        let writer = self.writer;
        // Only now does nothing move any more.
        for (header, (first, place)) in writer.headers.iter_mut().zip(&writer.places) {
            let header = &mut header.msg_hdr;
            header.msg_iov = writer.pieces[*first..].as_mut_ptr();
            if let Some(place) = place {
                let asked = writer.asked[*place].as_bytes();
                header.msg_control = asked.as_ptr().cast_mut().cast();
                header.msg_controllen = asked.len();
            }
        }
        Sealed { headers: &mut writer.headers, messages: PhantomData }
    }
}

/// Messages that are ready to be sent.
pub struct Sealed<'w, 'm> {
    headers: &'w mut [libc::mmsghdr],
    messages: PhantomData<&'m [u8]>,
}

impl Sealed<'_, '_> {
    /// Sends some of them by a socket, in their order, without waiting. Returns how many of them,
    /// from the first on.
    ///
    /// # Errors
    /// Why the first was not sent.
    pub fn send(&mut self, socket: RawFd, messages: Range<usize>) -> io::Result<usize> {
        let headers = &mut self.headers[messages];
        // SAFETY: `Batch` made each header of a destination and of pieces that are borrowed for
        // longer than `self`, and of memory of the writer, which is borrowed by `self`.
        let result = unsafe {
            libc::sendmmsg(
                socket,
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        checked(result)
    }

    /// A message's header, for other ways to send it; it is good as long as `self`.
    #[must_use]
    pub fn header(&self, message: usize) -> *const libc::msghdr {
        &raw const self.headers[message].msg_hdr
    }
}

/// Sends one message without waiting.
///
/// # Errors
/// Why it was not sent.
pub fn send_one(
    socket: RawFd,
    to: &RawAddress,
    pieces: &[IoSlice<'_>],
    asked: &Asked,
) -> io::Result<()> {
    let control = asked.as_bytes();
    let header = libc::msghdr {
        msg_name: to.as_ptr().cast_mut().cast(),
        msg_namelen: to.len(),
        msg_iov: pieces.as_ptr().cast_mut().cast(),
        msg_iovlen: pieces.len(),
        msg_control: control.as_ptr().cast_mut().cast(),
        msg_controllen: control.len(),
        msg_flags: 0,
    };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the header points to what we borrow, for the call; an IoSlice is an iovec.
    let result = unsafe { libc::sendmsg(socket, &raw const header, flags) };
    usize::try_from(result).map(drop).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        (sender, receiver, to)
    }

    #[test]
    fn messages_of_several_pieces_arrive_in_their_order() {
        let (sender, receiver, address) = pair();
        let to = RawAddress::from(address);
        let mut writer = Writer::default();
        let texts = [["a", "bc"], ["de", ""], ["f", "g"]];
        // Twice, since the memory is used again.
        for _ in 0..2 {
            let mut batch = writer.begin();
            for text in &texts {
                batch.push(&to, text.iter().map(|piece| piece.as_bytes()), None);
            }
            let sent = batch.seal().send(sender.as_raw_fd(), 0..3);
            assert_eq!(sent.unwrap(), 3);
        }
        let mut arena = Arena::new(8);
        let mut reader = Reader::new(&arena, 8);
        let got = reader.receive(receiver.as_raw_fd(), &mut arena, 1..8);
        assert_eq!(got.unwrap(), 6);
        for slot in 1..7 {
            let (len, sender_address) = reader.filled(slot);
            assert_eq!(
                arena.bytes(slot as u32, len as usize),
                texts[(slot - 1) % 3].concat().as_bytes()
            );
            assert_eq!(sender_address.get(), sender.local_addr().ok());
            assert_eq!(reader.told(slot), Told::default());
        }
        let empty = reader.receive(receiver.as_raw_fd(), &mut arena, 0..8);
        assert_eq!(empty.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_run_is_cut_and_one_message_is_sent_alone() {
        let (sender, receiver, address) = pair();
        let to = RawAddress::from(address);
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b"cde")];
        send_one(sender.as_raw_fd(), &to, &pieces, &Asked::nothing().cut(2)).unwrap();
        let mut room = [0; 9];
        for part in [&b"ab"[..], b"cd", b"e"] {
            let len = receiver.recv(&mut room).unwrap();
            assert_eq!(&room[..len], part);
        }
    }

    #[test]
    #[should_panic(expected = "is_lent_by")]
    fn another_arena_is_refused() {
        let mut reader = Reader::new(&Arena::new(1), 1);
        let _ = reader.receive(0, &mut Arena::new(1), 0..1);
    }
}
