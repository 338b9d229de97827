//! Packets and relays that go from one worker to another.

use std::sync::mpsc::sync_channel;

use super::*;
use crate::wire::message::BINDING_REQUEST;
use crate::wire::sample::message;

#[test]
fn a_packet_reaches_the_worker_of_its_client() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let client = client_of(&first.shared, 1);
    second.give_relay(2, client);
    first.arrive(&[(LISTENER, client, &channel_data(CHANNEL, b"up"))]);
    assert!(first.driver.left.is_empty());
    second.arrive(&[]);
    assert_eq!(second.driver.left, [(at(PEER), b"up".to_vec())]);
    let binding = message(BINDING_REQUEST, &[]);
    first.arrive(&[(LISTENER, client, &binding)]);
    second.arrive(&[]);
    assert_eq!(second.driver.left[1].0, client);
}

#[test]
fn a_packet_whose_worker_has_no_relay_for_it_is_not_passed_on_for_ever() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let client = client_of(&first.shared, 1);
    first.arrive(&[(LISTENER, client, &channel_data(CHANNEL, b"up"))]);
    second.arrive(&[]);
    assert_eq!(second.drops(Drop::NoAllocation), 1);
    assert!(first.station.passed.lock().unwrap().is_empty());
}

#[test]
fn spare_slots_are_used_again_after_a_flush_alone() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let client = client_of(&first.shared, 1);
    second.give_relay(2, client);
    for number in 0..3 * SPARE_SLOTS as u8 {
        first.arrive(&[(LISTENER, client, &channel_data(CHANNEL, &[number; 9]))]);
    }
    // The outbox is full by packets of the second's own when the passed ones come.
    let padded: Vec<u8> = (0..1_100)
        .flat_map(|number| {
            let mut frame = channel_data(CHANNEL, &vec![7; 1 + number % 40]);
            frame.resize(44, 0);
            frame
        })
        .collect();
    second.driver.coming.push_back((vec![(LISTENER, client, padded, 44)], Vec::new()));
    second.turn().unwrap();
    let passed: Vec<&Vec<u8>> = second.driver.left[1_100..].iter().map(|(_, data)| data).collect();
    let expected: Vec<Vec<u8>> = (0..3 * SPARE_SLOTS as u8).map(|n| vec![n; 9]).collect();
    assert_eq!(passed, expected.iter().collect::<Vec<_>>());
}

#[test]
fn what_waits_for_another_worker_is_bounded() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let client = client_of(&first.shared, 1);
    let merged = channel_data(CHANNEL, b"up!!").repeat(PASSED + 3);
    first.driver.coming.push_back((vec![(LISTENER, client, merged, 8)], Vec::new()));
    first.turn().unwrap();
    assert_eq!(first.drops(Drop::QueueFull), 3);
    second.arrive(&[]);
    assert_eq!(second.drops(Drop::NoAllocation), PASSED as u64);
}

#[test]
fn what_is_passed_on_during_a_turn_meets_the_orders_before_it() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let client = client_of(&first.shared, 1);
    let (told, obeying) = sync_channel(1);
    let (give, take) = sync_channel(1);
    second.give(Order::Report(told));
    second.give(Order::Claim(take, address(udp_leg(client)), Vec::new()));
    let station = second.station.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| second.turn().unwrap());
        obeying.recv().unwrap(); // it has got its orders, and waits for another worker
        let relay = NewRelay {
            id: 2,
            socket: UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            is_ipv4: true,
            purses: Vec::new(),
            shared: Arc::new(RelayShared::new(LATER)),
        };
        let client = address(udp_leg(client));
        station.orders.give(Order::Open(Box::new(relay), Some(client)));
        station.orders.give(Order::Permit(2, Host::from(at(PEER)), LATER));
        station.orders.give(Order::Bind(2, CHANNEL, at(PEER), LATER));
        first.arrive(&[(LISTENER, client.leg.client, &channel_data(CHANNEL, b"up"))]);
        drop(give);
    });
    second.arrive(&[]);
    assert_eq!(second.driver.left, [(at(PEER), b"up".to_vec())]);
}

