//! Clients by DTLS: whose turn it is.

use super::*;
use crate::dtls::association::Terms;
use crate::dtls::provider::Door;
use crate::dtls::provider::tests::{Client, config};
use crate::dtls::record::hello_random;
use crate::worker::streams::HANDSHAKES;

const MANY: usize = 10;

/// A client's datagram.
type Said = (SocketAddr, Vec<u8>);

/// A worker with a listener for DTLS, and clients who have brought the cookie.
fn with_clients() -> (Worker<Played>, Vec<(SocketAddr, Client)>, Vec<Said>) {
    let mut worker = workers(1).remove(0);
    let terms = Terms {
        door: Door::new(&config()).unwrap(),
        handshake_timeout: 10 * SECOND,
        idle_timeout: 60 * SECOND,
        ledger: 0,
    };
    worker.give(Order::ServeDtls(0, Box::new(terms)));
    let (mut clients, mut hellos) = (Vec::new(), Vec::new());
    for port in 1..=MANY as u16 {
        let address = SocketAddr::from(([192, 0, 2, 9], port));
        let mut client = Client::new("a", "DEFAULT");
        let (first, _) = client.step(&[]);
        worker.arrive(&[(LISTENER, address, &first[0])]);
        let question = worker.driver.left.pop().unwrap().1;
        hellos.push((address, client.step(&[question]).0.remove(0)));
        clients.push((address, client));
    }
    assert!(worker.driver.left.is_empty());
    (worker, clients, hellos)
}

/// As `with_clients`, and what they say next alone.
fn with_cookies() -> (Worker<Played>, Vec<Said>) {
    let (worker, _, hellos) = with_clients();
    (worker, hellos)
}

/// Who has been told of as open.
fn opened(worker: &Worker<Played>) -> Vec<SocketAddr> {
    let events = worker.events().into_iter();
    let open =
        events.filter_map(
            |event| {
                if let Event::Opened(leg, _) = event { Some(leg.client) } else { None }
            },
        );
    open.collect()
}

fn say(worker: &mut Worker<Played>, hellos: &[Said]) {
    let coming: Vec<_> =
        hellos.iter().map(|(client, hello)| (LISTENER, *client, hello.as_slice())).collect();
    worker.arrive(&coming);
}

/// A hello in two fragments.
fn in_two((client, hello): &Said) -> (Said, Said) {
    let (header, body) = (&hello[13..25], &hello[25..]);
    let half = body.len() - 40;
    let fragment = |number: u8, offset: usize, part: &[u8]| {
        let length = ((12 + part.len()) as u16).to_be_bytes();
        let record = [&hello[..10], &[number + 5], &length[..]].concat();
        let three = |number: usize| number.to_be_bytes()[5..].to_vec();
        (*client, [&record, &header[..6], &three(offset), &three(part.len()), part].concat())
    };
    (fragment(0, 0, &body[..half]), fragment(1, half, &body[half..]))
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
    assert_eq!(worker.drops(Drop::DtlsHandshake), (MANY - few - 1) as u64);
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
    assert_eq!(worker.waiting.len(), MANY - 2 * HANDSHAKES as usize);
    answered(&mut worker);
    worker.arrive(&[]);
    assert_eq!(answered(&mut worker), [hellos[MANY - 2].0, *client]);
    assert!(worker.waiting.is_empty());
}

#[test]
fn a_turn_goes_on_with_few_handshakes_and_nothing_of_the_others_is_lost() {
    let (mut worker, mut clients, hellos) = with_clients();
    say(&mut worker, &hellos);
    while worker.has_more() {
        worker.arrive(&[]);
    }
    clients.truncate(HANDSHAKES as usize + 1);
    let mut next = Vec::new();
    for (address, client) in &mut clients {
        let flight = worker.driver.left.iter().filter(|(to, _)| to == address);
        let flight: Vec<_> = flight.map(|(_, datagram)| datagram.clone()).collect();
        next.extend(client.step(&flight).0.into_iter().map(|said| (*address, said)));
    }
    next.retain(|(_, said)| hello_random(said).is_none()); // said again, by a clock of its own
    say(&mut worker, &next);
    let mut open = opened(&worker);
    assert!(open.len() < clients.len());
    while worker.has_more() {
        worker.arrive(&[]);
        open.extend(opened(&worker));
    }
    assert_eq!(open, clients.iter().map(|(address, _)| *address).collect::<Vec<_>>());
    assert_eq!(worker.drops(Drop::DtlsHandshake), 0);
}

#[test]
fn a_hello_in_fragments_waits_as_others_do() {
    let (mut worker, hellos) = with_cookies();
    let few = HANDSHAKES as usize;
    let (first, last): (Vec<_>, Vec<_>) = hellos.iter().map(in_two).unzip();
    for hello in first {
        say(&mut worker, &[hello]);
    }
    assert!(answered(&mut worker).is_empty());
    say(&mut worker, &last);
    assert_eq!(answered(&mut worker).len(), few);
    while worker.has_more() {
        worker.arrive(&[]);
    }
    assert_eq!(answered(&mut worker).len(), MANY - few, "whose turn had not come");
}

#[test]
fn what_a_handshake_keeps_is_bounded() {
    let (mut worker, hellos) = with_cookies();
    say(&mut worker, &hellos);
    let (client, _) = hellos.last().unwrap();
    let junk = |length| (*client, [&[22, 254, 253][..], &vec![0; length]].concat());
    say(&mut worker, &[junk(4_096), junk(10), junk(10), junk(10), junk(10), junk(10)]);
    assert_eq!(worker.drops(Drop::DtlsHandshake), 2, "one too long, one too many");
}
