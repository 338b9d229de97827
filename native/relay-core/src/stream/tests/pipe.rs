//! Pipes between a stream and a peer's socket.

use super::*;
use crate::rules::bucket::{Bucket, Purse};
use crate::stream::pipe::{Moved, Pipe, Wants};

const BIND: [u8; 20] = *b"\0\x0B\0\0\x21\x12\xa4\x42abcdefghijkl";
const BOUND: [u8; 20] = *b"\x01\x0B\0\0\x21\x12\xa4\x42abcdefghijkl";
const READS: Wants = Wants { read: true, write: false };

struct Both {
    worker: Worker,
    pipe: Pipe,
    client: TcpStream,
    peer: TcpStream,
}

impl Both {
    /// A pipe whose client has been told so.
    fn new(purses: Vec<Purse>) -> Self {
        let ((ours, client), (theirs, peer)) = (pair(), pair());
        let mut worker = Worker::new(Stream::tcp(ours, &SETTINGS, b""));
        worker.turn();
        worker.stream.splice(&BOUND);
        let mut both = Self { worker, pipe: Pipe::new(theirs, purses, 0), client, peer };
        both.run(0);
        assert_eq!(received(&both.client), BOUND);
        both
    }

    fn run(&mut self, now: Nanos) -> [Moved; 2] {
        let Worker { stream, slot, scratch, .. } = &mut self.worker;
        self.pipe.run(stream, slot, scratch, now)
    }

    fn wants(&self) -> [Wants; 2] {
        self.pipe.wants(&self.worker.stream)
    }

    fn over(&self) -> Option<CloseReason> {
        self.pipe.over(&self.worker.stream)
    }
}

/// Sends until nothing more is taken; how much was.
fn fill(mut socket: &TcpStream) -> usize {
    let mut sent = 0;
    while let Ok(taken) = socket.write(&[7; 16 << 10]) {
        sent += taken;
    }
    sent
}

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let mut both = Both::new(Vec::new());
    send(&both.client, b"\xFF up");
    send(&both.peer, &BINDING);
    let moved = both.run(1);
    assert_eq!(moved, [Moved { pieces: 1, bytes: 4 }, Moved { pieces: 1, bytes: 20 }]);
    assert_eq!(
        (received(&both.peer), received(&both.client)),
        (b"\xFF up".to_vec(), BINDING.to_vec())
    );
    assert_eq!(both.run(2), [Moved::default(); 2]);
    assert_eq!(both.wants(), [READS; 2]);
}

#[test]
fn a_held_stream_gives_out_nothing_more_until_it_resumes() {
    let (ours, client) = pair();
    let mut worker = Worker::new(Stream::tcp(ours, &SETTINGS, b""));
    send(&client, &[&BIND[..], &BINDING, &BINDING[..5]].concat());
    assert_eq!(worker.frames(), [BIND]);
    assert!(worker.stream.is_held());
    assert_eq!(worker.stream.overdue(7 * SECOND), Some(CloseReason::FrameTimeout));
    worker.stream.resume();
    send(&client, &BINDING[5..]);
    assert_eq!(worker.frames(), [BINDING; 2]);
}

#[test]
fn what_followed_the_request_is_the_peers() {
    let ((ours, client), (theirs, peer)) = (pair(), pair());
    let mut worker = Worker::new(Stream::tcp(ours, &SETTINGS, b""));
    send(&client, &[&BIND[..], b"\xFF early"].concat());
    assert_eq!(worker.frames(), [BIND]);
    worker.stream.splice(&BOUND);
    let mut both = Both { worker, pipe: Pipe::new(theirs, Vec::new(), 0), client, peer };
    send(&both.peer, b"early, too");
    both.run(0);
    assert_eq!(received(&both.client), [&BOUND[..], b"early, too"].concat());
    assert_eq!(received(&both.peer), b"\xFF early");
}

