//! Clients by DTLS: whose turn it is.

use super::*;
use crate::dtls::association::Terms;
use crate::dtls::provider::Door;
use crate::dtls::provider::tests::{Client, config};
use crate::worker::streams::HANDSHAKES;

const MANY: usize = 10;

/// A worker with a listener for DTLS, and clients who have brought the cookie: what they say next.
fn with_cookies() -> (Worker<Played>, Vec<(SocketAddr, Vec<u8>)>) {
    let mut worker = workers(1).remove(0);
    let terms = Terms {
        door: Door::new(&config()).unwrap(),
        handshake_timeout: 10 * SECOND,
        idle_timeout: 60 * SECOND,
        ledger: 0,
    };
    worker.give(Order::ServeDtls(0, Box::new(terms)));
    let hellos = (1..=MANY as u16).map(|port| {
        let client = SocketAddr::from(([192, 0, 2, 9], port));
        let mut other = Client::new("a", "DEFAULT");
        let (first, _) = other.step(&[]);
        worker.arrive(&[(LISTENER, client, &first[0])]);
        let question = worker.driver.left.pop().unwrap().1;
        (client, other.step(&[question]).0.remove(0))
    });
    let hellos = hellos.collect();
    assert!(worker.driver.left.is_empty());
    (worker, hellos)
}

fn say(worker: &mut Worker<Played>, hellos: &[(SocketAddr, Vec<u8>)]) {
    let coming: Vec<_> =
        hellos.iter().map(|(client, hello)| (LISTENER, *client, hello.as_slice())).collect();
    worker.arrive(&coming);
}

/// Whom the first flights have gone to.
fn answered(worker: &mut Worker<Played>) -> Vec<SocketAddr> {
    let mut clients: Vec<SocketAddr> = worker.driver.left.drain(..).map(|(to, _)| to).collect();
    clients.dedup();
    clients
}

#[test]
fn a_turn_begins_few_handshakes_and_each_has_its_turn() {
    let (mut worker, hellos) = with_cookies();
    let clients: Vec<SocketAddr> = hellos.iter().map(|(client, _)| *client).collect();
    let few = HANDSHAKES as usize;
    say(&mut worker, &hellos);
    assert_eq!(answered(&mut worker), clients[..few]);
    say(&mut worker, &hellos[few + 1..]);
    assert_eq!(answered(&mut worker), clients[few..2 * few], "who says it again gains nothing");
    assert_eq!(worker.drops(Drop::DtlsHandshake), (MANY - 2 * few) as u64);
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log[0], "receive Some(0ns)", "nobody else tells of them");
    assert_eq!(answered(&mut worker), clients[2 * few..]);
    worker.driver.log.clear();
    worker.arrive(&[]);
    assert_eq!(worker.driver.log, ["receive None"]);
}

#[test]
fn who_begins_anew_waits_once() {
    let (mut worker, hellos) = with_cookies();
    say(&mut worker, &hellos);
    let (client, hello) = hellos.last().unwrap();
    let anew = |number: u8| {
        let mut other = hello.clone();
        other[27] = number; // of its random
        (*client, other)
    };
    say(&mut worker, &(0..12).map(anew).collect::<Vec<_>>());
    assert_eq!(worker.beginning.len(), MANY - 2 * HANDSHAKES as usize);
    answered(&mut worker);
    worker.arrive(&[]);
    assert_eq!(answered(&mut worker), [hellos[MANY - 2].0, *client]);
    assert!(worker.beginning.is_empty());
}
