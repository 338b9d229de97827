//! Datagrams that a trusted proxy passes on, each with a header in front.

use super::*;
use crate::network::{Network, Networks};
use crate::wire::message::BINDING_REQUEST;
use crate::wire::sample::message;

const CLIENT: &str = "203.0.113.9:51334";

fn headed(data: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, 9, 192, 0, 2, 7, 0xC8, 0x86, 0x0D, 0x96];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c", &addresses[..], data].concat()
}

fn trust(worker: &Worker<Played>) {
    let proxy = Network { base: [192, 0, 2, 9].into(), prefix: 32 };
    worker.give(Order::Trust(0, [proxy].into_iter().collect()));
}

fn leg(proxy: SocketAddr) -> Leg {
    Leg { via: Some(proxy), ..udp_leg(at(CLIENT)) }
}

#[test]
fn each_of_merged_datagrams_has_a_header_of_its_own() {
    let worker = &mut workers(1)[0];
    let proxy = client_of(&worker.shared, 0);
    trust(worker);
    worker.give_relay_to(2, leg(proxy));
    worker.turn().unwrap();
    let [first, last] = [b"1111", &b"22"[..]].map(|data| headed(&channel_data(CHANNEL, data)));
    let merged = [&first[..], &vec![b'x'; first.len()], &last].concat();
    worker.driver.coming.push_back((vec![(LISTENER, proxy, merged, first.len())], Vec::new()));
    worker.turn().unwrap();
    let up = [b"1111".to_vec(), b"22".to_vec()].map(|data| (at(PEER), data));
    assert_eq!(worker.driver.left, up);
    assert_eq!(worker.drops(Drop::ProxyHeader), 1);
}

#[test]
fn answers_and_media_go_to_the_proxy() {
    let worker = &mut workers(1)[0];
    let proxy = client_of(&worker.shared, 0);
    trust(worker);
    worker.give_relay_to(2, leg(proxy));
    worker.arrive(&[(LISTENER, proxy, &headed(&message(BINDING_REQUEST, &[])))]);
    let relay = worker.relay(2);
    worker.arrive(&[(relay, at(PEER), b"down")]);
    let to: Vec<SocketAddr> = worker.driver.left.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [proxy, proxy]);
    assert_eq!(worker.driver.left[1].1, channel_data(CHANNEL, b"down"));
}

#[test]
fn they_reach_the_worker_of_the_proxy() {
    let mut workers = workers(2);
    let [first, second] = &mut workers[..] else { panic!() };
    let proxy = client_of(&first.shared, 1);
    trust(first);
    trust(second);
    second.give_relay_to(2, leg(proxy));
    first.turn().unwrap();
    first.arrive(&[(LISTENER, proxy, &headed(&channel_data(CHANNEL, b"up")))]);
    assert!(first.driver.left.is_empty());
    second.arrive(&[]);
    assert_eq!(second.driver.left, [(at(PEER), b"up".to_vec())]);
}

#[test]
fn strangers_are_taken_as_they_are_and_trust_ends() {
    let worker = &mut workers(1)[0];
    let proxy = client_of(&worker.shared, 0);
    trust(worker);
    let data = headed(&message(BINDING_REQUEST, &[]));
    worker.turn().unwrap();
    worker.arrive(&[(LISTENER, at("192.0.2.10:1"), &data)]);
    assert_eq!((worker.drops(Drop::NotStun), worker.drops(Drop::ProxyHeader)), (1, 0));
    worker.give(Order::Trust(0, Networks::default()));
    worker.turn().unwrap();
    worker.arrive(&[(LISTENER, proxy, &data)]);
    assert_eq!((worker.drops(Drop::NotStun), worker.drops(Drop::ProxyHeader)), (2, 0));
}
