//! Connections.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::leg::CloseReason;
use crate::orders::Adoption;
use crate::stream::StreamSettings;
use crate::stream::tls::{Identity, TlsConfig, server_config};
use crate::wire::message::BINDING_REQUEST;
use crate::wire::sample;
use crate::worker::streams::{EFFORT, HANDSHAKES};

pub(super) fn leg(stream: u64, transport: Transport) -> Leg {
    Leg { transport, stream, ..udp_leg(at("192.0.2.9:4000")) }
}

fn tls() -> Option<Arc<TlsConfig>> {
    let certificate_pem = include_bytes!("../../stream/tests/pem/first.pem").to_vec();
    let key_pem = include_bytes!("../../stream/tests/pem/first.key").to_vec();
    Some(server_config(&[Identity { names: Vec::new(), certificate_pem, key_pem }]).unwrap())
}

impl Worker<Played> {
    /// Orders for a stream; returns the client's end.
    pub(super) fn give_stream(
        &self,
        leg: Leg,
        tls: Option<Arc<TlsConfig>>,
        first: &[u8],
    ) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let settings = StreamSettings {
            backlog: 1 << 20,
            handshake_timeout: 10 * SECOND,
            frame_timeout: 10 * SECOND,
        };
        let (socket, first_bytes, ledger, since) = (ours.into(), first.to_vec(), 0, NOW);
        let handed_up = HandedUp::default();
        let adoption =
            Adoption { socket, leg, settings, tls, since, first_bytes, ledger, handed_up };
        self.give(Order::Adopt(Box::new(adoption)));
        theirs
    }

    /// A turn in which these streams are ready, and these datagrams arrive.
    pub(super) fn tell(&mut self, places: &[u32], datagrams: Vec<Coming>) {
        let ready = places.iter().filter_map(|place| {
            let socket = self.forwarder.connections.get(*place)?.token;
            Some(Ready { socket, readable: true, writable: false, error: false })
        });
        let ready = ready.collect();
        self.driver.coming.push_back((datagrams, ready));
        self.turn().unwrap();
    }

    /// Why streams have ended since it was last asked.
    pub(super) fn ends(&self) -> Vec<(u64, CloseReason)> {
        let end = |event| match event {
            Event::Closed(leg, reason) => Some((leg.stream, reason)),
            Event::Opened(..) | Event::Message { .. } | Event::MediaWaiting(_) => None,
        };
        self.events().into_iter().filter_map(end).collect()
    }
}

/// A worker with stream 5 at place 0, whose relay is 2.
fn call() -> (Worker<Played>, UnixStream, Arc<RelayShared>) {
    let mut worker = workers(1).remove(0);
    let leg = leg(5, Transport::Tcp);
    let client = worker.give_stream(leg, None, b"");
    let relay = worker.give_relay_to(2, leg);
    worker.arrive(&[]);
    assert_eq!(worker.events(), [Event::Opened(leg, None)]);
    worker.driver.log.clear();
    (worker, client, relay)
}

#[test]
fn frames_before_garbage_are_sent_before_the_end() {
    let (mut worker, mut client, relay) = call();
    client.write_all(&channel_data(CHANNEL, b"last")).unwrap();
    client.write_all(b"\xFF\xFF no frame begins so").unwrap();
    worker.tell(&[0], vec![]);
    assert_eq!(worker.driver.left, [(at(PEER), b"last".to_vec())]);
    assert_eq!(worker.driver.log, ["receive None", "send 1", "unwatch Stream 0"]);
    assert_eq!(worker.ends(), [(5, CloseReason::Garbage)]);
    assert_eq!(relay.traffic.get().packets_up, 1);
}

#[test]
fn a_stream_that_fails_while_its_packets_wait_loses_none_of_them() {
    let (mut worker, mut client, _) = call();
    client.write_all(&channel_data(CHANNEL, b"last")).unwrap();
    drop(client);
    let token = worker.relay(2);
    worker.tell(&[0], vec![(token, at(PEER), b"down".to_vec(), 4)]);
    // The write has failed, and the relay still had a packet to send.
    assert_eq!(worker.driver.left, [(at(PEER), b"last".to_vec())]);
    assert_eq!(worker.ends(), [(5, CloseReason::Client)]);
    assert_eq!(worker.forwarder.ledgers[0].get().packets_up, 1);
}

