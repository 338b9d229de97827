//! What waits for Python's decision: bounded, and fair when more comes than can be decided.
//!
//! Rules of the house
//! 1.  What the known want goes before what strangers want; so does what became of streams. But
//!     of so many one is a stranger's, if one waits: a nonce is to be had for the asking, and who
//!     has one is not to keep everybody else out.
//! 2.  Within each of the two, networks take turns, and a network's events keep their order:
//!     stochastic fair queueing (McKenney 1990), with a fixed number of lanes.
//! 3.  Each of the two has room of its own, and a network's lane takes a message more while it is
//!     shorter than a share of the room that is left (dynamic thresholds, Choudhury and Hahne
//!     1998): who comes with a first message finds room, whoever floods.
//! 4.  A message takes room by its size, so that what waits is bounded in bytes as well.
//! 5.  What became of streams is never dropped: there are as many of these events as streams.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::leg::{CloseReason, Leg};
use crate::rules::budget::network_of;

/// Messages of the known that wait at most, and as many of strangers.
pub const ROOM: usize = 2_048;

/// Into so many parts the room that is left is divided for the bound of a network.
const SHARE_OF_THE_KNOWN: usize = 2;
const SHARE_OF_STRANGERS: usize = 8;

/// Events of the known that are taken one after the other while a stranger's waits.
pub const IN_A_ROW: u32 = 7;

/// Bytes of a message that take the room of one.
const UNIT: usize = 1_024;

const LANES: usize = 256;

/// What Python is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A STUN message to decide on. Untrusted.
    Message {
        /// Who sent it.
        leg: Leg,
        /// The message.
        data: Box<[u8]>,
    },
    /// A stream is ready: at once for TCP, after the handshake for TLS; and whom the client asked
    /// for by SNI.
    Opened(Leg, Option<Box<str>>),
    /// A stream has ended; its relays serve nobody.
    Closed(Leg, CloseReason),
    /// A leg that is held back has sent its first media.
    MediaWaiting(Leg),
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A leg with a relay, or with a nonce of ours.
    Known,
    /// Anybody.
    Stranger,
}

/// The queue of an engine.
#[derive(Debug)]
pub struct HandUp {
    queues: Mutex<Queues>,
    hasher: foldhash::quality::RandomState,
}

#[derive(Debug)]
struct Queues {
    opened: VecDeque<Event>,
    known: Lanes,
    strangers: Lanes,
    /// Events of the known that were taken since a stranger's was.
    in_a_row: u32,
}

impl Queues {
    fn lanes(&mut self, standing: Standing) -> &mut Lanes {
        match standing {
            Standing::Known => &mut self.known,
            Standing::Stranger => &mut self.strangers,
        }
    }

    fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.opened.pop_front() {
            return Some(event);
        }
        let is_their_turn = self.in_a_row < IN_A_ROW || self.strangers.len == 0;
        if is_their_turn && let Some(event) = self.known.pop() {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return Some(event);
        }
        self.in_a_row = 0;
        self.strangers.pop()
    }
}

impl Default for HandUp {
    fn default() -> Self {
        let queues = Queues {
            opened: VecDeque::new(),
            known: Lanes::new(SHARE_OF_THE_KNOWN),
            strangers: Lanes::new(SHARE_OF_STRANGERS),
            in_a_row: 0,
        };
        Self { queues: Mutex::new(queues), hasher: foldhash::quality::RandomState::default() }
    }
}

impl HandUp {
    /// Queues a message. Returns whether there was room for it.
    pub fn message(&self, leg: Leg, data: &[u8], standing: Standing) -> bool {
        let lane = self.lane_of(&leg);
        let mut queues = self.lock();
        let lanes = queues.lanes(standing);
        lanes.has_room(lane, cost(data)) && {
            lanes.push(lane, Event::Message { leg, data: data.into() });
            true
        }
    }

    /// Queues that a stream is ready.
    pub fn opened(&self, leg: Leg, server_name: Option<Box<str>>) {
        self.lock().opened.push_back(Event::Opened(leg, server_name));
    }

