//! The DTLS clients of one worker, by their addresses and by their handles.

use std::collections::HashMap;

use super::Lent;
use super::handshakes::Handshakes;
use super::provider::{Door, Session};
use super::record::{LARGEST_HELLO, Random, hello_random};
use crate::fields::Fields;
use crate::forward::HandedUp;
use crate::io::outbox::RunMark;
use crate::leg::{CloseReason, Leg};
use crate::places::Places;
use crate::rules::table::UdpKey;
use crate::time::Nanos;

/// Datagrams that one handshake keeps: more than a client's flight has.
const MOST_KEPT: usize = 4;

/// What a listener serves DTLS with.
#[derive(Debug)]
pub struct Terms {
    /// Where hellos come to.
    pub door: Door,
    /// For a handshake, from the good cookie on.
    pub handshake_timeout: Nanos,
    /// After which a session without a relay ends when nothing has come by it.
    pub idle_timeout: Nanos,
    /// Index of its clients' ledger.
    pub ledger: u32,
}

/// One client, from its cookie on.
#[derive(Debug)]
pub struct Association {
    /// Its leg.
    pub leg: Leg,
    /// Its addresses, and its listener by index.
    pub key: UdpKey,
    /// OpenSSL's part.
    pub session: Session,
    /// Its place among the clients that have relays.
    pub client: Option<u32>,
    /// Index of its ledger.
    pub ledger: u32,
    /// What Python decides that an engine might.
    pub handed_up: HandedUp,
    /// The open run towards it.
    pub run: RunMark,
    /// When something came of it last.
    pub heard: Nanos,
    /// Until when the handshake is to be complete; None: it is.
    pub deadline: Option<Nanos>,
    /// Whether its handshake waits for its turn: each has time for so many steps.
    pub waits: bool,
    /// Datagrams that wait with it.
    pub kept: Vec<(Fields, Box<[u8]>)>,
    /// Of its hello.
    pub random: Random,
}

impl Association {
    /// Keeps a datagram until the handshake's turn, if there is room. Its hello, said again, tells
    /// nothing new.
    pub fn keep(&mut self, fields: Fields, bytes_untrusted: &[u8]) -> bool {
        let is_kept = self.kept.len() < MOST_KEPT
            && bytes_untrusted.len() <= LARGEST_HELLO
            && hello_random(bytes_untrusted).is_none();
        if is_kept {
            self.kept.push((fields, bytes_untrusted.into()));
        }
        is_kept
    }

    /// Why it is to be closed by now, if it is.
    #[must_use]
    pub fn overdue(&self, idle_timeout: Nanos, now: Nanos) -> Option<CloseReason> {
        match self.deadline {
            Some(deadline) => (now >= deadline).then_some(CloseReason::HandshakeTimeout),
            None => {
                let silent = now >= self.heard.saturating_add(idle_timeout);
                (silent && self.client.is_none()).then_some(CloseReason::Idle)
            }
        }
    }
}

/// Who is at an address: an open session, and a handshake that may take its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupants {
    /// By its place.
    pub open: Option<u32>,
    /// By its place.
    pub beginning: Option<u32>,
}

/// All of one worker.
#[derive(Debug, Default)]
pub struct Associations {
    /// By place.
    pub places: Places<Association>,
    /// Memory for whichever is asked to do something.
    pub lent: Lent,
    by_key: HashMap<UdpKey, Occupants, foldhash::quality::RandomState>,
    by_stream: HashMap<u64, u32, foldhash::quality::RandomState>,
}

impl Associations {
    /// Who is at these addresses.
    #[must_use]
    pub fn at(&self, key: &UdpKey) -> Occupants {
        self.by_key.get(key).copied().unwrap_or_default()
    }

    /// Where a leg's association is.
    #[must_use]
    pub fn place_of(&self, stream: u64) -> Option<u32> {
        self.by_stream.get(&stream).copied()
    }

    /// Whether one of them began with that hello.
    #[must_use]
    pub fn began_with(&self, occupants: Occupants, random: &Random) -> bool {
        [occupants.open, occupants.beginning]
            .into_iter()
            .flatten()
            .filter_map(|place| self.places.get(place))
            .any(|association| association.random == *random)
    }

    /// A handshake begins. Returns its place.
    pub fn begin(&mut self, association: Association) -> u32 {
        let (key, stream) = (association.key, association.leg.stream);
        let place = self.places.add(|_, _| association);
        self.by_key.entry(key).or_default().beginning = Some(place);
        self.by_stream.insert(stream, place);
        place
    }

    /// A handshake is complete. Returns the place of the session whose place it takes.
    pub fn open(&mut self, place: u32, handshakes: &Handshakes) -> Option<u32> {
        let association = self.places.get_mut(place)?;
        association.deadline = None;
        handshakes.end(association.leg.client.ip());
        let occupants = self.by_key.entry(association.key).or_default();
        occupants.beginning = None;
        occupants.open.replace(place)
    }

    /// One has ended.
    pub fn remove(&mut self, place: u32, handshakes: &Handshakes) -> Option<Association> {
        let association = self.places.remove(place)?;
        self.by_stream.remove(&association.leg.stream);
        if association.deadline.is_some() {
            handshakes.end(association.leg.client.ip());
        }
        if let Some(occupants) = self.by_key.get_mut(&association.key) {
            for each in [&mut occupants.open, &mut occupants.beginning] {
                if *each == Some(place) {
                    *each = None;
                }
            }
            if *occupants == Occupants::default() {
                self.by_key.remove(&association.key);
            }
        }
        Some(association)
    }

    /// The places of those for whom that holds.
    #[must_use]
    pub fn which(&self, holds: impl Fn(&Association) -> bool) -> Vec<u32> {
        let all = self.places.iter();
        all.filter(|(_, association)| holds(association)).map(|(place, _)| place).collect()
    }
}