#[test]
fn relays_move_both_ways_at_once() {
    let shared = Arc::new(Shared::new(2, Clock::by_hand(NOW)).unwrap());
    let clients = [client_of(&shared, 0), client_of(&shared, 1)];
    let moved = clients.map(|client| SocketAddr::new(at(PEER).ip(), client.port()));
    let moved = moved.map(udp_leg);
    let begun = std::sync::Barrier::new(3);
    let left = std::thread::scope(|scope| {
        let threads = [0, 1].map(|index| {
            let (shared, begun) = (&shared, &begun);
            scope.spawn(move || {
                let mut worker = worker(index, shared);
                worker.give_relay(u64::from(index), clients[index as usize]);
                worker.arrive(&[]);
                begun.wait(); // both have a relay
                begun.wait(); // both have their orders
                worker.turn().unwrap();
                let id = u64::from(1 - index);
                let token = worker.relay(id);
                worker.arrive(&[(token, at(PEER), b"down")]);
                assert!(worker.forwarder.table.place_of(u64::from(index)).is_none());
                worker.driver.left.pop().unwrap()
            })
        });
        begun.wait();
        for (from, to) in [(0, 1), (1, 0)] {
            let (give, take) = sync_channel(1);
            let newcomer = address(moved[to]);
            shared.stations[from].orders.give(Order::Release(from as u64, give));
            shared.stations[to].orders.give(Order::Claim(take, newcomer, Vec::new()));
        }
        begun.wait();
        threads.map(|thread| thread.join().unwrap())
    });
    // Each with its channel, by the other's worker.
    let down = channel_data(CHANNEL, b"down");
    assert_eq!(left, [(moved[0].client, down.clone()), (moved[1].client, down)]);
}

#[test]
fn a_mark_of_a_run_is_worth_nothing_elsewhere() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let client = client_of(&first.shared, 0);
    first.give_relay(2, client);
    for _ in 0..2 {
        // The channel's mark names the third message of the outbox.
        let junk = message(BINDING_REQUEST, &[]);
        let up = channel_data(CHANNEL, b"up");
        first.arrive(&[
            (LISTENER, client, &junk),
            (LISTENER, client, &junk),
            (LISTENER, client, &up),
        ]);
    }
    let (give, take) = sync_channel(1);
    let client = client_of(&first.shared, 1);
    first.give(Order::Release(2, give));
    first.turn().unwrap();
    second.give(Order::Claim(take, address(udp_leg(client)), Vec::new()));
    let flush = first.forwarder.outbox.flushes() - 1;
    while second.forwarder.outbox.flushes() < flush {
        second.forwarder.outbox.clear();
    }
    second.arrive(&[(LISTENER, client, &channel_data(CHANNEL, b"up"))]);
    assert_eq!(second.driver.left, [(at(PEER), b"up".to_vec())]);
}

#[test]
fn what_was_received_for_a_relay_goes_where_it_goes() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let (before, after) = (client_of(&first.shared, 0), client_of(&first.shared, 1));
    first.give_relay(2, before);
    first.arrive(&[]);
    let token = first.relay(2);
    let (give, take) = sync_channel(1);
    first.give(Order::Release(2, give));
    first.arrive(&[(token, at(PEER), b"down")]);
    assert!(first.driver.left.is_empty());
    second.give(Order::Claim(take, address(udp_leg(after)), Vec::new()));
    second.turn().unwrap();
    assert_eq!(second.driver.left, [(after, channel_data(CHANNEL, b"down"))]);
}