#[test]
fn an_end_is_told_once_whoever_brought_it() {
    let (mut worker, client, _) = call();
    worker.give(Order::CloseLeg(5, CloseReason::Unauthenticated));
    worker.give(Order::CloseLeg(5, CloseReason::Server));
    worker.give(Order::Answer(5, b"too late".as_slice().into()));
    worker.tell(&[0], vec![]);
    drop(client);
    worker.tell(&[0], vec![]);
    worker.give(Order::Stop);
    worker.tell(&[], vec![]);
    assert_eq!(worker.ends(), [(5, CloseReason::Unauthenticated)]);
}

#[test]
fn all_streams_end_with_their_worker() {
    let (mut worker, _client, _) = call();
    worker.give(Order::Stop);
    worker.tell(&[], vec![]);
    assert!(worker.stopped);
    assert_eq!(worker.ends(), [(5, CloseReason::Server)]);
}

#[test]
fn relays_outlive_their_stream_with_their_rules_until_they_are_closed_or_handed_over() {
    let (mut worker, _client, _) = call();
    worker.give(Order::CloseLeg(5, CloseReason::Server));
    worker.give_relay_to(3, leg(5, Transport::Tcp));
    worker.arrive(&[]);
    for id in [2, 3] {
        let relay = worker.relay(id);
        worker.arrive(&[(relay, at(PEER), b"nobody")]);
    }
    assert_eq!(worker.drops(Drop::NoClient), 2);
    worker.forwarder.table.audit().unwrap();
    worker.give(Order::Close(3));
    let client = at("192.0.2.9:4000");
    worker.give(Order::HandOver(vec![orders::Coming::Here(2)], address(udp_leg(client))));
    worker.arrive(&[]);
    worker.forwarder.table.audit().unwrap();
    assert_eq!(worker.forwarder.table.relays.len(), 1);
    let relay = worker.relay(2);
    worker.arrive(&[(relay, at(PEER), b"down"), (LISTENER, client, &channel_data(CHANNEL, b"up"))]);
    let both = [(client, channel_data(CHANNEL, b"down")), (at(PEER), b"up".to_vec())];
    assert_eq!(worker.driver.left, both);
}

#[test]
fn a_slot_full_of_frames_is_sent_in_parts() {
    let (mut worker, mut client, _) = call();
    let frames: Vec<u8> = (0..2_000u32)
        .flat_map(|number| channel_data(CHANNEL, &vec![7; 4 * (1 + number as usize % 8)]))
        .collect();
    client.set_nonblocking(true).unwrap();
    let written = client.write(&frames).unwrap();
    assert_eq!(written, frames.len());
    worker.tell(&[0], vec![]);
    while worker.driver.left.len() < 2_000 {
        worker.tell(&[0], vec![]);
    }
    let lengths = worker.driver.left.iter().map(|(_, data)| data.len());
    assert!(lengths.eq((0..2_000).map(|number| 4 * (1 + number % 8))));
}

#[test]
fn a_turn_makes_few_handshakes_and_every_stream_has_its_turn() {
    let mut worker = workers(1).remove(0);
    let clients: Vec<UnixStream> = (1..=10)
        .map(|stream| {
            let mut client = worker.give_stream(leg(stream, Transport::Tls), tls(), b"");
            client.write_all(b"no hello of TLS").unwrap();
            client
        })
        .collect();
    worker.arrive(&[]);
    let all: Vec<u32> = (0..10).collect();
    for left in [6, 2, 0] {
        worker.tell(&all, vec![]);
        let failed = worker.ends();
        assert!(failed.iter().all(|(_, reason)| *reason == CloseReason::HandshakeFailed));
        assert_eq!(worker.forwarder.connections.len(), left);
    }
    drop(clients);
}

