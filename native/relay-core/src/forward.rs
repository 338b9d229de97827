//! Moves packets by the tables, in either direction: looked up once for all datagrams that the
//! kernel merged, and put into the outbox from where they lie.
//!
//! What is looked up here is precomputed in the tables; whatever is rare has a function of its own.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use crate::address::RawAddress;
use crate::connection::Connection;
use crate::counters::{Count, Drop, Drops, Traffic};
use crate::histogram::Histogram;
use crate::io::arena::Arena;
use crate::io::outbox::{Envelope, Outbox, Piece, RunMark};
use crate::io::{Datagram, Token};
use crate::leg::{Host, Leg, Transport};
use crate::places::Places;
use crate::rules::bucket;
use crate::rules::budget::AnswerBudget;
use crate::rules::protection::{LocalHosts, Relayed};
use crate::rules::relay::{Client, Way, find};
use crate::rules::table::{Table, UdpKey};
use crate::time::Nanos;
use crate::wire::binding::{BindingRequest, binding_success};
use crate::wire::data::{LARGEST_HEAD, channel_header, data_indication_head, encode_icmp, padding};
use crate::wire::message::{CHANNEL_HEADER_SIZE, Datagram as Message, classify_untrusted};
use crate::wire::send::decode_send_untrusted;

/// What all workers of an engine see.
#[derive(Debug)]
pub struct Surroundings {
    /// Every relayed transport address at this moment.
    pub relayed: Relayed,
    /// Which hosts are addresses of this machine.
    pub local: LocalHosts,
    /// What strangers may be answered.
    pub budget: AnswerBudget,
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Packets that went no further.
    pub drops: Drops,
    /// How long packets spend inside.
    pub latency: Histogram,
    /// Plain Binding requests that were answered.
    pub bindings: Count,
    /// Those that the budget held back.
    pub over_budget: Count,
    /// Faults of ours that a turn ended with.
    pub faults: Count,
}

/// One listener of one worker.
#[derive(Debug)]
pub struct Listener {
    /// Its handle.
    pub id: u64,
    /// Its socket; the engine sends answers by it as well.
    pub socket: Arc<OwnedFd>,
    /// Whether this worker receives by it; else its packets are passed on by one who does.
    pub receives: bool,
    /// Where it is bound.
    pub endpoint: SocketAddr,
    /// Index of its ledger.
    pub ledger: u32,
}

/// What remains to be done about a packet of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Done,
    /// A plain Binding request is to be answered.
    Answer(BindingRequest),
    /// Python is to decide.
    Decide,
}

/// Bytes of a packet or frame of a client: where they lie, and when they came.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    /// The slot.
    pub slot: u32,
    /// Where in it.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// When the kernel received it, if that is measured; else 0.
    pub received: Nanos,
}

impl Inbound {
    /// The bytes.
    #[must_use]
    pub fn bytes<'a>(&self, arena: &'a Arena) -> &'a [u8] {
        &arena.bytes(self.slot, self.start + self.len)[self.start..]
    }

    fn piece(&self, from: usize, len: usize) -> Piece {
        Piece::of_slot(self.slot, (self.start + from) as i32, len)
    }
}

/// The tables of one worker with what leaves by them.
pub struct Forwarder {
    /// Relays and their clients.
    pub table: Table,
    /// What leaves at the end of the turn.
    pub outbox: Outbox,
    /// The UDP endpoints of clients.
    pub listeners: Vec<Option<Listener>>,
    /// TCP and TLS connections.
    pub connections: Places<Connection>,
    /// Streams with something to send when the turn ends, by place.
    pub unflushed: Vec<u32>,
    /// What was relayed, by the listener and transport of the client's leg.
    pub ledgers: Vec<Arc<Traffic>>,
    /// What is counted beside.
    pub counters: Arc<WorkerCounters>,
    /// What all workers see.
    pub around: Arc<Surroundings>,
    random: fastrand::Rng,
}

