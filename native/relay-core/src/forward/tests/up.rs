//! From clients to peers.

use super::*;
use crate::forward::upward::heeds_dont_fragment;
use crate::wire::address::{LARGEST_ADDRESS, encode_xor_address};
use crate::wire::attributes::number;
use crate::wire::message::{BINDING_REQUEST, SEND_INDICATION};
use crate::wire::sample::{TRANSACTION_ID, message};

fn send(peer: &str, data: &[u8], more: &[(u16, &[u8])]) -> Vec<u8> {
    let mut value = [0; LARGEST_ADDRESS];
    let size = encode_xor_address(at(peer), &TRANSACTION_ID, &mut value);
    let peer_and_data = [(number::XOR_PEER_ADDRESS, &value[..size]), (number::DATA, data)];
    message(SEND_INDICATION, &[&peer_and_data, more].concat())
}

#[test]
fn channel_data_goes_to_the_channels_peer_without_header_and_padding() {
    let mut bench = Bench::new();
    for data in [&b"hello"[..], b"", b"again"] {
        let padded = [channel_data(CHANNEL, data), vec![0; 3]].concat();
        assert_eq!(bench.up(&padded), Verdict::Done);
        assert_eq!(bench.sent(), [sent(PEER, 1, data)]);
        let envelope = bench.transmit(0).envelope;
        assert!(envelope.upward && !envelope.dont_fragment && envelope.from.is_none());
        assert_eq!(bench.transmit(0).payload, data.len() as u64);
        bench.forwarder.outbox.clear();
    }
    assert_eq!(bench.drops(), (vec![], vec![]));
}

#[test]
fn channel_data_is_dropped_for_its_reason() {
    let good = channel_data(CHANNEL, b"hello");
    let case = |client, bytes: &[u8], now| {
        let mut bench = Bench::new();
        let client = if client { Some(bench.client) } else { None };
        assert_eq!(bench.up_of(client, bytes, now), Verdict::Done);
        bench
    };
    case(false, &good, NOW).expect_stray(Drop::NoAllocation, 1);
    case(true, &channel_data(0x4002, b"hello"), NOW).expect_stray(Drop::NoChannel, 1);
    case(true, &good[..8], NOW).expect_stray(Drop::NotStun, 1);
    case(true, b"", NOW).expect_stray(Drop::NotStun, 1);
    case(true, &good, LATER[1]).expect_drop(Drop::NoChannel, 1);
    assert_eq!(case(true, &good, LATER[1] - 1).sent().len(), 1);
}

#[test]
fn a_relay_that_has_ended_sends_nothing() {
    let mut bench = Bench::new();
    bench.shared.set_deadline(NOW);
    bench.up(&channel_data(CHANNEL, b"hello"));
    bench.up(&send(PEER, b"hello", &[]));
    bench.expect_drop(Drop::Expired, 2);
}

#[test]
fn what_is_protected_is_not_reached_by_any_way() {
    let mut bench = Bench::new();
    bench.protect(&[PEER], &[]);
    bench.up(&channel_data(CHANNEL, b"hello"));
    bench.up(&send(PEER, b"hello", &[]));
    bench.expect_drop(Drop::ForbiddenPeer, 2);
    bench.up(&send(OTHER, b"hello", &[]));
    assert_eq!(bench.sent(), [sent(OTHER, 1, b"hello")]);
}

#[test]
fn our_own_address_is_reached_by_its_bound_face_where_a_relay_is() {
    let mut bench = Bench::new();
    bench.protect(&[], &[("198.51.100.1", "10.0.0.1")]);
    bench.up(&channel_data(CHANNEL, b"hello"));
    bench.up(&send(PEER, b"hello", &[]));
    bench.expect_drop(Drop::ForbiddenPeer, 2);
    let live = Arc::new(RelayShared::new(LATER[2]));
    bench.forwarder.around.relayed.add(at("10.0.0.1:5000"), live, at("10.0.0.1:0").ip());
    bench.up(&channel_data(CHANNEL, b"hello"));
    bench.up(&send(PEER, b"there", &[]));
    assert_eq!(bench.sent(), [sent("10.0.0.1:5000", 2, b"hellothere")]);
}

#[test]
fn bandwidth_is_packets_that_are_dropped() {
    let mut bench = Bench::new();
    bench.limit();
    let large = vec![7; 40_000];
    bench.up(&channel_data(CHANNEL, &large));
    bench.up(&channel_data(CHANNEL, &large));
    assert_eq!(bench.sent().len(), 1);
    bench.forwarder.outbox.clear();
    bench.up(&send(PEER, &large, &[]));
    bench.expect_drop(Drop::Bandwidth, 2);
}

#[test]
fn a_send_indication_goes_to_whom_it_names() {
    let mut bench = Bench::new();
    assert_eq!(bench.up(&send(OTHER, b"hello", &[])), Verdict::Done);
    assert_eq!(bench.sent(), [sent(OTHER, 1, b"hello")]);
    assert_eq!(bench.transmit(0).payload, 5);
}

#[test]
fn a_send_indication_is_dropped_for_its_reason() {
    let case = |client, bytes: &[u8], now| {
        let mut bench = Bench::new();
        let client = if client { Some(bench.client) } else { None };
        assert_eq!(bench.up_of(client, bytes, now), Verdict::Done);
        bench
    };
    let good = send(OTHER, b"hello", &[]);
    case(false, &good, NOW).expect_stray(Drop::NoAllocation, 1);
    case(true, &message(SEND_INDICATION, &[]), NOW).expect_stray(Drop::MalformedIndication, 1);
    case(true, &send(OTHER, b"", &[(0x7FFF, b"")]), NOW).expect_stray(Drop::MalformedIndication, 1);
    case(true, &send("[2001:db8::1]:5", b"", &[]), NOW).expect_stray(Drop::NoPermission, 1);
    case(true, &send("198.51.100.3:5", b"", &[]), NOW).expect_drop(Drop::NoPermission, 1);
    case(true, &good, LATER[0]).expect_drop(Drop::NoPermission, 1);
    assert_eq!(case(true, &good, LATER[0] - 1).sent().len(), 1);
}