#[test]
fn handshakes_that_go_on_and_on_let_others_in() {
    let mut worker = workers(1).remove(0);
    let mut slow: Vec<UnixStream> = (1..=HANDSHAKES as u64)
        .map(|stream| worker.give_stream(leg(stream, Transport::Tls), tls(), b""))
        .collect();
    let mut other = worker.give_stream(leg(99, Transport::Tls), tls(), b"");
    other.write_all(b"no hello of TLS").unwrap();
    worker.arrive(&[]);
    let all: Vec<u32> = (0..=HANDSHAKES).collect();
    // A record of a hello, of which a byte comes each turn.
    for byte in [22, 3, 1, 1, 0, 1, 0, 0] {
        for client in &mut slow {
            client.write_all(&[byte]).unwrap();
        }
        worker.tell(&all, vec![]);
    }
    assert_eq!(worker.ends(), [(99, CloseReason::HandshakeFailed)]);
}

#[test]
fn handshakes_that_go_on_are_not_kept_waiting_by_those_that_begin() {
    let mut worker = workers(1).remove(0);
    let mut other = worker.give_stream(leg(99, Transport::Tls), tls(), b"");
    worker.arrive(&[]);
    other.write_all(b"no hello of TLS").unwrap();
    let mut clients = Vec::new();
    for number in 0..8 {
        for each in 1..=2 * HANDSHAKES as u64 {
            let leg = leg(100 * number + each, Transport::Tls);
            clients.push(worker.give_stream(leg, tls(), b"no hello of TLS"));
        }
        worker.tell(&[0], vec![]);
    }
    assert!(worker.ends().contains(&(99, CloseReason::HandshakeFailed)));
}

#[test]
fn who_says_much_at_once_is_heard_in_parts_and_keeps_nobody_waiting() {
    let mut worker = workers(1).remove(0);
    let request = sample::message(BINDING_REQUEST, &[]);
    let mut clients: Vec<UnixStream> =
        (1..=20).map(|stream| worker.give_stream(leg(stream, Transport::Tcp), None, b"")).collect();
    worker.arrive(&[]);
    for client in &mut clients {
        client.write_all(&request.repeat(2_000)).unwrap();
    }
    let all: Vec<u32> = (0..20).collect();
    let (mut handled, mut turns) = (0, 0);
    while handled < 20 * 2_000 {
        worker.tell(&all, vec![]);
        let now = worker.station.counters.bindings.get();
        assert!(now - handled <= EFFORT as u64 + 256, "{}", now - handled);
        assert!(now > handled);
        (handled, turns) = (now, turns + 1);
        if turns == 14 {
            for client in &mut clients {
                client.set_nonblocking(true).unwrap();
                assert!(client.read(&mut [0; 100]).is_ok(), "each has had its turn");
            }
        }
    }
    worker.arrive(&[]);
    worker.arrive(&[]);
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log, ["receive None"], "nothing more is to be done");
}

#[test]
fn first_bytes_of_handshakes_are_read_in_their_time() {
    let mut worker = workers(1).remove(0);
    let clients: Vec<UnixStream> = (1..=6)
        .map(|stream| worker.give_stream(leg(stream, Transport::Tls), tls(), b"no hello of TLS"))
        .collect();
    worker.arrive(&[]);
    assert_eq!(worker.ends().len(), HANDSHAKES as usize);
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log[0], "receive Some(0ns)", "nobody else tells of them");
    assert_eq!(worker.ends().len(), 2);
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log, ["receive None"]);
    drop(clients);
}

#[test]
fn a_tick_ends_what_takes_too_long() {
    let mut worker = workers(1).remove(0);
    let _silent = worker.give_stream(leg(5, Transport::Tls), tls(), b"");
    worker.arrive(&[]);
    worker.shared.clock.set(NOW + 10 * SECOND);
    worker.give(Order::Tick);
    worker.arrive(&[]);
    assert_eq!(worker.ends(), [(5, CloseReason::HandshakeTimeout)]);
}
