//! Media of legs that have no relays yet and are to get some (RFC 8016): it waits for them.

use std::collections::HashMap;

use crate::fields::Fields;
use crate::leg::Leg;
use crate::wire::message::{Datagram, classify_untrusted};

/// Bytes that wait of one leg at most: more than what a video call sends in half a second.
const ROOM: usize = 256 << 10;

/// Bytes that a message takes beside its own: nobody is to fill the room with empty ones.
const BESIDE: usize = 128;

/// What became of a message of a leg that is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It waits, the first of its leg.
    First,
    /// It waits.
    More,
    /// There is no room.
    Full,
    /// It is no media, or the leg is not held back.
    Not,
}

/// Legs that are held back, with what they have sent. Bounded by the allocations that Python keeps:
/// it names a leg only for one of them.
#[derive(Debug, Default)]
pub(super) struct HeldLegs(HashMap<Leg, Held>);

#[derive(Debug)]
struct Held {
    messages: Vec<(Fields, Box<[u8]>)>,
    room: usize,
}

impl HeldLegs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, leg: &Leg) -> bool {
        !self.is_empty() && self.0.contains_key(leg)
    }

    pub(super) fn begin(&mut self, leg: Leg) {
        self.0.entry(leg).or_insert_with(|| Held { messages: Vec::new(), room: ROOM });
    }

    /// Keeps ChannelData and Send indications.
    pub(super) fn keep(&mut self, leg: &Leg, fields: Fields, bytes_untrusted: &[u8]) -> Kept {
        let Some(held) = self.0.get_mut(leg).filter(|_| is_media(bytes_untrusted)) else {
            return Kept::Not;
        };
        let takes = bytes_untrusted.len() + BESIDE;
        let Some(room) = held.room.checked_sub(takes) else { return Kept::Full };
        held.room = room;
        held.messages.push((fields, bytes_untrusted.into()));
        if held.messages.len() == 1 { Kept::First } else { Kept::More }
    }

    /// Holds a leg back no longer. Returns what waits, in its order.
    pub(super) fn end(&mut self, leg: &Leg) -> Vec<(Fields, Box<[u8]>)> {
        self.0.remove(leg).map(|held| held.messages).unwrap_or_default()
    }

    /// Nothing comes by a listener any more. Returns how many messages wait in vain.
    pub(super) fn close_listener(&mut self, listener: u64) -> u64 {
        let gone = self.0.extract_if(|leg, _| leg.listener == listener);
        gone.map(|(_, held)| held.messages.len() as u64).sum()
    }
}

/// Whether it is ChannelData or a Send indication.
pub(super) fn is_media(bytes_untrusted: &[u8]) -> bool {
    match classify_untrusted(bytes_untrusted) {
        Datagram::ChannelData { .. } => true,
        Datagram::Stun(stun) => stun.is_send_indication(),
        Datagram::Junk => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::Transport;

    const FIELDS: Fields = Fields { hops: 60, class: 0xB8 };
    const MEDIA: &[u8] = b"\x40\x00\x00\x02hi";
    const SEND: &[u8] = b"\x00\x16\x00\x00\x21\x12\xa4\x42............";
    const REQUEST: &[u8] = b"\x00\x03\x00\x00\x21\x12\xa4\x42............";

    fn leg(listener: u64, port: u16) -> Leg {
        Leg {
            listener,
            transport: Transport::Udp,
            local: "127.0.0.1:3478".parse().unwrap(),
            client: ([127, 0, 0, 1], port).into(),
            stream: 0,
            via: None,
        }
    }

    #[test]
    fn media_waits_in_its_order_and_nothing_else_does() {
        let mut held = HeldLegs::default();
        assert_eq!(held.keep(&leg(1, 1), FIELDS, MEDIA), Kept::Not);
        held.begin(leg(1, 1));
        assert!(held.has(&leg(1, 1)) && !held.has(&leg(1, 2)));
        assert_eq!(held.keep(&leg(1, 1), FIELDS, REQUEST), Kept::Not);
        assert_eq!(held.keep(&leg(1, 1), FIELDS, SEND), Kept::First);
        held.begin(leg(1, 1)); // once more changes nothing
        assert_eq!(held.keep(&leg(1, 1), FIELDS, MEDIA), Kept::More);
        assert_eq!(
            held.keep(&leg(1, 1), FIELDS, b"\x40\x00\x00\x03hi"),
            Kept::Not,
            "a length that lies"
        );
        assert_eq!(held.end(&leg(1, 1)), [(FIELDS, Box::from(SEND)), (FIELDS, Box::from(MEDIA))]);
        assert!(held.is_empty() && held.end(&leg(1, 1)).is_empty());
    }

    #[test]
    fn what_waits_is_bounded_leg_by_leg() {
        let mut held = HeldLegs::default();
        let mut large = vec![0; 1_004];
        large[..4].copy_from_slice(b"\x40\x00\x03\xe8");
        for port in 1..3 {
            held.begin(leg(1, port));
            let kept =
                (0..1_000).filter(|_| held.keep(&leg(1, port), FIELDS, &large) != Kept::Full);
            assert_eq!(kept.count(), ROOM / (1_004 + BESIDE));
        }
    }

    #[test]
    fn a_closed_listener_takes_along_what_waits_for_it() {
        let mut held = HeldLegs::default();
        for listener in 1..3 {
            held.begin(leg(listener, 1));
            held.keep(&leg(listener, 1), FIELDS, MEDIA);
        }
        assert_eq!(held.close_listener(1), 1);
        assert!(!held.has(&leg(1, 1)) && held.has(&leg(2, 1)));
    }
}