    /// Queues that a stream has ended.
    pub fn closed(&self, leg: Leg, reason: CloseReason, standing: Standing) {
        let lane = self.lane_of(&leg);
        let mut queues = self.lock();
        // It comes after what the leg has sent.
        let is_known = standing == Standing::Known || queues.known.has_message_of(lane, &leg);
        let standing = if is_known { Standing::Known } else { Standing::Stranger };
        queues.lanes(standing).push(lane, Event::Closed(leg, reason));
    }

    /// Queues that a leg which is held back has sent media: once, until it is let in.
    pub fn media_waiting(&self, leg: Leg) {
        let lane = self.lane_of(&leg);
        self.lock().known.push(lane, Event::MediaWaiting(leg));
    }

    fn lane_of(&self, leg: &Leg) -> usize {
        self.hasher.hash_one(network_of(leg.client.ip())) as usize % LANES
    }

    /// Moves at most so many events into a batch, those that come first.
    pub fn take(&self, most: usize, batch: &mut Vec<Event>) {
        let mut queues = self.lock();
        for _ in 0..most {
            let Some(event) = queues.next() else { break };
            batch.push(event);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        let queues = self.lock();
        queues.opened.len() + queues.known.len + queues.strangers.len
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much room a message takes.
fn cost(data: &[u8]) -> usize {
    1 + data.len() / UNIT
}

fn cost_of(event: &Event) -> usize {
    match event {
        Event::Message { data, .. } => cost(data),
        Event::Opened(..) | Event::Closed(..) | Event::MediaWaiting(_) => 0,
    }
}

/// Lanes that are served in turn.
#[derive(Debug)]
struct Lanes {
    lanes: Box<[Lane]>,
    turn: VecDeque<usize>,
    len: usize,
    /// What is left of it.
    room: usize,
    share: usize,
}

#[derive(Debug, Default)]
struct Lane {
    events: VecDeque<Event>,
    /// Room that they take.
    takes: usize,
}

impl Lanes {
    fn new(share: usize) -> Self {
        let lanes = (0..LANES).map(|_| Lane::default()).collect();
        Self { lanes, turn: VecDeque::new(), len: 0, room: ROOM, share }
    }

    fn has_room(&self, lane: usize, cost: usize) -> bool {
        cost <= self.room && (self.lanes[lane].takes + cost - 1) * self.share < self.room
    }

    fn has_message_of(&self, lane: usize, leg: &Leg) -> bool {
        let is_its = |event: &Event| matches!(event, Event::Message { leg: of, .. } if of == leg);
        self.lanes[lane].events.iter().any(is_its)
    }

    fn push(&mut self, lane: usize, event: Event) {
        let cost = cost_of(&event);
        let lane_of_it = &mut self.lanes[lane];
        if lane_of_it.events.is_empty() {
            self.turn.push_back(lane);
        }
        lane_of_it.takes += cost;
        lane_of_it.events.push_back(event);
        self.room -= cost;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Event> {
        let index = self.turn.pop_front()?;
        let lane = &mut self.lanes[index];
        let event = lane.events.pop_front()?;
        if lane.events.is_empty() {
            lane.events.shrink_to(8);
        } else {
            self.turn.push_back(index);
        }
        let cost = cost_of(&event);
        lane.takes -= cost;
        self.room += cost;
        self.len -= 1;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::Transport;

    fn leg(network: u16, port: u16) -> Leg {
        let [high, low] = network.to_be_bytes();
        Leg {
            listener: 1,
            transport: Transport::Udp,
            local: "127.0.0.1:3478".parse().unwrap(),
            client: (std::net::Ipv4Addr::new(10, high, low, 1), port).into(),
            stream: 0,
            via: None,
        }
    }

    fn fill(queue: &HandUp, network: u16, number: u16, standing: Standing) -> usize {
        (0..number).filter(|port| queue.message(leg(network, *port), b"m", standing)).count()
    }

    fn take(queue: &HandUp, most: usize) -> Vec<Event> {
        let mut batch = Vec::new();
        queue.take(most, &mut batch);
        batch
    }

    fn port(event: &Event) -> u16 {
        match event {
            Event::Message { leg, .. }
            | Event::Opened(leg, _)
            | Event::Closed(leg, _)
            | Event::MediaWaiting(leg) => leg.client.port(),
        }
    }

    #[test]
    fn one_network_is_served_oldest_first() {
        let queue = HandUp::default();
        fill(&queue, 1, 5, Standing::Stranger);
        assert_eq!(take(&queue, 3).iter().map(port).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(take(&queue, 3).iter().map(port).collect::<Vec<_>>(), [3, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn streams_come_first_then_the_known() {
        let queue = HandUp::default();
        queue.message(leg(1, 3), b"m", Standing::Stranger);
        queue.message(leg(1, 2), b"m", Standing::Known);
        queue.closed(leg(1, 4), CloseReason::Client, Standing::Stranger);
        queue.opened(leg(1, 1), None);
        assert_eq!(take(&queue, 9).iter().map(port).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_flood_of_one_network_holds_no_other_up() {
        for standing in [Standing::Stranger, Standing::Known] {
            let queue = HandUp::default();
            let kept = fill(&queue, 1, 10_000, standing);
            assert!((200..ROOM).contains(&kept), "{kept}");
            let other = (2..).find(|n| queue.message(leg(*n, 17_777), b"m", standing));
            assert!(other.is_some());
            assert!(take(&queue, 3).iter().any(|event| port(event) == 17_777));
        }
    }

    #[test]
    fn who_has_a_nonce_keeps_no_stranger_out() {
        let queue = HandUp::default();
        for network in 0..2_000 {
            fill(&queue, network, 50, Standing::Known);
        }
        assert!(queue.message(leg(7, 17_777), b"m", Standing::Stranger), "room of their own");
        let first = take(&queue, IN_A_ROW as usize + 1);
        assert_eq!(first.iter().rposition(|event| port(event) == 17_777), Some(IN_A_ROW as usize));
        queue.message(leg(7, 17_778), b"m", Standing::Stranger);
        let next = take(&queue, IN_A_ROW as usize + 1);
        assert_eq!(next.iter().rposition(|event| port(event) == 17_778), Some(IN_A_ROW as usize));
    }

    #[test]
    fn all_that_waits_is_bounded_and_what_became_of_streams_is_kept() {
        let queue = HandUp::default();
        for standing in [Standing::Stranger, Standing::Known] {
            for network in 0..2_000 {
                fill(&queue, network, 50, standing);
            }
            let mut queues = queue.lock();
            let lanes = queues.lanes(standing);
            assert!((ROOM / 2..=ROOM).contains(&lanes.len), "{}", lanes.len);
        }
        queue.opened(leg(1, 1), None);
        queue.closed(leg(2, 1), CloseReason::Client, Standing::Stranger);
        let all = take(&queue, 10_000);
        assert!(all.len() <= 2 * ROOM + 2);
        assert!(all.iter().any(|event| matches!(event, Event::Closed(..))));
        assert!(queue.is_empty());
        assert_eq!(queue.lock().strangers.room, ROOM);
        assert_eq!(queue.lock().known.room, ROOM);
    }

    #[test]
    fn that_a_stream_has_ended_comes_after_what_it_sent() {
        let queue = HandUp::default();
        fill(&queue, 1, 100, Standing::Known);
        queue.closed(leg(1, 99), CloseReason::Client, Standing::Stranger);
        let all = take(&queue, 200);
        assert_eq!(all.last(), Some(&Event::Closed(leg(1, 99), CloseReason::Client)));
    }

    #[test]
    fn long_messages_take_room_by_their_size() {
        let queue = HandUp::default();
        let long = [0; 60_000];
        let kept =
            (0..2_000).filter(|n| queue.message(leg(*n, 1), &long, Standing::Stranger)).count();
        assert!((10..ROOM / 50).contains(&kept), "{kept}");
        let other = (2_000..).find(|n| queue.message(leg(*n, 17_777), b"m", Standing::Stranger));
        assert!(other.is_some_and(|network| network < 2_010), "a short one finds room");
    }
}
