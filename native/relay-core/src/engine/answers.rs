//! Answers by UDP, which the engine's caller sends itself: those to a batch of requests together.
//!
//! One after the other in the kernel they cost a third of what they do between two requests.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use crate::address::RawAddress;
use crate::counters::{Drop, Drops};
use crate::leg::Leg;
use crate::sys::batch::Writer;
use crate::sys::control::Asked;

/// Answers that wait at most; then they are sent.
const MOST: usize = 64;

#[derive(Debug)]
struct Answer {
    socket: Arc<OwnedFd>,
    to: RawAddress,
    /// Which address of ours it leaves from, where the socket is bound to all of them.
    from: Option<IpAddr>,
    data: Range<usize>,
}

/// Answers that wait to be sent.
#[derive(Default)]
pub(super) struct Answers {
    waiting: Vec<Answer>,
    bytes: Vec<u8>,
    writer: Writer,
}

impl Answers {
    /// Takes one more, to the leg's client; says whether it is time to send.
    pub(super) fn add(
        &mut self,
        socket: &Arc<OwnedFd>,
        leg: &Leg,
        from: Option<IpAddr>,
        data: &[u8],
    ) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        let data = start..self.bytes.len();
        let (socket, to) = (socket.clone(), RawAddress::from(leg.sender()));
        self.waiting.push(Answer { socket, to, from, data });
        self.waiting.len() == MOST
    }

    /// Sends all. What the kernel does not take now is lost, and counted.
    pub(super) fn send(&mut self, drops: &Drops) {
        let mut batch = self.writer.begin();
        for Answer { to, from, data, .. } in &self.waiting {
            let asked = from.map(|host| Asked::nothing().leave_from(host, to));
            batch.push(to, std::iter::once(&self.bytes[data.clone()]), asked);
        }
        let mut sealed = batch.seal();
        let mut first = 0;
        for run in self.waiting.chunk_by(|one, other| Arc::ptr_eq(&one.socket, &other.socket)) {
            let end = first + run.len();
            while first < end {
                first += match sealed.send(run[0].socket.as_raw_fd(), first..end) {
                    Ok(sent) => sent.max(1),
                    Err(error) => {
                        drops.add(Drop::of_errno(error.raw_os_error().unwrap_or(0)), 1);
                        1
                    }
                };
            }
        }
        self.waiting.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use super::*;
    use crate::leg::Transport;

    fn to(client: SocketAddr) -> Leg {
        let local = "127.0.0.1:1".parse().unwrap();
        Leg { listener: 1, transport: Transport::Udp, local, client, stream: 0, via: None }
    }

    fn socket(address: &str) -> Arc<OwnedFd> {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Arc::new(socket.into())
    }

    #[test]
    fn they_leave_by_their_sockets_in_their_order() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let leg = to(client.local_addr().unwrap());
        let (one, all) = (socket("127.0.0.1:0"), socket("0.0.0.0:0"));
        let mut answers = Answers::default();
        let drops = Drops::default();
        let sent: [(&_, &str, &[u8]); 4] = [
            (&one, "127.0.0.1", b"a"),
            (&one, "127.0.0.1", b"bc"),
            (&all, "127.0.0.7", b""),
            (&one, "127.0.0.1", b"d"),
        ];
        for _ in 0..2 {
            for (socket, host, data) in sent {
                let from = Arc::ptr_eq(socket, &all).then(|| host.parse().unwrap());
                assert!(!answers.add(socket, &leg, from, data));
            }
            answers.send(&drops);
            for (_, host, data) in sent {
                let mut room = [0; 9];
                let (len, sender) = client.recv_from(&mut room).unwrap();
                assert_eq!((&room[..len], sender.ip().to_string().as_str()), (data, host));
            }
        }
        assert_eq!(drops.get().iter().sum::<u64>(), 0);
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_keeps_nothing_back() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (here, socket) = (to(client.local_addr().unwrap()), socket("127.0.0.1:0"));
        let mut answers = Answers::default();
        let drops = Drops::default();
        answers.add(&socket, &here, None, &[1; 65_508]);
        answers.add(&socket, &here, None, b"a");
        answers.send(&drops);
        assert_eq!(client.recv(&mut [0; 9]).unwrap(), 1);
        assert_eq!(drops.get().iter().sum::<u64>(), 1);
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (here, socket) = (to(client.local_addr().unwrap()), socket("127.0.0.1:0"));
        let mut answers = Answers::default();
        let full = (1..).find(|_| answers.add(&socket, &here, None, b"a"));
        assert_eq!(full, Some(MOST));
        answers.send(&Drops::default());
        assert!(!answers.add(&socket, &here, None, b"a"));
    }
}