#[test]
fn who_takes_nothing_stops_who_sends() {
    for upward in [true, false] {
        let mut both = Both::new(Vec::new());
        let mut sent = 0;
        loop {
            sent += fill(if upward { &both.client } else { &both.peer });
            both.run(0);
            if both.wants()[usize::from(!upward)] == Wants::default() {
                break;
            }
        }
        assert_eq!(both.wants()[usize::from(upward)], Wants { read: true, write: true });
        let mut got = 0;
        while got < sent {
            got += received(if upward { &both.peer } else { &both.client }).len();
            both.run(0);
        }
        assert_eq!((got, both.wants()), (sent, [READS; 2]));
    }
}

#[test]
fn without_room_it_waits_and_drops_nothing() {
    let bucket = Arc::new(Bucket::default());
    bucket.set(8_000, 0);
    let mut both = Both::new(vec![Purse::new(bucket)]);
    let sent = 5 * (16 << 10);
    send(&both.client, &vec![7; sent]);
    both.run(SECOND);
    let first = received(&both.peer).len();
    assert!((48 << 10..=64 << 10).contains(&first), "{first}");
    assert!(both.pipe.is_held_up());
    assert_eq!(both.wants(), [Wants::default(), READS]);
    both.run(60 * SECOND);
    assert_eq!(received(&both.peer).len(), sent - first);
    assert!(!both.pipe.is_held_up());
}

#[test]
fn each_side_ends_for_itself() {
    let mut both = Both::new(Vec::new());
    send(&both.client, b"last");
    both.client.shutdown(std::net::Shutdown::Write).unwrap();
    both.run(0);
    assert_eq!(received(&both.peer), b"last");
    assert!(has_ended(&both.peer));
    assert_eq!((both.over(), both.wants()), (None, [Wants::default(), READS]));
    send(&both.peer, b"reply");
    both.peer.shutdown(std::net::Shutdown::Write).unwrap();
    both.run(0);
    assert_eq!(received(&both.client), b"reply");
    assert_eq!(both.over(), Some(CloseReason::Client));
}

#[test]
fn an_end_comes_behind_what_was_sent_before_it() {
    let mut both = Both::new(Vec::new());
    let mut sent = 0;
    while both.wants()[1].read {
        sent += fill(&both.peer);
        both.run(0);
    }
    both.peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = 0;
    while got < sent {
        got += received(&both.client).len();
        both.run(0);
    }
    both.run(0);
    assert!(has_ended(&both.client));
    assert_eq!(got, sent);
    both.client.shutdown(std::net::Shutdown::Write).unwrap();
    both.run(0);
    assert_eq!(both.over(), Some(CloseReason::Peer));
}

#[test]
fn who_is_gone_gets_nothing_and_the_other_hears_of_it() {
    let both = Both::new(Vec::new());
    fill(&both.peer);
    let Both { worker, mut pipe, client, peer } = both;
    drop(client);
    let mut worker = worker;
    for _ in 0..3 {
        pipe.run(&mut worker.stream, &mut worker.slot, &mut worker.scratch, 0);
    }
    assert_eq!(pipe.over(&worker.stream), Some(CloseReason::Client));
    assert!(has_ended(&peer));
}

#[test]
fn silence_after_an_end_has_a_limit() {
    let mut both = Both::new(Vec::new());
    assert_eq!(both.pipe.overdue(Nanos::MAX), None);
    both.peer.shutdown(std::net::Shutdown::Write).unwrap();
    both.run(100 * SECOND);
    assert_eq!(both.pipe.overdue(129 * SECOND), None);
    send(&both.client, b"still there");
    both.run(120 * SECOND);
    assert_eq!(both.pipe.overdue(149 * SECOND), None);
    assert_eq!(both.pipe.overdue(150 * SECOND), Some(CloseReason::Peer));
    both.pipe.farewell();
    assert_eq!(received(&both.peer), b"still there");
}
