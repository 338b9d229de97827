//! What became of what was to be sent.

use super::*;

fn settle(bench: &mut Bench, outcome: impl FnOnce(&mut Transmit)) -> bool {
    outcome(bench.forwarder.outbox.transmit_mut(0));
    bench.forwarder.settle(NOW, 5_000)
}

#[test]
fn what_was_sent_is_counted_at_its_relay_and_its_listener() {
    let mut bench = Bench::new();
    bench.up(&channel_data(CHANNEL, b"hello"));
    bench.down(PEER, b"aaabbb", 3, NOW);
    settle(&mut bench, |_| ());
    for traffic in [bench.shared.traffic.get(), bench.forwarder.ledgers[0].get()] {
        assert_eq!((traffic.packets_up, traffic.bytes_up, traffic.last_up), (1, 5, NOW));
        assert_eq!((traffic.packets_down, traffic.bytes_down), (2, 6));
    }
    assert!(bench.forwarder.outbox.is_empty());
}

#[test]
fn what_was_lost_is_dropped_for_its_reason() {
    let mut bench = Bench::new();
    bench.down(PEER, b"aaabbbccc", 3, NOW);
    settle(&mut bench, |run| (run.lost, run.errno) = (2, libc::EAGAIN));
    let traffic = bench.shared.traffic.get();
    assert_eq!((traffic.packets_down, traffic.bytes_down), (1, 3));
    bench.expect_drop(Drop::QueueFull, 2);
}

#[test]
fn what_was_lost_altogether_was_not_relayed() {
    let mut bench = Bench::new();
    bench.up(&channel_data(CHANNEL, b"hello"));
    settle(&mut bench, |packet| (packet.lost, packet.errno) = (1, libc::EMSGSIZE));
    assert_eq!(bench.shared.traffic.get(), Default::default());
    assert_eq!(bench.forwarder.ledgers[0].get(), Default::default());
    bench.expect_drop(Drop::TooBig, 1);
}

#[test]
fn a_path_that_refuses_runs_gets_no_more_of_them() {
    let mut bench = Bench::new();
    bench.down(PEER, b"aaabbb", 3, NOW);
    settle(&mut bench, |run| run.refused_run = true);
    bench.down(PEER, b"aaabbb", 3, NOW);
    assert_eq!(bench.sent().len(), 2, "towards the client");
    bench.forwarder.outbox.clear();
    for _ in 0..2 {
        bench.up(&channel_data(CHANNEL, b"hello"));
    }
    assert_eq!(bench.sent().len(), 1, "not towards the peer");
    settle(&mut bench, |run| run.refused_run = true);
    for _ in 0..2 {
        bench.up(&channel_data(CHANNEL, b"hello"));
    }
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn a_relay_that_closed_meanwhile_leaves_its_listener_the_count() {
    let mut bench = Bench::new();
    bench.up(&channel_data(CHANNEL, b"hello"));
    bench.forwarder.table.remove(1);
    assert!(settle(&mut bench, |_| ()));
    assert_eq!(bench.forwarder.ledgers[0].get().packets_up, 1);
}

#[test]
fn messages_of_ours_are_no_traffic() {
    let mut bench = Bench::new();
    let icmp = crate::sys::errors::Icmp { target: at(PEER), kind: 3, code: 1, mtu: 0 };
    bench.forwarder.icmp_from_peer(bench.token, &icmp, NOW);
    assert!(!settle(&mut bench, |_| ()), "nothing was relayed");
    assert_eq!(bench.shared.traffic.get(), Default::default());
    assert_eq!(bench.forwarder.ledgers[0].get(), Default::default());
}

#[test]
fn a_packet_that_is_measured_is_measured_to_its_sending() {
    let mut bench = Bench::new();
    bench.up(&channel_data(CHANNEL, b"hello"));
    settle(&mut bench, |packet| packet.received = 2_000);
    let (counts, sum) = bench.forwarder.counters.latency.get();
    assert_eq!((counts.iter().sum::<u64>(), sum), (1, 3_000));
}
