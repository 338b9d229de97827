//! What a batch will need is looked up first.

use super::*;
use crate::forward::warming::MANY;

fn datagram(socket: Token, from: &str) -> Datagram {
    let from = at(from);
    let (slot, start, via, to) = (0, 0, None, None);
    let (fields, received) = (Fields::default(), 0);
    Datagram { socket, slot, start, len: 1, segment: 1, from, via, to, fields, received }
}

/// A bench with so many more clients, each with a relay and no channel.
fn crowd(others: u32) -> Bench {
    let mut bench = Bench::new();
    for number in 0..others {
        let (id, shared) = (u64::from(number) + 2, Arc::new(RelayShared::new(LATER[2])));
        let new = NewRelay { id, socket: descriptor(), is_ipv4: true, purses: Vec::new(), shared };
        let place = bench.forwarder.table.add(new);
        let client = SocketAddr::new([192, 0, 2, 10].into(), number as u16 + 1);
        let leg = Leg {
            listener: 7,
            transport: Transport::Udp,
            local: at("203.0.113.1:3478"),
            client,
            stream: 0,
            via: None,
        };
        let way = Way::Datagrams { listener: 0, to: client.into() };
        let key = Some(UdpKey { listener: 0, client, via: None, local: None });
        bench.forwarder.table.assign(place, None, Newcomer { leg, way, key, ledger: 0 });
    }
    bench
}

#[test]
fn clients_and_relays_of_a_batch_are_looked_up_with_all_that_belongs_to_them() {
    let mut bench = crowd(MANY);
    let (listener, relay) = (Token::listener(0), bench.token);
    let gone = Token::relay(u32::MAX, 1);
    bench.forwarder.warm(&[
        datagram(listener, "192.0.2.10:5"),
        datagram(listener, "192.0.2.200:5"),
        datagram(relay, PEER),
        datagram(gone, PEER),
        datagram(listener, Bench::CLIENT),
    ]);
    assert_eq!(bench.forwarder.warming.relays, [5, 0, 0]);
}

#[test]
fn a_single_packet_and_a_small_server_are_not_worth_it() {
    let mut bench = crowd(MANY);
    bench.forwarder.warm(&[datagram(bench.token, PEER)]);
    assert!(bench.forwarder.warming.relays.is_empty());
    let mut bench = crowd(3);
    bench.forwarder.warm(&[datagram(bench.token, PEER), datagram(bench.token, PEER)]);
    assert!(bench.forwarder.warming.relays.is_empty());
}
