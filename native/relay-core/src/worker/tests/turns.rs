//! The order within a turn, slots and sockets.

use super::*;

#[test]
fn a_turn_receives_obeys_handles_and_sends() {
    let worker = &mut workers(1)[0];
    let client = at("192.0.2.9:4000");
    let relay = worker.give_relay(2, client);
    // Its answer has been sent, and this packet with it provoked.
    worker.arrive(&[(LISTENER, client, &channel_data(CHANNEL, b"up"))]);
    assert_eq!(worker.driver.log, ["receive None", "watch Relay 0", "send 1"]);
    assert_eq!(worker.driver.left, [(at(PEER), b"up".to_vec())]);
    assert_eq!(relay.traffic.get().packets_up, 1);
    let token = worker.relay(2);
    worker.arrive(&[(token, at(PEER), b"down")]);
    assert_eq!(worker.driver.left[1], (client, channel_data(CHANNEL, b"down")));
}

#[test]
fn packets_of_a_relay_that_is_closed_in_their_turn_go_nowhere() {
    let worker = &mut workers(1)[0];
    let client = at("192.0.2.9:4000");
    let relay = worker.give_relay(2, client);
    worker.arrive(&[]);
    let token = worker.relay(2);
    worker.give(Order::Close(2));
    worker.arrive(&[(LISTENER, client, &channel_data(CHANNEL, b"up")), (token, at(PEER), b"down")]);
    assert_eq!(worker.driver.log.last().unwrap(), "unwatch Relay 0");
    assert_eq!(worker.drops(Drop::NoAllocation), 1);
    assert_eq!(relay.deadline(), 0, "nor is it reached by other relays");
}

#[test]
fn its_place_has_another_relay_at_once() {
    let worker = &mut workers(1)[0];
    let client = at("192.0.2.9:4000");
    worker.give_relay(2, client);
    worker.arrive(&[]);
    let former = worker.relay(2);
    worker.give(Order::Close(2));
    let next = worker.give_relay(3, client);
    worker
        .arrive(&[(LISTENER, client, &channel_data(CHANNEL, b"up")), (former, at(PEER), b"down")]);
    assert_eq!(worker.driver.left, [(at(PEER), b"up".to_vec())]);
    assert_eq!(next.traffic.get().packets_down, 0);
    assert_eq!(worker.relay(3).place(), former.place());
}

#[test]
fn a_report_comes_when_sockets_are_closed() {
    let worker = &mut workers(1)[0];
    worker.give_relay(2, at("192.0.2.9:4000"));
    worker.arrive(&[]);
    let place = worker.forwarder.table.place_of(2).unwrap();
    let socket = worker.forwarder.table.relays.get(place).unwrap().socket.as_fd();
    let address = rustix::net::getsockname(socket).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    assert!(UdpSocket::bind(address).is_err());
    let (to, from) = std::sync::mpsc::sync_channel(1);
    worker.give(Order::Close(2));
    worker.give(Order::Report(to));
    worker.station.orders.take(&mut worker.orders);
    worker.obey(NOW);
    from.try_recv().unwrap();
    UdpSocket::bind(address).unwrap();
}

#[test]
fn an_outbox_that_is_full_is_sent_within_the_turn() {
    let worker = &mut workers(1)[0];
    let client = at("192.0.2.9:4000");
    worker.give_relay(2, client);
    // Each is longer than the one before, and none can join its run.
    let frame = |len: usize| {
        let mut frame = channel_data(CHANNEL, &vec![7; len]);
        frame.resize(104, 0);
        frame
    };
    let merged: Vec<u8> = (0..600).flat_map(|number| frame(1 + number % 100)).collect();
    let coming = (0..4).map(|_| (LISTENER, client, merged.clone(), 104));
    worker.driver.coming.push_back((coming.collect(), Vec::new()));
    worker.turn().unwrap();
    let sends = worker.driver.log.iter().filter(|what| what.starts_with("send"));
    assert_eq!(sends.count(), 2);
    let lengths: Vec<usize> = worker.driver.left.iter().map(|(_, data)| data.len()).collect();
    assert_eq!(lengths, (0..2_400).map(|number| 1 + number % 100).collect::<Vec<_>>());
}

#[test]
fn a_listener_that_is_closed_serves_nobody() {
    let worker = &mut workers(1)[0];
    worker.give(Order::CloseListener(0));
    worker.arrive(&[(LISTENER, at("192.0.2.9:4000"), &[0; 20])]);
    assert_eq!(worker.driver.log, ["receive None", "unwatch Listener 0"]);
    assert!(worker.events().is_empty());
    worker.give(Order::CloseListener(0));
    worker.give(Order::CloseListener(9));
    worker.arrive(&[]);
}
