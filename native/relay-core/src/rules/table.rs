//! A worker's tables: five-tuples with relays, relays, and what the two let pass.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::bucket::Purse;
use super::protection::Protection;
use super::relay::{Channel, Client, Relay, RelayShared, Way};
use crate::address::RawAddress;
use crate::io::Token;
use crate::io::outbox::RunMark;
use crate::leg::{Host, Leg};
use crate::places::Places;
use crate::time::Nanos;

/// Relays that one `tidy` looks at.
const TIDY_BATCH: u32 = 2_000;

/// What a client's datagram is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpKey {
    /// The listener, by its index among the worker's.
    pub listener: u32,
    /// Who sent it.
    pub client: SocketAddr,
    /// Which address of ours it was sent to, where the listener is bound to all of them.
    pub local: Option<IpAddr>,
}

/// What a new relay consists of.
#[derive(Debug)]
pub struct NewRelay {
    /// Its handle.
    pub id: u64,
    /// Its bound socket.
    pub socket: OwnedFd,
    /// The family of the address it is bound to.
    pub is_ipv4: bool,
    /// What it draws bandwidth from.
    pub purses: Vec<Purse>,
    /// What is known of it outside.
    pub shared: Arc<RelayShared>,
}

/// Who a relay is given to, should he not be known yet.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// Which five-tuple.
    pub leg: Leg,
    /// How packets reach it.
    pub way: Way,
    /// What its datagrams are looked up by; none for a stream.
    pub key: Option<UdpKey>,
    /// Index of the ledger that its packets are counted in.
    pub ledger: u32,
}

/// A relay on its way from one client to another, with the channels that go along.
#[derive(Debug)]
pub struct Moving {
    relay: Relay,
    channels: Vec<Channel>,
}

impl Moving {
    /// The relay itself.
    pub fn relay_mut(&mut self) -> &mut Relay {
        &mut self.relay
    }
}

/// All relays of one worker.
#[derive(Debug, Default)]
pub struct Table {
    /// Five-tuples that have relays.
    pub clients: Places<Client>,
    /// Relays.
    pub relays: Places<Relay>,
    by_udp: HashMap<UdpKey, u32, foldhash::quality::RandomState>,
    by_id: HashMap<u64, u32, foldhash::quality::RandomState>,
    /// What is protected; to be replaced by `protect`.
    pub protection: Arc<Protection>,
    untidied: u32,
}

impl Table {
    /// The client that a datagram is of, if it has a relay.
    #[must_use]
    pub fn client_of(&self, key: &UdpKey) -> Option<u32> {
        self.by_udp.get(key).copied()
    }

    /// Where a relay is.
    #[must_use]
    pub fn place_of(&self, id: u64) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// A relayed transport address is bound. Returns its place.
    pub fn add(&mut self, new: NewRelay) -> u32 {
        let id = new.id;
        let place = self.relays.add(|place, generation| Relay {
            id,
            token: Token::relay(place, generation),
            socket: new.socket,
            client: None,
            permissions: Vec::new(),
            channels: Vec::new(),
            purses: new.purses,
            run: RunMark::default(),
            runs: true,
            watched: false,
            shared: new.shared,
            is_ipv4: new.is_ipv4,
        });
        self.by_id.insert(id, place);
        place
    }

    /// Gives a relay to a client, who is new unless `client` names it. Returns the client's place,
    /// and the client that lost its last relay by that.
    pub fn assign(
        &mut self,
        relay: u32,
        client: Option<u32>,
        newcomer: Newcomer,
    ) -> (u32, Option<Client>) {
        let client = client.unwrap_or_else(|| self.add_client(newcomer));
        let former = self.relays.get(relay).and_then(|relay| relay.client);
        if former == Some(client) {
            return (client, None);
        }
        let (channels, idle) = self.leave(relay);
        if let Some(tenant) = self.clients.get_mut(client) {
            tenant.relays.push(relay);
        }
        if let Some(relay) = self.relays.get_mut(relay) {
            relay.client = Some(client);
        }
        for channel in channels {
            self.insert(client, channel);
        }
        (client, idle)
    }

    fn add_client(&mut self, newcomer: Newcomer) -> u32 {
        let Newcomer { leg, way, key, ledger } = newcomer;
        let place = self.clients.add(|_, _| Client {
            leg,
            way,
            key,
            ledger,
            relays: Vec::with_capacity(1),
            channels: Vec::new(),
            run: RunMark::default(),
            runs: true,
        });
        if let Some(key) = key {
            self.by_udp.insert(key, place);
        }
        place
    }