impl Forwarder {
    /// Empty tables.
    #[must_use]
    pub fn new(counters: Arc<WorkerCounters>, around: Arc<Surroundings>) -> Self {
        Self {
            table: Table::default(),
            outbox: Outbox::default(),
            listeners: Vec::new(),
            connections: Places::default(),
            unflushed: Vec::new(),
            ledgers: Vec::new(),
            counters,
            around,
            random: fastrand::Rng::new(),
        }
    }

    /// The client that a datagram of a listener is of, if it has a relay.
    #[must_use]
    pub fn client_of(&self, datagram: &Datagram) -> Option<u32> {
        let listener = datagram.socket.place() as u32;
        self.table.client_of(&UdpKey { listener, client: datagram.from, local: datagram.to })
    }

    /// The leg of a datagram of a listener.
    #[must_use]
    pub fn leg_of(&self, datagram: &Datagram) -> Option<Leg> {
        let listener = self.listeners.get(datagram.socket.place())?.as_ref()?;
        let local = match datagram.to {
            Some(host) => SocketAddr::new(host, listener.endpoint.port()),
            None => listener.endpoint,
        };
        let (listener, client) = (listener.id, datagram.from);
        Some(Leg { listener, transport: Transport::Udp, local, client, stream: 0 })
    }

    fn drop_of(&self, relay: u32, reason: Drop, packets: u64) {
        self.counters.drops.add(reason, packets);
        if let Some(relay) = self.table.relays.get(relay) {
            relay.shared.drops.add(reason, packets);
        }
    }

    /// Handles a packet or frame of a client, which has a relay if it has a place.
    pub fn from_client(
        &mut self,
        arena: &Arena,
        client: Option<u32>,
        inbound: Inbound,
        now: Nanos,
    ) -> Verdict {
        let bytes_untrusted = inbound.bytes(arena);
        match classify_untrusted(bytes_untrusted) {
            Message::ChannelData { number, data } => {
                let data = inbound.piece(CHANNEL_HEADER_SIZE, data.len());
                self.channel_data(client, number, data, inbound.received, now);
                Verdict::Done
            }
            Message::Junk => {
                self.counters.drops.add(Drop::NotStun, 1);
                Verdict::Done
            }
            Message::Stun(stun) if stun.is_send_indication() => {
                self.send_indication(client, bytes_untrusted, inbound, now);
                Verdict::Done
            }
            Message::Stun(stun) => {
                match crate::wire::binding::plain_binding_untrusted(stun.bytes()) {
                    Some(request) => Verdict::Answer(request),
                    None => Verdict::Decide,
                }
            }
        }
    }

    fn channel_data(
        &mut self,
        client: Option<u32>,
        number: u16,
        data: Piece,
        received: Nanos,
        now: Nanos,
    ) {
        let Some(tenant) = client.and_then(|place| self.table.clients.get_mut(place)) else {
            return self.counters.drops.add(Drop::NoAllocation, 1);
        };
        let ledger = tenant.ledger;
        let Some(channel) = tenant.channel(number).filter(|channel| now < channel.deadline) else {
            return self.counters.drops.add(Drop::NoChannel, 1);
        };
        let place = channel.relay;
        let Some(relay) = self.table.relays.get_mut(place) else { return };
        let protection = &self.table.protection;
        let refusal = if now >= relay.shared.deadline() {
            Some(Drop::Expired)
        } else if channel.guarded
            && protection.is_forbidden(channel.peer, &self.around.relayed, &self.around.local, now)
        {
            Some(Drop::ForbiddenPeer)
        } else if !bucket::spend(&mut relay.purses, true, data.len(), now) {
            Some(Drop::Bandwidth)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.drop_of(place, reason, 1);
        }
        let envelope = Envelope {
            socket: relay.fd(),
            to: channel.raw,
            from: None,
            relay: relay.token,
            ledger,
            upward: true,
            dont_fragment: false,
            runs: relay.runs,
        };
        self.outbox.push(&mut channel.run, &envelope, &[data], data.len(), received);
    }

