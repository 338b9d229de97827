//! From peers to clients that came by UDP.

use super::*;
use crate::sys::errors::Icmp;
use crate::time::SECOND;
use crate::wire::attributes::number;
use crate::wire::message::{DATA_INDICATION, Stun};

/// A Data indication's peer-and-data attributes' numbers, and its data.
fn data_of(bytes: &[u8]) -> (Vec<u16>, Vec<u8>) {
    let stun = Stun::from_untrusted(bytes).expect("the length is that of all with padding");
    assert_eq!(bytes[..2], DATA_INDICATION.to_be_bytes());
    let attributes: Vec<_> =
        stun.attributes().map(|attribute| attribute.expect("well formed")).collect();
    let data = attributes.iter().find(|attribute| attribute.number == number::DATA);
    let numbers = attributes.iter().map(|attribute| attribute.number).collect();
    (numbers, data.map(|data| data.value.to_vec()).unwrap_or_default())
}

#[test]
fn a_channels_peer_comes_by_its_channel() {
    let mut bench = Bench::new();
    for data in [&b"hello"[..], b""] {
        bench.down(PEER, data, data.len(), NOW);
        assert_eq!(bench.sent(), [sent(Bench::CLIENT, 1, &channel_data(CHANNEL, data))]);
        assert_eq!(bench.transmit(0).payload, data.len() as u64);
        assert!(!bench.transmit(0).envelope.upward);
        bench.forwarder.outbox.clear();
    }
}

#[test]
fn one_packet_is_one_piece_of_memory() {
    let mut bench = Bench::new();
    bench.down(PEER, b"hello", 5, NOW);
    assert!(bench.forwarder.outbox.in_one_piece(0, &bench.arena).is_some());
}

#[test]
fn merged_datagrams_are_told_apart_again() {
    let mut bench = Bench::new();
    bench.down(PEER, b"aaabbbcc", 3, NOW);
    let all = [b"aaa".as_slice(), b"bbb", b"cc"].map(|data| channel_data(CHANNEL, data)).concat();
    assert_eq!(bench.sent(), [sent(Bench::CLIENT, 3, &all)]);
    assert_eq!((bench.transmit(0).segment, bench.transmit(0).payload), (7, 8));
}

#[test]
fn a_peer_without_channel_comes_by_data_indications() {
    for data in [&b""[..], b"a", b"abc", b"abcd", b"abcde"] {
        let mut bench = Bench::new();
        bench.down(OTHER, data, data.len(), NOW);
        let sent = bench.sent();
        let numbers = vec![number::XOR_PEER_ADDRESS, number::DATA];
        assert_eq!(data_of(&sent[0].bytes), (numbers, data.to_vec()));
        assert_eq!(bench.transmit(0).payload, data.len() as u64);
    }
}

#[test]
fn merged_datagrams_become_indications_each() {
    let mut bench = Bench::new();
    bench.down(OTHER, b"aaaaabbbbbcc", 5, NOW);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].packets), (1, 3));
    let datagrams: Vec<_> = sent[0].bytes.chunks(bench.transmit(0).segment as usize).collect();
    let data: Vec<_> = datagrams.iter().map(|bytes| data_of(bytes).1).collect();
    assert_eq!(data, [&b"aaaaa"[..], b"bbbbb", b"cc"]);
    assert_ne!(datagrams[0][8..20], datagrams[1][8..20], "transactions have names of their own");
}

#[test]
fn what_no_indication_can_carry_is_too_big() {
    let mut bench = Bench::new();
    let largest = 65_535 - 16 - 3; // without peer, attribute header and padding
    bench.down(OTHER, &vec![7; largest], largest, NOW);
    assert_eq!(bench.sent().len(), 1);
    bench.forwarder.outbox.clear();
    bench.down(OTHER, &vec![7; largest + 1], largest + 1, NOW);
    bench.expect_drop(Drop::TooBig, 1);
}

#[test]
fn the_end_of_a_channel_is_not_that_of_a_permission() {
    let mut bench = Bench::new();
    let host = Host::from(at(PEER));
    bench.forwarder.table.permit(1, host, LATER[2], NOW);
    bench.down(PEER, b"hello", 5, LATER[1]);
    assert_eq!(data_of(&bench.sent()[0].bytes).1, b"hello");
}

