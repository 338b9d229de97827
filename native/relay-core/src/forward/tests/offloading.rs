//! What a path in the kernel is told.

use super::*;
use crate::offload::recording::{ONE, Recording};

fn bench() -> (Bench, Arc<Recording>) {
    let recording = Arc::new(Recording::probe().unwrap());
    let way = Way::Datagrams { listener: 0, to: at(Bench::CLIENT).into() };
    let mut bench = Bench::beside(Some(recording.clone()), |_| (way, true));
    bench.forwarder.review(1, NOW);
    (bench, recording)
}

const ADDED: &str = "add 1 4001 198.51.100.1:5000 200";
const REMOVED: &str = "remove 1 4001 198.51.100.1:5000 0";

#[test]
fn a_channel_is_added_with_the_earliest_deadline_of_all() {
    let (mut bench, recording) = bench();
    assert_eq!(recording.take(), [ADDED], "that of the permission");
    let extended = |seconds: u64| [format!("extend 1 4001 {PEER} {seconds}")];
    bench.forwarder.table.permit(1, Host::from(at(PEER)), LATER[2] + SECOND, NOW);
    bench.forwarder.review(1, NOW);
    assert_eq!(recording.take(), extended(300), "that of the channel");
    bench.forwarder.table.bind_channel(1, CHANNEL, at(PEER), LATER[2] + SECOND, NOW);
    bench.forwarder.review(1, NOW);
    assert_eq!(recording.take(), extended(400), "that of the relay");
    bench.shared.set_deadline(150 * SECOND);
    bench.forwarder.review(1, NOW);
    assert_eq!(recording.take(), extended(150), "sooner than before");
    bench.forwarder.review(1, NOW);
    assert!(recording.take().is_empty());
}

type End<'a> = &'a dyn Fn(&mut Bench);

#[test]
fn a_channel_that_ends_is_removed() {
    let ends: [(&str, End); 6] = [
        ("unbound", &|bench| bench.forwarder.table.bind_channel(1, CHANNEL, at(PEER), NOW, NOW)),
        ("not permitted", &|bench| bench.forwarder.table.permit(1, Host::from(at(PEER)), 0, NOW)),
        ("protected", &|bench| bench.protect(&[PEER], &[])),
        ("ours", &|bench| bench.protect(&[], &[("198.51.100.1", "10.0.0.1")])),
        ("limited", &Bench::limit),
        ("closing", &|bench| bench.shared.set_deadline(0)),
    ];
    for (why, end) in ends {
        let (mut bench, recording) = bench();
        recording.take();
        end(&mut bench);
        bench.forwarder.review(1, NOW);
        assert_eq!(recording.take(), [REMOVED], "{why}");
    }
}

#[test]
fn time_ends_it_as_well() {
    let (mut bench, recording) = bench();
    recording.take();
    bench.forwarder.review_all(LATER[0] - 1);
    assert!(recording.take().is_empty());
    bench.forwarder.review_all(LATER[0]);
    assert_eq!(recording.take(), [REMOVED]);
}

#[test]
fn another_peer_is_another_flow() {
    let (mut bench, recording) = bench();
    recording.take();
    bench.forwarder.table.bind_channel(1, CHANNEL, at(OTHER), LATER[1], NOW);
    bench.forwarder.review(1, NOW);
    assert_eq!(recording.take(), [REMOVED.into(), format!("add 1 4001 {OTHER} 200")]);
}

#[test]
fn another_client_is_another_flow() {
    let (mut bench, recording) = bench();
    recording.take();
    let client = at("192.0.2.9:4001");
    let former = bench.forwarder.table.clients.get(bench.client).unwrap().leg;
    let way = Way::Datagrams { listener: 0, to: client.into() };
    let newcomer = Newcomer { leg: Leg { client, ..former }, way, key: None, ledger: 0 };
    bench.forwarder.table.assign(bench.token.place() as u32, None, newcomer);
    bench.forwarder.review(1, NOW);
    assert_eq!(recording.take(), [REMOVED, ADDED]);
}

#[test]
fn clients_of_streams_keep_their_worker() {
    let recording = Arc::new(Recording::default());
    let mut bench = Bench::beside(Some(recording.clone()), |_| (Way::Stream(0), false));
    bench.forwarder.review(1, NOW);
    assert!(recording.take().is_empty());
}

#[test]
fn what_was_moved_is_counted_at_ticks_and_at_the_end() {
    let (mut bench, _recording) = bench();
    bench.forwarder.review_all(NOW);
    bench.forwarder.offloaded.end(1);
    for traffic in [bench.shared.traffic.get(), bench.forwarder.ledgers[0].get()] {
        let mut twice = ONE;
        twice += ONE;
        assert_eq!(traffic, twice);
    }
}

#[test]
fn what_is_refused_is_offered_again() {
    let (mut bench, recording) = bench();
    recording.take();
    recording.set_full(true);
    bench.forwarder.table.bind_channel(1, 0x4002, at(OTHER), LATER[1], NOW);
    bench.forwarder.review(1, NOW);
    assert!(recording.take().is_empty());
    recording.set_full(false);
    bench.forwarder.review_all(NOW);
    assert_eq!(recording.take(), [format!("add 1 4002 {OTHER} 200")]);
}

#[test]
fn nothing_stays_behind_a_worker() {
    let (bench, recording) = bench();
    drop(bench);
    assert_eq!(recording.take(), [ADDED, REMOVED]);
}
