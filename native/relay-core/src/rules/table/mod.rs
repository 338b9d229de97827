//! A worker's tables: five-tuples with relays, relays, and what the two let pass.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::bucket::Purse;
use super::protection::Protection;
use super::relay::{Channel, Client, IcmpRate, Relay, RelayShared, Way};
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
    /// Whose it is.
    pub client: SocketAddr,
    /// The proxy that sent it, where it was not the client.
    pub via: Option<SocketAddr>,
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
            icmp: IcmpRate::default(),
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

    /// Puts a relay in that another worker took out. Returns its place and its client's.
    pub fn put(&mut self, moving: Moving, client: Option<u32>, newcomer: Newcomer) -> (u32, u32) {
        let Moving { relay, channels } = moving;
        let place = self.relays.add(|place, generation| Relay {
            token: Token::relay(place, generation),
            watched: false,
            client: None,
            channels: Vec::new(),
            run: RunMark::default(), // the former was another outbox's
            ..relay
        });
        if let Some(relay) = self.relays.get(place) {
            self.by_id.insert(relay.id, place);
        }
        let (client, _) = self.assign(place, client, newcomer);
        for channel in channels {
            self.insert(client, Channel { relay: place, run: RunMark::default(), ..channel });
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
mod tests;