#[test]
fn a_peer_is_dropped_for_its_reason() {
    let mut bench = Bench::new();
    bench.down("198.51.100.3:5000", b"aaabbb", 3, NOW);
    bench.expect_drop(Drop::NoPermission, 2);
    let mut bench = Bench::new();
    bench.down(PEER, b"aaabbb", 3, LATER[0]);
    bench.expect_drop(Drop::NoPermission, 2);
    let mut bench = Bench::new();
    bench.shared.set_deadline(NOW);
    bench.down(PEER, b"aaabbb", 3, NOW);
    bench.expect_drop(Drop::Expired, 2);
    let mut bench = Bench::new();
    bench.limit();
    let large = vec![7; 60_000];
    bench.down(PEER, &large, 30_000, NOW);
    bench.forwarder.outbox.clear();
    bench.down(PEER, &large, 30_000, NOW);
    bench.expect_drop(Drop::Bandwidth, 2);
}

#[test]
fn what_came_for_a_former_relay_reaches_nobody() {
    let mut bench = Bench::new();
    bench.token = Token::relay(bench.token.place() as u32, bench.token.generation() + 1);
    bench.down(PEER, b"hello", 5, NOW);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.drops(), (vec![], vec![]));
}

#[test]
fn a_peer_of_ours_is_shown_by_its_announced_face() {
    let mut bench = Bench::new();
    bench.protect(&[], &[("198.51.100.1", "10.0.0.1")]);
    bench.down("10.0.0.1:5000", b"hello", 5, NOW);
    assert_eq!(bench.sent(), [sent(Bench::CLIENT, 1, &channel_data(CHANNEL, b"hello"))]);
    bench.forwarder.outbox.clear();
    bench.down("10.0.0.1:5001", b"hello", 5, NOW);
    let bytes = &bench.sent()[0].bytes;
    let stun = Stun::from_untrusted(bytes).unwrap();
    let peer = stun.attributes().next().unwrap().unwrap();
    let id = stun.transaction_id();
    let peer = crate::wire::address::decode_xor_address(peer.value, &id).unwrap();
    assert_eq!(peer, at("198.51.100.1:5001"));
}

#[test]
fn header_fields_go_along_less_a_hop() {
    let mut bench = Bench::new();
    for (peer, class) in [(PEER, 0xB8), (OTHER, 1)] {
        bench.fields = Fields { hops: 64, class };
        bench.down(peer, b"hello", 5, NOW);
        assert_eq!(bench.transmit(0).envelope.fields, Fields { hops: 63, class });
        bench.forwarder.outbox.clear();
    }
    bench.fields.hops = 1;
    bench.down(PEER, b"helloagain", 5, NOW);
    bench.expect_drop(Drop::HopLimit, 2);
    bench.forwarder.icmp_from_peer(
        bench.token,
        &Icmp { target: at(PEER), kind: 3, code: 3, mtu: 0 },
        NOW,
    );
    assert_eq!(bench.transmit(0).envelope.fields, Fields::default(), "what we say ourselves");
}

#[test]
fn an_icmp_error_is_told_where_there_is_a_permission() {
    let icmp = |target| Icmp { target: at(target), kind: 3, code: 4, mtu: 1_280 };
    let mut bench = Bench::new();
    for peer in [PEER, OTHER] {
        bench.forwarder.icmp_from_peer(bench.token, &icmp(peer), NOW);
        let (numbers, _) = data_of(&bench.sent()[0].bytes);
        assert_eq!(numbers, [number::XOR_PEER_ADDRESS, number::ICMP]);
        assert_eq!(bench.transmit(0).payload, 0);
        bench.forwarder.outbox.clear();
    }
    bench.forwarder.icmp_from_peer(bench.token, &icmp("198.51.100.3:5"), NOW);
    bench.expect_drop(Drop::NoPermission, 1);
    let mut bench = Bench::new();
    bench.shared.set_deadline(NOW);
    bench.forwarder.icmp_from_peer(bench.token, &icmp(PEER), NOW);
    bench.expect_drop(Drop::Expired, 1);
}

#[test]
fn of_many_icmp_errors_a_client_is_told_some() {
    let icmp = Icmp { target: at(PEER), kind: 3, code: 3, mtu: 0 };
    let mut bench = Bench::new();
    let told = |bench: &Bench| bench.forwarder.counters.icmp_errors.get();
    for _ in 0..13 {
        bench.forwarder.icmp_from_peer(bench.token, &icmp, NOW);
    }
    assert_eq!((bench.transmit(0).packets, told(&bench)), (10, 10));
    assert_eq!(bench.drops().1, [(Drop::IcmpRate, 3)]);
    bench.forwarder.icmp_from_peer(bench.token, &icmp, NOW + SECOND);
    assert_eq!(told(&bench), 11);
}