    fn send_indication(
        &mut self,
        client: Option<u32>,
        bytes_untrusted: &[u8],
        inbound: Inbound,
        now: Nanos,
    ) {
        let Some(tenant) = client.and_then(|place| self.table.clients.get_mut(place)) else {
            return self.counters.drops.add(Drop::NoAllocation, 1);
        };
        let Ok(send) = decode_send_untrusted(bytes_untrusted) else {
            return self.counters.drops.add(Drop::MalformedIndication, 1);
        };
        let relays = &self.table.relays;
        let of_family = tenant.relays.iter().copied().find(|place| {
            relays.get(*place).is_some_and(|relay| relay.is_ipv4 == send.peer.is_ipv4())
        });
        let Some(place) = of_family else {
            return self.counters.drops.add(Drop::NoPermission, 1);
        };
        let Some(relay) = self.table.relays.get_mut(place) else { return };
        let protection = &self.table.protection;
        let around = &self.around;
        let refusal = if !relay.permits(Host::from(send.peer), now) {
            Some(Drop::NoPermission)
        } else if now >= relay.shared.deadline() {
            Some(Drop::Expired)
        } else if protection.is_guarded(send.peer)
            && protection.is_forbidden(send.peer, &around.relayed, &around.local, now)
        {
            Some(Drop::ForbiddenPeer)
        } else if !bucket::spend(&mut relay.purses, true, send.data.len(), now) {
            Some(Drop::Bandwidth)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.drop_of(place, reason, 1);
        }
        let target = protection.target(send.peer);
        let envelope = Envelope {
            socket: relay.fd(),
            to: RawAddress::from(target),
            from: None,
            relay: relay.token,
            ledger: tenant.ledger,
            upward: true,
            dont_fragment: send.dont_fragment,
            runs: relay.runs,
        };
        let data = inbound.piece(send.data.start, send.data.len());
        // With a channel to the same peer its run is joined, so that order is kept.
        let number = relay.number_of(target);
        let mark = match number.and_then(|number| tenant.channel(number)) {
            Some(channel) => &mut channel.run,
            None => &mut relay.run,
        };
        self.outbox.push(mark, &envelope, &[data], data.len(), inbound.received);
    }

    /// Answers a plain Binding request by UDP, within the budget.
    pub fn answer_binding(&mut self, request: BindingRequest, datagram: &Datagram, now: Nanos) {
        if !self.around.budget.draw(datagram.from.ip(), now) {
            return self.counters.over_budget.add(1);
        }
        let Some(Some(listener)) = self.listeners.get(datagram.socket.place()) else { return };
        let envelope = Envelope {
            socket: listener.socket.as_raw_fd(),
            to: RawAddress::from(datagram.from),
            from: datagram.to,
            relay: Token::WAKE,
            ledger: listener.ledger,
            upward: false,
            dont_fragment: false,
            runs: false,
        };
        let answer = self.outbox.scratch_with(|scratch| {
            binding_success(&request, datagram.from, scratch);
        });
        self.outbox.push(&mut RunMark::default(), &envelope, &[answer], 0, 0);
        self.counters.bindings.add(1);
    }

    /// Handles datagrams of one peer that reached a relayed transport address (RFC 8656 sections
    /// 11.3 and 12.7).
    pub fn from_peer(&mut self, arena: &mut Arena, datagram: &Datagram, now: Nanos) {
        let packets = u64::from(datagram.len.div_ceil(datagram.segment.max(1)).max(1));
        let Some(relay) = find(&mut self.table.relays, datagram.socket) else { return };
        let place = datagram.socket.place() as u32;
        let number = relay.number_of(datagram.from);
        let tenant = relay.client.and_then(|client| self.table.clients.get_mut(client));
        let Some(tenant) = tenant.filter(|_| now < relay.shared.deadline()) else {
            return self.drop_of(place, Drop::Expired, packets);
        };
        let channel = number.and_then(|number| tenant.channel(number));
        let channel = channel.filter(|channel| now < channel.deadline);
        let number = channel.as_ref().map(|channel| channel.number);
        let peer = match channel {
            Some(channel) => channel.peer,
            None => self.table.protection.shown(datagram.from),
        };
        if !relay.permits(Host::from(peer), now) {
            return self.drop_of(place, Drop::NoPermission, packets);
        }
        let down = Down { place, number, peer, received: datagram.received };
        let (mut start, end) = (datagram.start, datagram.start + datagram.len);
        loop {
            let len = datagram.segment.min(end - start);
            // Before the first there is headroom; before the others is what waits to be sent.
            let headroom = start == datagram.start;
            self.to_client(
                arena,
                &down,
                Segment { slot: datagram.slot, start, len, headroom },
                now,
            );
            start += len;
            if start >= end {
                return;
            }
        }
    }