#[test]
fn what_may_not_be_fragmented_leaves_by_itself() {
    let mut bench = Bench::new();
    let dont_fragment: &[(u16, &[u8])] = &[(number::DONT_FRAGMENT, &[])];
    for more in [&[][..], dont_fragment, dont_fragment, &[]] {
        bench.up(&send(OTHER, b"hello", more));
    }
    let marked = |index: usize| bench.transmit(index).envelope.dont_fragment;
    assert_eq!(bench.sent().len(), 4);
    assert_eq!([marked(0), marked(1), marked(2), marked(3)], [false, true, true, false]);
}

#[test]
fn header_fields_go_along_less_a_hop_and_part_runs() {
    let mut bench = Bench::new();
    let arrived = [(64, 0xB8), (64, 0xB8), (63, 0xB8), (63, 0xB9), (63, 0xB9)];
    for (hops, class) in arrived {
        bench.fields = Fields { hops, class };
        bench.up(&channel_data(CHANNEL, b"hello"));
    }
    bench.up(&send(OTHER, b"hello", &[]));
    let sent =
        |index: usize| (bench.transmit(index).packets, bench.transmit(index).envelope.fields);
    let fields = |hops, class| Fields { hops, class };
    assert_eq!(sent(0), (2, fields(63, 0xB8)));
    assert_eq!(sent(1), (1, fields(62, 0xB8)));
    assert_eq!(sent(2), (2, fields(62, 0xB9)));
    assert_eq!(sent(3), (1, fields(62, 0xB9)));
}

#[test]
fn what_has_come_too_far_is_dropped() {
    for message in [channel_data(CHANNEL, b"hello"), send(OTHER, b"hello", &[])] {
        let mut bench = Bench::new();
        bench.fields.hops = 1;
        assert_eq!(bench.up(&message), Verdict::Done);
        bench.expect_drop(Drop::HopLimit, 1);
    }
}

#[test]
fn dont_fragment_is_for_ipv4_alone_unless_it_comes_by_a_stream() {
    let (four, six) = ("192.0.2.9:4000", "[2001:db8::9]:4000");
    for (transport, client, peer, heeded) in [
        (Transport::Udp, four, PEER, true),
        (Transport::Udp, four, "[2001:db8::1]:5", false),
        (Transport::Udp, six, PEER, false),
        (Transport::Udp, six, "[2001:db8::1]:5", false),
        (Transport::Tcp, four, PEER, true),
        (Transport::Tls, six, "[2001:db8::1]:5", true),
    ] {
        let leg = Leg {
            listener: 7,
            transport,
            local: at(four),
            client: at(client),
            stream: 0,
            via: None,
        };
        assert_eq!(heeds_dont_fragment(&leg, at(peer)), heeded, "{transport:?} {client} {peer}");
    }
}

#[test]
fn a_channel_and_indications_to_its_peer_are_one_run_in_their_order() {
    let mut bench = Bench::new();
    bench.up(&channel_data(CHANNEL, b"one"));
    bench.up(&send(PEER, b"two", &[]));
    bench.up(&channel_data(CHANNEL, b"six"));
    assert_eq!(bench.sent(), [sent(PEER, 3, b"onetwosix")]);
}

#[test]
fn the_rest_is_for_others_to_decide() {
    let mut bench = Bench::new();
    assert!(matches!(bench.up(&message(BINDING_REQUEST, &[])), Verdict::Answer(_)));
    assert!(matches!(bench.up(&message(0x0003, &[])), Verdict::Challenge(_)));
    let signed = message(0x0003, &[(number::MESSAGE_INTEGRITY, &[0; 20])]);
    assert_eq!(bench.up(&signed), Verdict::Decide);
    assert_eq!(bench.up(&message(BINDING_REQUEST, &[(0x7FFF, b"")])), Verdict::Decide);
    assert_eq!(bench.drops(), (vec![], vec![]));
}

#[test]
fn a_binding_request_is_answered_within_the_budget() {
    let mut bench = Bench::new();
    bench.forwarder.around.budget.set(2);
    let Verdict::Answer(request) = bench.up(&message(BINDING_REQUEST, &[])) else { panic!() };
    let (from, to) = (at("192.0.2.77:9"), Some("203.0.113.1".parse().unwrap()));
    let (socket, received) = (Token::listener(0), 0);
    let (slot, start, via, fields) = (0, 0, None, Fields::default());
    let (len, segment) = (20, 20);
    let asked = Datagram { socket, slot, start, len, segment, from, via, to, fields, received };
    for _ in 0..3 {
        bench.forwarder.answer_binding(request, &asked, NOW);
    }
    let counters = &bench.forwarder.counters;
    assert_eq!((counters.bindings.get(), counters.over_budget.get()), (2, 1));
    let envelope = bench.transmit(0).envelope;
    let listener = bench.forwarder.listeners[0].as_ref().unwrap().socket.as_raw_fd();
    assert_eq!((envelope.socket, envelope.from, envelope.upward), (listener, to, false));
    assert_eq!(bench.sent()[1].bytes[..2], [1, 1]);
    assert_eq!(bench.sent()[1].to, from);
}
