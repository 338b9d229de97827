//! From peers to clients that came by a stream.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::*;
use crate::stream::{Flush, Stream, StreamSettings};
use crate::sys::errors::Icmp;

/// A bench whose client has a stream with that much room, and the client's end of it.
fn bench(backlog: usize) -> (Bench, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).unwrap();
    }
    let settings = StreamSettings { backlog, handshake_timeout: SECOND, frame_timeout: SECOND };
    let ours = TcpStream::from(OwnedFd::from(ours));
    let stream = Stream::tcp(ours, &settings, b"");
    let bench = Bench::with(|forwarder| {
        let place = forwarder.connections.add(|place, generation| Connection {
            handed_up: Default::default(),
            leg: leg(),
            token: Token::stream(place, generation),
            stream,
            fields: Fields::default(),
            client: None,
            ledger: 0,
            unflushed: false,
            unread: false,
            waits: false,
            spliced: None,
        });
        (Way::Stream(place), false)
    });
    (bench, theirs)
}

fn leg() -> Leg {
    let (local, client) = (at("203.0.113.1:3478"), at(Bench::CLIENT));
    Leg { listener: 7, transport: Transport::Tcp, local, client, stream: 3, via: None }
}

fn arrived(mut stream: &UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 200_000];
    let read = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

fn flush(bench: &mut Bench) {
    while let Some(place) = bench.forwarder.unflushed.pop() {
        let connection = bench.forwarder.connections.get_mut(place).unwrap();
        connection.unflushed = false;
        assert_eq!(connection.stream.flush(), Flush::Done);
    }
}

#[test]
fn frames_are_padded_and_flushed_once_a_turn() {
    let (mut bench, client) = bench(1 << 16);
    bench.down(PEER, b"aaabb", 3, NOW);
    bench.down(OTHER, b"hello", 5, NOW);
    assert_eq!(bench.forwarder.unflushed.len(), 1);
    assert!(bench.forwarder.outbox.is_empty());
    flush(&mut bench);
    let bytes = arrived(&client);
    assert_eq!(bytes[..8], *b"\x40\x01\0\x03aaa\0");
    assert_eq!(bytes[8..16], *b"\x40\x01\0\x02bb\0\0");
    assert_eq!(bytes[16..18], [0, 0x17]);
    assert_eq!(bytes[bytes.len() - 8..], *b"hello\0\0\0");
    let traffic = bench.shared.traffic.get();
    assert_eq!((traffic.packets_down, traffic.bytes_down), (3, 10));
    assert_eq!(bench.forwarder.ledgers[0].get(), traffic);
}

#[test]
fn a_slow_client_loses_its_newest_media() {
    let (mut bench, client) = bench(1 << 16);
    let large = vec![7; 30_000];
    while bench.drops().0.is_empty() {
        bench.down(PEER, &large, large.len(), NOW);
    }
    bench.expect_drop(Drop::QueueFull, 1);
    let first = arrived(&client);
    assert_eq!(first[..4], [0x40, 1, 0x75, 0x30]);
}

#[test]
fn header_fields_are_lost_on_the_way_to_a_stream() {
    let (mut bench, theirs) = bench(1_000);
    bench.fields = Fields { hops: 1, class: 0xB8 };
    bench.down(PEER, b"hi", 2, NOW);
    flush(&mut bench);
    assert_eq!(
        arrived(&theirs),
        channel_data(CHANNEL, b"hi\0\0")[..2]
            .iter()
            .chain(b"\0\x02hi\0\0")
            .copied()
            .collect::<Vec<u8>>()
    );
}

#[test]
fn an_icmp_error_comes_by_the_stream_too() {
    let (mut bench, client) = bench(1 << 16);
    let icmp = Icmp { target: at(PEER), kind: 3, code: 1, mtu: 0 };
    bench.forwarder.icmp_from_peer(bench.token, &icmp, NOW);
    flush(&mut bench);
    assert_eq!(arrived(&client)[..2], [0, 0x17]);
    assert_eq!(bench.shared.traffic.get(), Default::default());
}
