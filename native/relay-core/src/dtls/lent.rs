//! What a session reads from and writes to while it is asked to do something.

use std::io::{self, ErrorKind, Read, Write};

/// Memory that a worker lends to the session that it is about: an idle one holds none.
#[derive(Debug, Default)]
pub struct Lent {
    incoming: Vec<u8>,
    is_unread: bool,
    /// Datagrams that are to be sent, one behind the other.
    pub outgoing: Vec<u8>,
    /// Where in them each ends.
    ends: Vec<usize>,
}

impl Lent {
    /// A datagram to be read.
    pub fn feed(&mut self, datagram: &[u8]) {
        self.incoming.clear();
        self.incoming.extend_from_slice(datagram);
        self.is_unread = true;
    }

    /// Each datagram that is to be sent.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let datagram = &self.outgoing[begin..*end];
            begin = *end;
            datagram
        })
    }

    /// Forgets what is to be sent.
    pub fn sent(&mut self) {
        self.outgoing.clear();
        self.ends.clear();
    }
}

/// One datagram a call, the rest of it dropped where it does not fit.
impl Read for Lent {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if !std::mem::take(&mut self.is_unread) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.incoming.len().min(room.len());
        room[..len].copy_from_slice(&self.incoming[..len]);
        Ok(len)
    }
}

/// One datagram a call.
impl Write for Lent {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(datagram);
        self.ends.push(self.outgoing.len());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_read_once_and_never_beyond_the_room() {
        let mut lent = Lent::default();
        let mut room = [0; 3];
        let blocked = |result: io::Result<usize>| result.unwrap_err().kind();
        assert_eq!(blocked(lent.read(&mut room)), ErrorKind::WouldBlock);
        lent.feed(b"abcd");
        lent.feed(b"efgh");
        assert_eq!(lent.read(&mut room).unwrap(), 3);
        assert_eq!(&room, b"efg");
        assert_eq!(blocked(lent.read(&mut room)), ErrorKind::WouldBlock);
        lent.feed(b"");
        assert_eq!(lent.read(&mut room).unwrap(), 0);
    }

    #[test]
    fn datagrams_keep_their_borders() {
        let mut lent = Lent::default();
        for datagram in [b"one".as_slice(), b"", b"three"] {
            assert_eq!(lent.write(datagram).unwrap(), datagram.len());
        }
        lent.flush().unwrap();
        assert_eq!(lent.datagrams().collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
        lent.sent();
        assert_eq!(lent.datagrams().count(), 0);
    }
}
