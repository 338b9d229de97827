//! Bytes that wait for the socket.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

/// Bytes of memory that an empty backlog may keep for the next turn's packets.
pub(super) const KEPT: usize = 4_096;

/// What is to be sent, in order. Who appends minds the bound.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// How many of them the socket has taken; less than half.
    sent: usize,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is appended to. Nothing else may be done with it.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sends what the socket takes by one system call. Returns whether that was all.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn write_to(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(true);
        }
        match uninterrupted(|| socket.write(&self.bytes[self.sent..])) {
            Ok(taken) => self.sent += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.is_empty() {
            self.sent = 0;
            clear(&mut self.bytes);
            return Ok(true);
        }
        if self.sent >= self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(false)
    }
}

/// Empties a buffer, and gives its memory back when it has grown large.
pub(super) fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
}

/// Calls again what a signal has interrupted.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
