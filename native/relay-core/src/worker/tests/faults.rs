//! Faults of ours, and the end.

use std::sync::mpsc::{RecvError, sync_channel};

use super::*;

#[test]
fn a_fault_costs_the_order_that_it_is_in_and_no_other() {
    let mut worker = workers(1).remove(0);
    let shared = worker.shared.clone();
    let station = worker.station.clone();
    let (lost, kept) = (at("192.0.2.9:1"), at("192.0.2.9:2"));
    worker.driver.breaks = true;
    worker.give_relay(2, lost);
    let relay = worker.give_relay(3, kept);
    let up = |client| (LISTENER, client, channel_data(CHANNEL, b"up"), 6);
    worker.driver.coming.push_back((vec![], vec![]));
    worker.driver.coming.push_back((vec![up(kept)], vec![]));
    worker.driver.coming.push_back((vec![up(kept)], vec![]));
    let (to, from) = sync_channel(1);
    worker.give(Order::Report(to));
    let thread = std::thread::spawn(move || worker.run());
    from.recv().unwrap();
    while relay.traffic.get().packets_up < 2 {
        std::thread::yield_now();
    }
    station.orders.give(Order::Stop);
    thread.join().unwrap().unwrap();
    assert_eq!(station.counters.faults.get(), 1);
    assert!(shared.broken().is_none());
}

#[test]
fn who_waits_for_a_worker_that_has_stopped_learns_of_it() {
    let worker = workers(1).remove(0);
    let station = worker.station.clone();
    worker.give(Order::Stop);
    worker.run().unwrap();
    let (give, take) = sync_channel(1);
    station.orders.give(Order::Release(2, give));
    assert!(matches!(take.recv(), Err(RecvError)));
}