    fn to_client(&mut self, arena: &mut Arena, down: &Down, segment: Segment, now: Nanos) {
        let len = segment.len as usize;
        let Some(relay) = self.table.relays.get_mut(down.place) else { return };
        if !bucket::spend(&mut relay.purses, false, len, now) {
            return self.drop_of(down.place, Drop::Bandwidth, 1);
        }
        let mut head = [0; LARGEST_HEAD];
        let size = match down.number {
            Some(number) => {
                head[..CHANNEL_HEADER_SIZE].copy_from_slice(&channel_header(number, len as u16));
                CHANNEL_HEADER_SIZE
            }
            None => {
                let mut id = [0; 12];
                self.random.fill(&mut id);
                match data_indication_head(down.peer, &id, len, &mut head) {
                    Some(size) => size,
                    None => return self.drop_of(down.place, Drop::TooBig, 1),
                }
            }
        };
        let pad = if down.number.is_some() { 0 } else { padding(len) };
        let Some(tenant) = relay.client.and_then(|client| self.table.clients.get_mut(client))
        else {
            return;
        };
        let token = relay.token;
        match tenant.way {
            Way::Datagrams { .. } => {
                let message =
                    Outgoing { head: &head[..size], segment, pad, received: down.received };
                send_datagram(&mut self.outbox, &self.listeners, arena, tenant, token, &message);
            }
            Way::Stream(stream) => {
                let ledger = tenant.ledger as usize;
                let payload = &arena.bytes(segment.slot, (segment.start + segment.len) as usize)
                    [segment.start as usize..];
                let Some(connection) = self.connections.get_mut(stream) else { return };
                if connection.stream.queue_media(&[&head[..size], payload, &[0; 3][..pad]]).is_err()
                {
                    return self.drop_of(down.place, Drop::QueueFull, 1);
                }
                if !connection.unflushed {
                    connection.unflushed = true;
                    self.unflushed.push(stream);
                }
                relay.shared.traffic.add(false, 1, len as u64, now);
                if let Some(ledger) = self.ledgers.get(ledger) {
                    ledger.add(false, 1, len as u64, now);
                }
            }
        }
    }

    /// Tells a client of an ICMP error for a packet to a peer (section 11.5); channels do not matter.
    pub fn icmp_from_peer(&mut self, token: Token, icmp: &crate::sys::errors::Icmp, now: Nanos) {
        let Some(relay) = find(&mut self.table.relays, token) else { return };
        let place = token.place() as u32;
        let peer = self.table.protection.shown(icmp.target);
        let tenant = relay.client.and_then(|client| self.table.clients.get_mut(client));
        let Some(tenant) = tenant.filter(|_| now < relay.shared.deadline()) else {
            return self.drop_of(place, Drop::Expired, 1);
        };
        if !relay.permits(Host::from(peer), now) {
            return self.drop_of(place, Drop::NoPermission, 1);
        }
        let mut id = [0; 12];
        self.random.fill(&mut id);
        let message = encode_icmp(peer, icmp.kind, icmp.code, icmp.mtu, &id);
        match tenant.way {
            Way::Datagrams { listener, to } => {
                let Some(Some(listener)) = self.listeners.get(listener as usize) else { return };
                let envelope = downward(listener, to, tenant, Token::WAKE);
                let piece = self.outbox.scratch(&message);
                self.outbox.push(&mut tenant.run, &envelope, &[piece], 0, 0);
            }
            Way::Stream(stream) => {
                let Some(connection) = self.connections.get_mut(stream) else { return };
                if connection.stream.queue_media(&[&message]).is_err() {
                    return self.drop_of(place, Drop::QueueFull, 1);
                }
                if !connection.unflushed {
                    connection.unflushed = true;
                    self.unflushed.push(stream);
                }
            }
        }
    }