#[test]
fn a_relay_whose_client_has_gone_meanwhile_serves_nobody() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    first.give_relay(2, at("192.0.2.9:4000"));
    let (give, take) = sync_channel(1);
    first.give(Order::Release(2, give));
    first.turn().unwrap();
    let gone = Leg { transport: Transport::Tcp, stream: 77, ..udp_leg(at("192.0.2.9:1")) };
    second.give(Order::Claim(take, address(gone), Vec::new()));
    second.turn().unwrap();
    let token = second.relay(2);
    second.arrive(&[(token, at(PEER), b"down")]);
    assert_eq!(second.drops(Drop::NoClient), 1);
    second.forwarder.table.audit().unwrap();
}

#[test]
fn media_that_was_held_back_follows_a_relay_from_another_worker() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let (before, after) = (client_of(&first.shared, 0), client_of(&first.shared, 1));
    first.give_relay(2, before);
    second.give(Order::HoldBack(udp_leg(after)));
    let up = |text: &str| channel_data(CHANNEL, text.as_bytes());
    // The second of them by way of the first worker.
    second.arrive(&[(LISTENER, after, &up("one"))]);
    first.arrive(&[(LISTENER, after, &up("two")), (LISTENER, before, &up("old"))]);
    second.arrive(&[]);
    assert_eq!(second.events(), [Event::MediaWaiting(udp_leg(after))]);
    assert_eq!(first.driver.left, [(at(PEER), b"old".to_vec())]);
    assert!(second.driver.left.is_empty());
    let (give, take) = sync_channel(1);
    first.give(Order::Release(2, give));
    first.turn().unwrap();
    let coming = vec![orders::Coming::From(take)];
    second.give(Order::HandOver(coming, address(udp_leg(after))));
    second.arrive(&[(LISTENER, after, &up("three"))]);
    let left: Vec<&[u8]> = second.driver.left.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(left, [b"one", b"two", &b"three"[..]]);
    assert!(second.held.is_empty());
}

#[test]
fn media_of_a_former_leg_follows_its_relay_to_another_worker() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let (before, after) = (client_of(&first.shared, 0), client_of(&first.shared, 1));
    first.give_relay(2, before);
    let (give, take) = sync_channel(1);
    let to = address(udp_leg(after));
    let departure = orders::Departure { leg: udp_leg(before), to, worker: 1 };
    first.give(Order::Depart(Box::new(departure)));
    second.give(Order::HandOver(vec![orders::Coming::From(take)], to));
    first.give(Order::Release(2, give));
    let late = channel_data(CHANNEL, b"late");
    let request = message(BINDING_REQUEST, &[]);
    // Received before the order, and handled after it.
    first.arrive(&[(LISTENER, before, &late), (LISTENER, before, &request)]);
    assert_eq!(first.driver.left.len(), 1, "the answer to a request: it stays where it came");
    second.arrive(&[]);
    assert_eq!(second.driver.left, [(at(PEER), b"late".to_vec())]);
    second.give(Order::Close(2));
    second.turn().unwrap();
    first.arrive(&[(LISTENER, before, &late)]);
    second.arrive(&[]);
    assert_eq!(second.drops(Drop::NoAllocation), 1);
    assert_eq!(first.drops(Drop::NoAllocation), 0);
}

#[test]
fn more_may_be_held_back_than_a_turn_has_room_for() {
    let mut worker = workers(1).remove(0);
    let (before, after) = (at("192.0.2.9:1"), at("192.0.2.9:2"));
    worker.give_relay(2, before);
    worker.give(Order::HoldBack(udp_leg(after)));
    for number in 0..1_900u32 {
        worker.arrive(&[(LISTENER, after, &channel_data(CHANNEL, &number.to_be_bytes()))]);
    }
    let coming = vec![orders::Coming::Here(2)];
    worker.give(Order::HandOver(coming, address(udp_leg(after))));
    worker.arrive(&[]);
    let left: Vec<Vec<u8>> = worker.driver.left.iter().map(|(_, data)| data.clone()).collect();
    assert_eq!(left, (0..1_900u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
}
