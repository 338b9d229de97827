//! The connection itself: what is asked of the kernel at its begin and at its end.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::backlog::Backlog;

/// Dead connections end in about two minutes instead of never; living ones notice nothing.
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(20);
const PROBES: u32 = 3;

/// Less than this is never asked to be held back.
const LEAST_UNSENT: usize = 16_384;

/// Sets the socket up. `backlog`: bytes that we keep for a slow client ourselves.
pub(super) fn tune(socket: &TcpStream, backlog: usize) {
    // What refuses has no such options, or its client is gone already: the first read tells.
    let _ = try_tune(SockRef::from(socket), backlog);
}

fn try_tune(socket: SockRef<'_>, backlog: usize) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_nodelay(true)?;
    // What the kernel holds back for a slow client is late media: it gets no more than we keep.
    let unsent = backlog.clamp(LEAST_UNSENT, i32::MAX as usize);
    socket.set_tcp_notsent_lowat(unsent as u32)
}

/// Sends what the socket still takes and says that nothing more comes.
pub(super) fn part(mut socket: &TcpStream, backlog: &mut Backlog) {
    if backlog.write_to(socket).is_err() || socket.shutdown(Shutdown::Write).is_err() {
        return; // it is gone already
    }
    // Closing with unread bytes would reset the connection and take our last answer along.
    let mut unread = [0; 16_384];
    for _ in 0..4 {
        match socket.read(&mut unread) {
            Ok(read) if read == unread.len() => {}
            Ok(_) | Err(_) => return,
        }
    }
}