    /// Notes what became of what the driver was to send, and empties the outbox.
    pub fn settle(&mut self, now: Nanos, wall_clock: Nanos) {
        for transmit in self.outbox.transmits() {
            let envelope = &transmit.envelope;
            let reason = Drop::of_errno(transmit.errno);
            if transmit.lost > 0 {
                self.counters.drops.add(reason, u64::from(transmit.lost));
            }
            let Some(relay) = find(&mut self.table.relays, envelope.relay) else { continue };
            let sent = u64::from(transmit.packets - transmit.lost);
            let lost_payload =
                transmit.payload / u64::from(transmit.packets) * u64::from(transmit.lost);
            if sent > 0 {
                let payload = transmit.payload - lost_payload;
                relay.shared.traffic.add(envelope.upward, sent, payload, now);
                if let Some(ledger) = self.ledgers.get(envelope.ledger as usize) {
                    ledger.add(envelope.upward, sent, payload, now);
                }
            }
            if transmit.lost > 0 {
                relay.shared.drops.add(reason, u64::from(transmit.lost));
            }
            if transmit.refused_run {
                match relay.client.and_then(|client| self.table.clients.get_mut(client)) {
                    Some(tenant) if !envelope.upward => tenant.runs = false,
                    _ => relay.runs = false,
                }
            }
            if transmit.received != 0 {
                self.counters.latency.record(wall_clock.saturating_sub(transmit.received));
            }
        }
        self.outbox.clear();
    }
}

/// Where packets of one peer go.
struct Down {
    place: u32,
    number: Option<u16>,
    peer: SocketAddr,
    received: Nanos,
}

/// One datagram in a slot.
#[derive(Clone, Copy)]
struct Segment {
    slot: u32,
    start: u32,
    len: u32,
    headroom: bool,
}

/// One message to a client by UDP.
struct Outgoing<'a> {
    head: &'a [u8],
    segment: Segment,
    pad: usize,
    received: Nanos,
}

fn send_datagram(
    outbox: &mut Outbox,
    listeners: &[Option<Listener>],
    arena: &mut Arena,
    tenant: &mut Client,
    relay: Token,
    message: &Outgoing<'_>,
) {
    let Way::Datagrams { listener, to } = tenant.way else { return };
    let Some(Some(listener)) = listeners.get(listener as usize) else { return };
    let envelope = downward(listener, to, tenant, relay);
    let Segment { slot, start, len, headroom } = message.segment;
    let payload = len as usize;
    let mut pieces = [Piece::of_slot(slot, start as i32, payload); 3];
    let mut used = 1;
    if headroom {
        let begin = arena.prepend(slot, start as usize, message.head);
        pieces[0] = Piece::of_slot(slot, begin, message.head.len() + payload);
    } else {
        pieces[0] = match message.head {
            [a, b, c, d] => outbox.header([*a, *b, *c, *d]),
            head => outbox.scratch(head),
        };
        used = 2;
    }
    if message.pad > 0 {
        pieces[used] = outbox.scratch(&[0; 3][..message.pad]);
        used += 1;
    }
    outbox.push(&mut tenant.run, &envelope, &pieces[..used], payload, message.received);
}

fn downward(listener: &Listener, to: RawAddress, tenant: &Client, relay: Token) -> Envelope {
    Envelope {
        socket: listener.socket.as_raw_fd(),
        to,
        from: tenant.key.and_then(|key| key.local),
        relay,
        ledger: tenant.ledger,
        upward: false,
        dont_fragment: false,
        runs: tenant.runs,
    }
}
