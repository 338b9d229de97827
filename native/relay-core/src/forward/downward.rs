//! From peers to clients.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::secured::Relayed;
use super::{Forwarder, Listener};
use crate::address::RawAddress;
use crate::counters::Drop;
use crate::fields::Fields;
use crate::io::arena::Arena;
use crate::io::outbox::{Envelope, Outbox, Piece};
use crate::io::{Datagram, Token};
use crate::leg::Host;
use crate::rules::bucket;
use crate::rules::relay::{Client, Way, find};
use crate::sys::errors::Icmp;
use crate::time::Nanos;
use crate::wire::data::{LARGEST_HEAD, channel_header, data_indication_head, encode_icmp, padding};
use crate::wire::message::CHANNEL_HEADER_SIZE;

impl Forwarder {
    /// Handles datagrams of one peer that reached a relayed transport address (RFC 8656 sections
    /// 11.3 and 12.7).
    pub fn from_peer(&mut self, arena: &mut Arena, datagram: &Datagram, now: Nanos) {
        let Some(relay) = find(&mut self.table.relays, datagram.socket) else { return };
        let place = datagram.socket.place() as u32;
        let number = relay.number_of(datagram.from);
        let tenant = relay.client.and_then(|client| self.table.clients.get_mut(client));
        let Some(tenant) = tenant.filter(|_| now < relay.shared.deadline()) else {
            return self.drop_of(place, Drop::Expired, datagram.segments().count() as u64);
        };
        let channel = number.and_then(|number| tenant.channel(number));
        let channel = channel.filter(|channel| now < channel.deadline);
        let number = channel.as_ref().map(|channel| channel.number);
        let peer = match channel {
            Some(channel) => channel.peer,
            None => self.table.protection.shown(datagram.from, &self.around.relayed),
        };
        if !relay.permits(Host::from(peer), now) {
            return self.drop_of(place, Drop::NoPermission, datagram.segments().count() as u64);
        }
        let fields = match tenant.way {
            Way::Datagrams { .. } | Way::Session(_) => datagram.fields.sent_on(),
            // What reaches a connection's client has another IP header (section 16).
            Way::Stream(_) | Way::Gone => Some(Fields::default()),
        };
        let Some(fields) = fields else {
            return self.drop_of(place, Drop::HopLimit, datagram.segments().count() as u64);
        };
        let down = Down { place, number, peer, fields, received: datagram.received };
        for segment in datagram.segments() {
            // Before the first there is headroom; before the others is what waits to be sent.
            let headroom = segment.start == datagram.start;
            let (start, len) = (segment.start, segment.end - segment.start);
            self.to_client(
                arena,
                &down,
                Segment { slot: datagram.slot, start, len, headroom },
                now,
            );
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
            Way::Gone => self.drop_of(down.place, Drop::NoClient, 1),
            Way::Datagrams { .. } => {
                let Down { fields, received, .. } = *down;
                let message = Outgoing { head: &head[..size], segment, pad, fields, received };
                send_datagram(&mut self.outbox, &self.listeners, arena, tenant, token, &message);
            }
            Way::Session(session) => {
                let (runs, &Down { fields, received, .. }) = (tenant.runs, down);
                let relayed = Relayed { relay: token, fields, runs, payload: len, received };
                let place = (segment.slot, segment.start as usize, len);
                let around = (&head[..size], pad);
                let sent = self.media_to_session(arena, session, place, around, relayed);
                if let Err(reason) = sent {
                    self.drop_of(down.place, reason, 1);
                }
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
    pub fn icmp_from_peer(&mut self, token: Token, icmp: &Icmp, now: Nanos) {
        let Some(relay) = find(&mut self.table.relays, token) else { return };
        let place = token.place() as u32;
        let peer = self.table.protection.shown(icmp.target, &self.around.relayed);
        let tenant = relay.client.and_then(|client| self.table.clients.get_mut(client));
        let Some(tenant) = tenant.filter(|_| now < relay.shared.deadline()) else {
            return self.drop_of(place, Drop::Expired, 1);
        };
        if !relay.permits(Host::from(peer), now) {
            return self.drop_of(place, Drop::NoPermission, 1);
        }
        if !relay.icmp.admits(now) {
            return self.drop_of(place, Drop::IcmpRate, 1);
        }
        let mut id = [0; 12];
        self.random.fill(&mut id);
        let message = encode_icmp(peer, icmp.kind, icmp.code, icmp.mtu, &id);
        match tenant.way {
            Way::Gone => return self.drop_of(place, Drop::NoClient, 1),
            Way::Datagrams { listener, to } => {
                let Some(Some(listener)) = self.listeners.get(listener as usize) else { return };
                let envelope = downward(listener, to, tenant, Token::WAKE, Fields::default());
                let piece = self.outbox.scratch(&message);
                self.outbox.push(&mut tenant.run, &envelope, &[piece], 0, 0);
            }
            Way::Session(session) => self.tell_session(session, &message),
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
        self.counters.icmp_errors.add(1);
    }
}

/// Where packets of one peer go.
struct Down {
    place: u32,
    number: Option<u16>,
    peer: SocketAddr,
    fields: Fields,
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
    fields: Fields,
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
    let envelope = downward(listener, to, tenant, relay, message.fields);
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

fn downward(
    listener: &Listener,
    to: RawAddress,
    tenant: &Client,
    relay: Token,
    fields: Fields,
) -> Envelope {
    Envelope {
        socket: listener.socket.as_raw_fd(),
        to,
        from: tenant.key.and_then(|key| key.local),
        fields,
        relay,
        ledger: tenant.ledger,
        upward: false,
        dont_fragment: false,
        runs: tenant.runs,
    }
}
