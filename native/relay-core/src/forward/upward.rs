//! From clients to peers.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::{Forwarder, Inbound, Verdict};
use crate::address::RawAddress;
use crate::counters::Drop;
use crate::fields::Fields;
use crate::io::arena::Arena;
use crate::io::outbox::{Envelope, Piece, RunMark};
use crate::io::{Datagram, Token};
use crate::leg::{Host, Leg, Transport};
use crate::rules::bucket;
use crate::rules::relay::Relay;
use crate::time::Nanos;
use crate::wire::binding::{
    BindingRequest, binding_success, is_classic_binding_untrusted, plain_binding_untrusted,
};
use crate::wire::challenge::first_request_untrusted;
use crate::wire::message::{CHANNEL_HEADER_SIZE, Datagram as Message, classify_untrusted};
use crate::wire::send::decode_send_untrusted;

impl Forwarder {
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
                self.channel_data(client, number, data, &inbound, now);
                Verdict::Done
            }
            Message::Junk if is_classic_binding_untrusted(bytes_untrusted) => Verdict::Classic,
            Message::Junk => {
                self.counters.drops.add(Drop::NotStun, 1);
                Verdict::Done
            }
            Message::Stun(stun) if stun.is_send_indication() => {
                self.send_indication(client, bytes_untrusted, inbound, now);
                Verdict::Done
            }
            Message::Stun(stun) => of_request(stun.bytes()),
        }
    }

    fn channel_data(
        &mut self,
        client: Option<u32>,
        number: u16,
        data: Piece,
        inbound: &Inbound,
        now: Nanos,
    ) {
        let Some(tenant) = client.and_then(|place| self.table.clients.get_mut(place)) else {
            return self.counters.drops.add(Drop::NoAllocation, 1);
        };
        let ledger = tenant.ledger;
        let Some(channel) = tenant.channel(number) else {
            return self.counters.drops.add(Drop::NoChannel, 1);
        };
        let place = channel.relay;
        if now >= channel.deadline {
            return self.drop_of(place, Drop::NoChannel, 1);
        }
        let Some(fields) = inbound.fields.sent_on() else {
            return self.drop_of(place, Drop::HopLimit, 1);
        };
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
        let envelope = upward(relay, channel.raw, ledger, fields);
        self.outbox.push(&mut channel.run, &envelope, &[data], data.len(), inbound.received);
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
        let Some(fields) = inbound.fields.sent_on() else {
            return self.drop_of(place, Drop::HopLimit, 1);
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
            dont_fragment: send.dont_fragment && heeds_dont_fragment(&tenant.leg, send.peer),
            ..upward(relay, RawAddress::from(target), tenant.ledger, fields)
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
        let client = datagram.from;
        if self.answer(datagram, now, |out| binding_success(&request, client, out)) {
            self.counters.bindings.add(1);
        }
    }

    /// Sends by UDP the challenge that `encode` appends, within the budget.
    pub fn challenge(
        &mut self,
        datagram: &Datagram,
        now: Nanos,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.answer(datagram, now, encode) {
            self.counters.challenges.add(1);
        }
    }

    /// Sends a stranger what `encode` appends, if the budget has room for it.
    fn answer(
        &mut self,
        datagram: &Datagram,
        now: Nanos,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if !self.around.budget.draw(datagram.from.ip(), now) {
            self.counters.over_budget.add(1);
            return false;
        }
        let Some(Some(listener)) = self.listeners.get(datagram.socket.place()) else {
            return false;
        };
        let envelope = Envelope {
            socket: listener.socket.as_raw_fd(),
            to: RawAddress::from(datagram.sender()),
            from: datagram.to,
            fields: Fields::default(),
            relay: Token::WAKE,
            ledger: listener.ledger,
            upward: false,
            dont_fragment: false,
            runs: false,
        };
        let answer = self.outbox.scratch_with(encode);
        self.outbox.push(&mut RunMark::default(), &envelope, &[answer], 0, 0);
        true
    }
}

/// RFC 8656 section 13: from UDP to UDP DONT-FRAGMENT counts within IPv4 alone.
pub(super) fn heeds_dont_fragment(leg: &Leg, peer: SocketAddr) -> bool {
    matches!(leg.transport, Transport::Tcp | Transport::Tls)
        || (leg.client.is_ipv4() && peer.is_ipv4())
}

fn upward(relay: &Relay, to: RawAddress, ledger: u32, fields: Fields) -> Envelope {
    Envelope {
        socket: relay.fd(),
        to,
        from: None,
        fields,
        relay: relay.token,
        ledger,
        upward: true,
        dont_fragment: false,
        runs: relay.runs,
    }
}

fn of_request(bytes_untrusted: &[u8]) -> Verdict {
    if let Some(request) = plain_binding_untrusted(bytes_untrusted) {
        return Verdict::Answer(request);
    }
    first_request_untrusted(bytes_untrusted).map_or(Verdict::Decide, Verdict::Challenge)
}