    /// Takes a relay and its channels from its client. Returns the channels, and the client when
    /// that was its last relay.
    fn leave(&mut self, relay: u32) -> (Vec<Channel>, Option<Client>) {
        let Some(client) = self.relays.get_mut(relay).and_then(|relay| {
            relay.channels.clear();
            relay.client.take()
        }) else {
            return (Vec::new(), None);
        };
        let Some(tenant) = self.clients.get_mut(client) else {
            return (Vec::new(), None);
        };
        let channels = tenant.channels.extract_if(.., |channel| channel.relay == relay).collect();
        tenant.relays.retain(|other| *other != relay);
        if !tenant.relays.is_empty() {
            return (channels, None);
        }
        if let Some(key) = tenant.key {
            self.by_udp.remove(&key);
        }
        (channels, self.clients.remove(client))
    }

    /// Forgets a relay. Returns it, and its client when that was the client's last relay.
    pub fn remove(&mut self, id: u64) -> Option<(Relay, Option<Client>)> {
        let (moving, idle) = self.take(id)?;
        Some((moving.relay, idle))
    }

    /// Takes a relay out with its channels, for another worker.
    pub fn take(&mut self, id: u64) -> Option<(Moving, Option<Client>)> {
        let place = self.by_id.remove(&id)?;
        let (channels, idle) = self.leave(place);
        let relay = self.relays.remove(place)?;
        Some((Moving { relay, channels }, idle))
    }

    /// Puts a relay in that another worker took out. Returns its
    /// place and its client's.
    pub fn put(&mut self, moving: Moving, client: Option<u32>, newcomer: Newcomer) -> (u32, u32) {
        let Moving { relay, channels } = moving;
        let place = self.relays.add(|place, generation| Relay {
            token: Token::relay(place, generation),
            watched: false,
            client: None,
            channels: Vec::new(),
            ..relay
        });
        if let Some(relay) = self.relays.get(place) {
            self.by_id.insert(relay.id, place);
        }
        let (client, _) = self.assign(place, client, newcomer);
        for channel in channels {
            self.insert(client, Channel { relay: place, ..channel });
        }
        (place, client)
    }

    /// Installs, extends or, with a deadline that has passed, removes a permission.
    pub fn permit(&mut self, id: u64, host: Host, deadline: Nanos, now: Nanos) {
        if let Some(relay) = self.place_of(id).and_then(|place| self.relays.get_mut(place)) {
            relay.permit(host, deadline, now);
        }
    }

    /// Installs, extends or, with a deadline that has passed, removes a channel binding. A number
    /// has one peer and a peer one number (section 12): what stood in the way goes.
    pub fn bind_channel(
        &mut self,
        id: u64,
        number: u16,
        peer: SocketAddr,
        deadline: Nanos,
        now: Nanos,
    ) {
        let Some(place) = self.place_of(id) else {
            return;
        };
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        let Some(client) = relay.client else { return };
        if let Some(known) = relay.number_of(self.protection.target(peer)) {
            if known == number && now < deadline {
                let channel =
                    self.clients.get_mut(client).and_then(|tenant| tenant.channel(number));
                if let Some(channel) = channel {
                    channel.deadline = deadline;
                    return;
                }
            }
            self.unbind(client, known);
        }
        self.unbind(client, number);
        if now < deadline {
            let raw = RawAddress::EMPTY;
            let run = RunMark::default();
            let channel = Channel {
                number,
                relay: place,
                peer,
                target: peer,
                raw,
                deadline,
                guarded: true,
                run,
            };
            self.insert(client, channel);
        }
    }

    /// Puts a channel in, as what is protected now makes it.
    fn insert(&mut self, client: u32, mut channel: Channel) {
        channel.target = self.protection.target(channel.peer);
        channel.raw = RawAddress::from(channel.target);
        channel.guarded = self.protection.is_guarded(channel.peer);
        self.unbind(client, channel.number);
        let namesake =
            self.relays.get(channel.relay).and_then(|relay| relay.number_of(channel.target));
        if let Some(namesake) = namesake {
            // Two peers have become one: the same port by its announced and its bound host.
            self.unbind(client, namesake);
        }
        let (Some(relay), Some(tenant)) =
            (self.relays.get_mut(channel.relay), self.clients.get_mut(client))
        else {
            return;
        };
        let at = relay.channels.partition_point(|(known, _)| *known < channel.target);
        relay.channels.insert(at, (channel.target, channel.number));
        let (Ok(at) | Err(at)) = tenant.find(channel.number);
        tenant.channels.insert(at, channel);
    }

