use super::*;
use crate::leg::Transport;
use crate::rules::relay::find;
use crate::time::SECOND;

const NOW: Nanos = 100 * SECOND;
const LATER: Nanos = 200 * SECOND;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn newcomer(port: u16) -> Newcomer {
    let client = SocketAddr::from(([192, 0, 2, 9], port));
    let leg = Leg {
        listener: 1,
        transport: Transport::Udp,
        local: at("127.0.0.1:3478"),
        client,
        stream: 0,
        via: None,
    };
    let way = Way::Datagrams { listener: 0, to: RawAddress::from(client) };
    let key = Some(UdpKey { listener: 0, client, via: None, local: None });
    Newcomer { leg, way, key, ledger: 0 }
}

fn new_relay(id: u64) -> NewRelay {
    // Any descriptor does: nothing is sent by a table.
    let socket = std::fs::File::open("/dev/null").unwrap().into();
    let shared = Arc::new(RelayShared::new(LATER));
    NewRelay { id, socket, is_ipv4: true, purses: Vec::new(), shared }
}

/// A table with relay 1 of the client with port 1.
fn table() -> (Table, u32) {
    let mut table = Table::default();
    let place = table.add(new_relay(1));
    let (client, _) = table.assign(place, None, newcomer(1));
    (table, client)
}

fn numbers(table: &Table, client: u32) -> Vec<u16> {
    table.clients.get(client).unwrap().channels.iter().map(|channel| channel.number).collect()
}

#[test]
fn a_client_is_found_as_long_as_it_has_a_relay() {
    let (mut table, client) = table();
    let key = newcomer(1).key.unwrap();
    assert_eq!(table.client_of(&key), Some(client));
    let (relay, idle) = table.remove(1).unwrap();
    assert_eq!(relay.id, 1);
    assert_eq!(idle.unwrap().leg, newcomer(1).leg);
    assert_eq!(table.client_of(&key), None);
    assert!(table.remove(1).is_none());
}

#[test]
fn a_token_of_a_former_tenant_finds_nobody() {
    let (mut table, _) = table();
    let token = table.relays.get(0).unwrap().token;
    assert!(find(&mut table.relays, token).is_some());
    table.remove(1);
    table.add(new_relay(2));
    assert!(find(&mut table.relays, token).is_none());
}

#[test]
fn permissions_come_and_go() {
    let (mut table, _) = table();
    let host = Host::from(at("198.51.100.1:0"));
    table.permit(1, host, LATER, NOW);
    assert!(table.relays.get(0).unwrap().permits(host, LATER - 1));
    assert!(!table.relays.get(0).unwrap().permits(host, LATER));
    table.permit(1, host, LATER + 5, NOW);
    assert!(table.relays.get(0).unwrap().permits(host, LATER));
    table.permit(1, host, NOW, NOW);
    assert!(table.relays.get(0).unwrap().permissions.is_empty());
    table.permit(1, host, NOW, NOW);
    table.permit(9, host, LATER, NOW);
}

#[test]
fn a_number_has_one_peer_and_a_peer_one_number() {
    let (mut table, client) = table();
    let (one, other) = (at("198.51.100.1:5"), at("198.51.100.2:5"));
    table.bind_channel(1, 0x4000, one, LATER, NOW);
    table.bind_channel(1, 0x4001, other, LATER, NOW);
    assert_eq!(numbers(&table, client), [0x4000, 0x4001]);
    table.bind_channel(1, 0x4002, one, LATER, NOW);
    assert_eq!(numbers(&table, client), [0x4001, 0x4002]);
    table.bind_channel(1, 0x4001, one, LATER, NOW);
    assert_eq!(numbers(&table, client), [0x4001]);
    assert_eq!(table.relays.get(0).unwrap().number_of(one), Some(0x4001));
    assert_eq!(table.relays.get(0).unwrap().number_of(other), None);
    table.bind_channel(1, 0x4001, one, NOW, NOW);
    assert_eq!(numbers(&table, client), []);
    assert!(table.relays.get(0).unwrap().channels.is_empty());
}

#[test]
fn relays_of_both_families_share_the_numbers() {
    let (mut table, client) = table();
    let second = table.add(new_relay(2));
    assert_eq!(table.assign(second, Some(client), newcomer(1)).0, client);
    table.bind_channel(1, 0x4000, at("198.51.100.1:5"), LATER, NOW);
    table.bind_channel(2, 0x4000, at("[2001:db8::1]:5"), LATER, NOW);
    assert_eq!(numbers(&table, client), [0x4000]);
    assert!(table.relays.get(0).unwrap().channels.is_empty());
    assert!(table.remove(2).unwrap().1.is_none());
    assert_eq!(numbers(&table, client), []);
}

#[test]
fn a_moved_relay_takes_its_channels_and_permissions_along() {
    let (mut table, _) = table();
    let host = Host::from(at("198.51.100.1:0"));
    table.permit(1, host, LATER, NOW);
    table.bind_channel(1, 0x4000, at("198.51.100.1:5"), LATER, NOW);
    let (client, idle) = table.assign(0, None, newcomer(2));
    assert_eq!(idle.unwrap().leg, newcomer(1).leg);
    assert_eq!(numbers(&table, client), [0x4000]);
    assert_eq!(table.client_of(&newcomer(1).key.unwrap()), None);
    assert_eq!(table.assign(0, Some(client), newcomer(2)).0, client);

    let mut elsewhere = Table::default();
    let (moving, idle) = table.take(1).unwrap();
    assert!(idle.is_some());
    let (place, _) = elsewhere.put(moving, None, newcomer(3));
    let client = elsewhere.client_of(&newcomer(3).key.unwrap()).unwrap();
    assert_eq!(numbers(&elsewhere, client), [0x4000]);
    assert_eq!(elsewhere.place_of(1), Some(place));
    let relay = elsewhere.relays.get(place).unwrap();
    assert!(relay.permits(host, NOW));
    assert_eq!(relay.number_of(at("198.51.100.1:5")), Some(0x4000));
}

#[test]
fn what_is_protected_changes_targets() {
    let (mut table, client) = table();
    let announced = at("203.0.113.5:7");
    table.bind_channel(1, 0x4000, announced, LATER, NOW);
    table.bind_channel(1, 0x4001, at("10.0.0.5:7"), LATER, NOW);
    assert!(!table.clients.get_mut(client).unwrap().channel(0x4000).unwrap().guarded);
    let own = [("203.0.113.5".parse().unwrap(), "10.0.0.5".parse().unwrap())];
    table.protect(Arc::new(Protection::new(&[], &own)));
    assert_eq!(numbers(&table, client).len(), 1, "two peers have become one");
    let number = numbers(&table, client)[0];
    let channel = table.clients.get_mut(client).unwrap().channel(number).unwrap();
    assert!(channel.guarded);
    assert_eq!(channel.raw.get(), Some(at("10.0.0.5:7")));
    assert_eq!(table.relays.get(0).unwrap().number_of(at("10.0.0.5:7")), Some(number));
}

#[test]
fn tidying_drops_what_has_expired() {
    let (mut table, client) = table();
    table.permit(1, Host::from(at("198.51.100.1:0")), LATER, NOW);
    table.bind_channel(1, 0x4000, at("198.51.100.1:5"), LATER, NOW);
    table.bind_channel(1, 0x4001, at("198.51.100.1:6"), LATER + 1, NOW);
    table.tidy(LATER);
    assert_eq!(numbers(&table, client), [0x4001]);
    assert!(table.relays.get(0).unwrap().permissions.is_empty());
    table.tidy(LATER + 1);
    assert_eq!(numbers(&table, client), []);
}
