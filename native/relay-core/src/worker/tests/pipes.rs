//! Streams that become pipes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use super::streams::leg;
use super::*;
use crate::leg::CloseReason;
use crate::orders::Splicing;
use crate::rules::bucket::{Bucket, Purse};
use crate::rules::protection::Protection;

const BIND: [u8; 20] = *b"\0\x0B\0\0\x21\x12\xa4\x42abcdefghijkl";
const BOUND: [u8; 20] = *b"\x01\x0B\0\0\x21\x12\xa4\x42abcdefghijkl";
const REFUSED: [u8; 20] = *b"\x01\x1B\0\0\x21\x12\xa4\x42abcdefghijkl";
const OTHER: [u8; 20] = *b"\x01\x14\0\0\x21\x12\xa4\x42abcdefghijkl";

fn splicing(peer: OwnedFd, purses: Vec<Purse>) -> Order {
    Order::Splice(Box::new(Splicing { stream: 5, peer, answer: BOUND.into(), purses }))
}

/// A worker with stream 5 at place 0, whose ConnectionBind waits.
fn held(more: &[u8]) -> (Worker<Played>, UnixStream) {
    let mut worker = workers(1).remove(0);
    let mut client = worker.give_stream(leg(5, Transport::Tcp), None, b"");
    worker.arrive(&[]);
    worker.events();
    client.write_all(&[&BIND[..], more].concat()).unwrap();
    worker.tell(&[0], vec![]);
    let messages = worker.events();
    assert!(matches!(&messages[..], [Event::Message { data, .. }] if **data == BIND));
    worker.driver.log.clear();
    (worker, client)
}

fn read(mut socket: impl Read) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let length = socket.read(&mut bytes).unwrap_or_default();
    bytes.truncate(length);
    bytes
}

#[test]
fn a_stream_and_a_peer_become_one() {
    let (mut worker, mut client) = held(b"\xFF early");
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"down").unwrap();
    worker.give(splicing(ours.into(), Vec::new()));
    worker.arrive(&[]);
    assert_eq!(read(&client), [&BOUND[..], b"down"].concat());
    assert_eq!(read(&peer), b"\xFF early");
    let log = ["receive None", "unwatch Stream 0", "watch Stream 0", "watch Peer 0"];
    assert_eq!(worker.driver.log, log);
    client.write_all(b"up").unwrap();
    worker.tell(&[0], vec![]);
    assert_eq!(read(&peer), b"up");
    peer.write_all(b"more").unwrap();
    let socket = worker.forwarder.connections.get(0).unwrap().token.of_peer();
    let ready = Ready { socket, readable: true, writable: false, error: false };
    worker.driver.coming.push_back((vec![], vec![ready]));
    worker.turn().unwrap();
    assert_eq!(read(&client), b"more");
    let totals = worker.forwarder.ledgers[0].get();
    assert_eq!((totals.bytes_up, totals.bytes_down), (9, 8));
    worker.give(Order::Answer(5, OTHER.into()));
    drop(peer);
    drop(client);
    worker.tell(&[0], vec![]);
    assert_eq!(worker.ends(), [(5, CloseReason::Client)]);
    assert!(worker.driver.log.ends_with(&["unwatch Peer 0".into()]));
}

#[test]
fn a_refusal_lets_the_stream_go_on_and_nothing_else_does() {
    let (mut worker, client) = held(&BIND);
    worker.give(Order::Answer(5, OTHER.into()));
    worker.tell(&[0], vec![]);
    assert!(worker.events().is_empty());
    worker.give(Order::Answer(5, REFUSED.into()));
    worker.arrive(&[]);
    assert_eq!(worker.events().len(), 1);
    assert_eq!(read(&client), [OTHER, REFUSED].concat());
}

#[test]
fn a_held_stream_ends_when_it_fails_or_takes_too_long() {
    let (mut worker, _client) = held(b"");
    let socket = worker.forwarder.connections.get(0).unwrap().token;
    let ready = Ready { socket, readable: true, writable: false, error: true };
    worker.driver.coming.push_back((vec![], vec![ready]));
    worker.turn().unwrap();
    assert_eq!(worker.ends(), [(5, CloseReason::Client)]);
    let (mut worker, _client) = held(b"");
    worker.shared.clock.set(NOW + 10 * SECOND);
    worker.give(Order::Tick);
    worker.arrive(&[]);
    assert_eq!(worker.ends(), [(5, CloseReason::FrameTimeout)]);
}

#[test]
fn a_protected_endpoint_gets_no_byte() {
    let (mut worker, _client) = held(b"secret");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ours = TcpStream::connect(address).unwrap();
    worker.give(Order::Protect(Arc::new(Protection::new(&[address], &[]))));
    worker.give(splicing(ours.into(), Vec::new()));
    worker.arrive(&[]);
    assert_eq!(worker.ends(), [(5, CloseReason::Server)]);
    assert_eq!(read(listener.accept().unwrap().0), b"");
}

#[test]
fn without_room_the_worker_looks_again_in_a_while() {
    let bucket = Arc::new(Bucket::default());
    bucket.set(8_000, NOW);
    let (mut worker, mut client) = held(b"");
    let (ours, peer) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    worker.give(splicing(ours.into(), vec![Purse::new(bucket)]));
    worker.arrive(&[]);
    client.write_all(&vec![7; 80 << 10]).unwrap();
    worker.tell(&[0], vec![]);
    let first = read(&peer).len();
    assert!((48 << 10..=64 << 10).contains(&first), "{first}");
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log[0], "receive Some(10ms)");
    worker.shared.clock.set(NOW + 60 * SECOND);
    worker.arrive(&[]);
    assert_eq!(read(&peer).len(), (80 << 10) - first);
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log[0], "receive None");
}

#[test]
fn a_side_that_is_silent_after_the_others_end_is_ended() {
    let (mut worker, _client) = held(b"");
    let (ours, peer) = UnixStream::pair().unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    worker.give(splicing(ours.into(), Vec::new()));
    worker.arrive(&[]);
    worker.give(Order::Tick);
    worker.arrive(&[]);
    assert!(worker.ends().is_empty());
    worker.shared.clock.set(NOW + 30 * SECOND);
    worker.give(Order::Tick);
    worker.arrive(&[]);
    assert_eq!(worker.ends(), [(5, CloseReason::Peer)]);
}

#[test]
fn a_stream_that_has_ended_takes_the_socket_along() {
    let (mut worker, client) = held(b"");
    let (ours, mut peer) = UnixStream::pair().unwrap();
    worker.give(Order::CloseLeg(5, CloseReason::Server));
    worker.give(splicing(ours.into(), Vec::new()));
    worker.arrive(&[]);
    assert_eq!(worker.ends(), [(5, CloseReason::Server)]);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    drop(client);
}