    fn unbind(&mut self, client: u32, number: u16) {
        let Some(tenant) = self.clients.get_mut(client) else {
            return;
        };
        let Ok(index) = tenant.find(number) else {
            return;
        };
        let channel = tenant.channels.remove(index);
        if let Some(relay) = self.relays.get_mut(channel.relay) {
            relay.channels.retain(|(_, known)| *known != number);
        }
    }

    /// What may never be reached; targets of all channels are made anew.
    pub fn protect(&mut self, protection: Arc<Protection>) {
        self.protection = protection;
        for relay in self.relays.iter_mut() {
            relay.channels.clear();
        }
        let places: Vec<u32> = self.clients.iter().map(|(place, _)| place).collect();
        for place in places {
            let channels =
                self.clients.get_mut(place).map(|tenant| std::mem::take(&mut tenant.channels));
            for channel in channels.into_iter().flatten() {
                self.insert(place, channel);
            }
        }
    }

    /// What does not fit together, for tests: nothing ever.
    ///
    /// # Errors
    /// In words, what does not.
    pub fn audit(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(what.to_owned());
        for (place, client) in self.clients.iter() {
            if client.relays.is_empty() {
                return wrong("a client without a relay");
            }
            if !client.channels.is_sorted_by(|one, next| one.number < next.number) {
                return wrong("channels of a client out of order");
            }
            if client.key.is_some_and(|key| self.by_udp.get(&key) != Some(&place)) {
                return wrong("a client that its datagrams do not find");
            }
            let relays: Vec<&Relay> =
                client.relays.iter().filter_map(|relay| self.relays.get(*relay)).collect();
            if relays.len() != client.relays.len()
                || relays.iter().any(|relay| relay.client != Some(place))
            {
                return wrong("a relay that is not its client's");
            }
            let known: usize = relays.iter().map(|relay| relay.channels.len()).sum();
            let found = client.channels.iter().filter(|channel| {
                let relay = self.relays.get(channel.relay);
                relay.is_some_and(|relay| relay.number_of(channel.target) == Some(channel.number))
            });
            if known != client.channels.len() || found.count() != known {
                return wrong("a channel that its peer does not find");
            }
        }
        for (place, relay) in self.relays.iter() {
            if self.by_id.get(&relay.id) != Some(&place) {
                return wrong("a relay that its handle does not find");
            }
            let owned = relay.client.and_then(|client| self.clients.get(client));
            if relay.client.is_some() && !owned.is_some_and(|c| c.relays.contains(&place)) {
                return wrong("a relay whose client does not know it");
            }
            if !relay.permissions.is_sorted_by(|one, next| one.0 < next.0) {
                return wrong("permissions out of order");
            }
        }
        if self.by_udp.len() > self.clients.len() || self.by_id.len() != self.relays.len() {
            return wrong("an index that remembers too much");
        }
        Ok(())
    }

    /// Drops expired permissions and channels of a bounded number of relays; only saves memory.
    pub fn tidy(&mut self, now: Nanos) {
        let begin = if self.untidied < self.relays.capacity() { self.untidied } else { 0 };
        let end = self.relays.capacity().min(begin.saturating_add(TIDY_BATCH));
        self.untidied = end;
        for place in begin..end {
            let Some(relay) = self.relays.get_mut(place) else {
                continue;
            };
            relay.permissions.retain(|(_, deadline)| now < *deadline);
            let Some(client) = relay.client else { continue };
            let Some(tenant) = self.clients.get(client) else {
                continue;
            };
            let ended = tenant.channels.iter().filter(|channel| now >= channel.deadline);
            let numbers: Vec<u16> = ended.map(|channel| channel.number).collect();
            for number in numbers {
                self.unbind(client, number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        };
        let way = Way::Datagrams { listener: 0, to: RawAddress::from(client) };
        let key = Some(UdpKey { listener: 0, client, local: None });
        Newcomer { leg, way, key, ledger: 0 }
    }

    fn new_relay(id: u64) -> NewRelay {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
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
}
