//! Streams over socket pairs, with time moved by hand. A pair's bytes are there as soon as they
//! have been written, so that nothing is waited for.
//!
//! The key pairs in `pem` are for these tests alone; each holds its key as another form of PEM.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::io::arena::SLOT_SIZE;
use crate::time::SECOND;

mod certificates;
mod pipe;
mod tcp;
mod tls;
mod tls_client;

/// A Binding request without attributes.
const BINDING: [u8; 20] = *b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
const ANSWER: [u8; 20] = *b"\x01\x01\0\0\x21\x12\xa4\x42abcdefghijkl";

const SETTINGS: StreamSettings =
    StreamSettings { backlog: 32 << 10, handshake_timeout: 3 * SECOND, frame_timeout: 7 * SECOND };

/// ChannelData, not padded.
fn channel_data(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x40, 0];
    frame.extend_from_slice(&(data.len() as u16).to_be_bytes());
    frame.extend_from_slice(data);
    frame
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut frame = channel_data(data);
    frame.resize(frame.len().next_multiple_of(4), 0);
    frame
}

/// Two ends of one connection, neither of which blocks.
fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (OwnedFd::from(one).into(), OwnedFd::from(other).into())
}

/// What can be read now, to the connection's end if `end` is to be there.
fn received(mut socket: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

fn has_ended(mut socket: &TcpStream) -> bool {
    matches!(socket.read(&mut [0]), Ok(0))
}

/// A stream and what a worker has of it.
struct Worker {
    stream: Stream,
    now: Nanos,
    frames: Vec<Vec<u8>>,
    opened: usize,
    server_name: Option<Box<str>>,
    end: Option<CloseReason>,
    slot: Vec<u8>,
    scratch: Scratch,
}

impl Worker {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            now: 0,
            frames: Vec::new(),
            opened: 0,
            server_name: None,
            end: None,
            slot: vec![0; SLOT_SIZE],
            scratch: Scratch::default(),
        }
    }

    /// A turn of the worker, in which the socket is ready.
    fn turn(&mut self) {
        while self.end.is_none() {
            let progress = self.stream.readable(&mut self.slot, &mut self.scratch);
            if progress.opened {
                self.opened += 1;
                self.server_name = self.stream.take_server_name();
            }
            let filled = &self.slot[..progress.filled];
            let mut at = 0;
            loop {
                match self.stream.next_frame(filled, &mut at) {
                    Ok(Some(frame)) => self.frames.push(filled[frame].to_vec()),
                    Ok(None) => break,
                    Err(LostBorders) => {
                        self.end = Some(CloseReason::Garbage);
                        self.stream.farewell();
                        return;
                    }
                }
            }
            self.stream.keep_rest(filled, at, self.now);
            self.end = progress.end;
            if progress.flush && self.stream.flush() == Flush::Failed {
                self.end = Some(CloseReason::Client);
            }
            if !progress.more {
                break;
            }
        }
        if self.end.is_some() {
            self.stream.farewell();
        }
    }

    /// Reads have brought few messages.
    fn is_hungry(&mut self) {
        for _ in 0..8 {
            self.stream.learn(1);
        }
    }

    /// Takes out the messages that a read has brought; how many.
    fn take_out(&mut self, filled: usize) -> usize {
        let filled = &self.slot[..filled];
        let (mut at, mut messages) = (0, 0);
        while self.stream.next_frame(filled, &mut at).unwrap().is_some() {
            messages += 1;
        }
        self.stream.keep_rest(filled, at, self.now);
        self.stream.learn(messages);
        messages
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        self.turn();
        std::mem::take(&mut self.frames)
    }
}

fn send(mut socket: &TcpStream, bytes: &[u8]) {
    socket.write_all(bytes).unwrap();
}
