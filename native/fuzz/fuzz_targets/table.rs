//! Any sequence of orders on the tables: they always fit together, and none of them grows beyond
//! what was put in.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use relay_core::address::RawAddress;
use relay_core::leg::{Host, Leg, Transport};
use relay_core::rules::protection::Protection;
use relay_core::rules::relay::{RelayShared, Way};
use relay_core::rules::table::{NewRelay, Newcomer, Table, UdpKey};

fuzz_target!(|data: &[u8]| {
    let mut tables = [Table::default(), Table::default()];
    let mut now = 1_000;
    let (mut opened, mut closed) = (0, 0);
    for order in data.chunks_exact(4) {
        let table = usize::from(order[0] >> 7);
        // Few handles, peers and numbers: most of what can stand in each other's way then does.
        let (id, peer, number) = (u64::from(order[1] % 8), peer(order[2]), u16::from(order[2] % 5));
        let deadline = now + u64::from(order[3]);
        let tables = &mut tables;
        match order[0] & 0x7F {
            0..=19 => {
                if tables.iter().all(|table| table.place_of(id).is_none()) {
                    open(&mut tables[table], id, order[2]);
                    opened += 1;
                }
            }
            20..=39 => tables[table].permit(id, Host::from(peer), deadline, now),
            40..=69 => tables[table].bind_channel(id, 0x4000 + number, peer, deadline, now),
            70..=84 => closed += usize::from(tables[table].remove(id).is_some()),
            85..=94 => assign(&mut tables[table], id, order[2]),
            95..=104 => hand_over(tables, table, id, order[2]),
            105..=114 => tables[table].tidy(now),
            115..=119 => tables[table].protect(Arc::new(protection(order[2]))),
            _ => now += u64::from(order[3]),
        }
        for table in tables {
            table.audit().expect("the tables fit together");
        }
    }
    for id in 0..8 {
        closed += tables.iter_mut().filter_map(|table| table.remove(id)).count();
    }
    assert!(tables.iter().all(|table| table.relays.is_empty() && table.clients.is_empty()));
    assert_eq!(opened, closed);
});

fn peer(seed: u8) -> SocketAddr {
    let host = Ipv4Addr::new(10, 0, 0, seed % 3);
    SocketAddr::from((host, u16::from(seed % 7) + 1))
}

fn protection(seed: u8) -> Protection {
    let host = |last| IpAddr::from([10, 0, 0, last]);
    let own = [(host(seed % 3), host(seed / 3 % 3))];
    Protection::new(&[peer(seed)], &own[..usize::from(seed % 2)])
}

fn newcomer(seed: u8) -> Newcomer {
    let client = SocketAddr::from(([192, 0, 2, 1], u16::from(seed % 4)));
    let local = SocketAddr::from(([192, 0, 2, 9], 3478));
    let leg = Leg { listener: 1, transport: Transport::Udp, local, client, stream: 0, via: None };
    let way = Way::Datagrams { listener: 0, to: RawAddress::from(client) };
    Newcomer {
        leg,
        way,
        key: Some(UdpKey { listener: 0, client, via: None, local: None }),
        ledger: 0,
    }
}

fn open(table: &mut Table, id: u64, seed: u8) {
    let socket: OwnedFd = std::fs::File::open("/dev/null").expect("a descriptor").into();
    let shared = Arc::new(RelayShared::new(u64::MAX));
    table.add(NewRelay { id, socket, is_ipv4: true, purses: Vec::new(), shared });
    if seed < 200 {
        assign(table, id, seed);
    }
}

fn assign(table: &mut Table, id: u64, seed: u8) {
    let Some(place) = table.place_of(id) else { return };
    let newcomer = newcomer(seed);
    let client = newcomer.key.and_then(|key| table.client_of(&key));
    table.assign(place, client, newcomer);
}

fn hand_over(tables: &mut [Table; 2], from: usize, id: u64, seed: u8) {
    let Some((moving, _)) = tables[from].take(id) else { return };
    let to = &mut tables[1 - from];
    let newcomer = newcomer(seed);
    let client = newcomer.key.and_then(|key| to.client_of(&key));
    to.put(moving, client, newcomer);
}
