//! What waits for Python's decision: bounded, the known before strangers, and strangers fairly.
//!
//! Rules of the house
//!
//! 1. What became of streams is never dropped: there are as many of these as streams. That one is
//!    ready comes first of all, that one has ended after the messages of its leg.
//! 2. Messages of the known (a leg with a relay, or a nonce of ours) go before those of strangers.
//! 3. Within each of the two every network has its turn: a fixed number of lanes, into which networks
//!    are hashed with a seed, so that nobody can choose whom to share a lane with.
//! 4. When all places are taken, one of the known takes that of a stranger's newest message.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::leg::{CloseReason, Leg};
use crate::rules::budget::network_of;

/// Messages that wait at most.
pub const WAITING_MESSAGES: usize = 4_096;

/// Messages of one stranger's network that wait at most.
pub const WAITING_OF_A_NETWORK: usize = 256;

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
    /// A stream is ready: at once for TCP, after the handshake for TLS.
    Opened(Leg),
    /// A stream has ended; its relays are closed already.
    Closed(Leg, CloseReason),
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
}

impl Queues {
    fn lanes(&mut self, standing: Standing) -> &mut Lanes {
        match standing {
            Standing::Known => &mut self.known,
            Standing::Stranger => &mut self.strangers,
        }
    }
}

impl Default for HandUp {
    fn default() -> Self {
        let queues =
            Queues { opened: VecDeque::new(), known: Lanes::new(), strangers: Lanes::new() };
        Self { queues: Mutex::new(queues), hasher: foldhash::quality::RandomState::default() }
    }
}

impl HandUp {
    /// Queues a message. Returns whether nothing had to be dropped for it, itself included.
    pub fn message(&self, leg: Leg, data: &[u8], standing: Standing) -> bool {
        let lane = self.lane_of(&leg);
        let mut queues = self.lock();
        let full = queues.known.len + queues.strangers.len >= WAITING_MESSAGES;
        let kept = match standing {
            Standing::Known if full => {
                if !queues.strangers.drop_newest() {
                    return false;
                }
                false
            }
            Standing::Stranger
                if full || queues.strangers.lanes[lane].len() >= WAITING_OF_A_NETWORK =>
            {
                return false;
            }
            Standing::Known | Standing::Stranger => true,
        };
        queues.lanes(standing).push(lane, Event::Message { leg, data: data.into() });
        kept
    }

    /// Queues that a stream is ready.
    pub fn opened(&self, leg: Leg) {
        self.lock().opened.push_back(Event::Opened(leg));
    }

    /// Queues that a stream has ended.
    pub fn closed(&self, leg: Leg, reason: CloseReason, standing: Standing) {
        let lane = self.lane_of(&leg);
        self.lock().lanes(standing).push(lane, Event::Closed(leg, reason));
    }

    fn lane_of(&self, leg: &Leg) -> usize {
        self.hasher.hash_one(network_of(leg.client.ip())) as usize % LANES
    }

    /// Moves at most so many events into a batch, those that come first.
    pub fn take(&self, most: usize, batch: &mut Vec<Event>) {
        let mut queues = self.lock();
        for _ in 0..most {
            let Some(event) = queues
                .opened
                .pop_front()
                .or_else(|| queues.known.pop())
                .or_else(|| queues.strangers.pop())
            else {
                break;
            };
            batch.push(event);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let queues = self.lock();
        queues.opened.is_empty() && queues.known.len == 0 && queues.strangers.len == 0
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stochastic fair queueing: lanes that are served in turn.
#[derive(Debug)]
struct Lanes {
    lanes: Box<[VecDeque<Event>]>,
    turn: VecDeque<usize>,
    len: usize,
}

impl Lanes {
    fn new() -> Self {
        Self { lanes: (0..LANES).map(|_| VecDeque::new()).collect(), turn: VecDeque::new(), len: 0 }
    }

    fn push(&mut self, lane: usize, event: Event) {
        if self.lanes[lane].is_empty() {
            self.turn.push_back(lane);
        }
        self.lanes[lane].push_back(event);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Event> {
        let lane = self.turn.pop_front()?;
        let event = self.lanes[lane].pop_front();
        if self.lanes[lane].is_empty() {
            self.lanes[lane].shrink_to(8);
        } else {
            self.turn.push_back(lane);
        }
        self.len -= 1;
        event
    }

    /// Drops the newest message of the longest lane.
    fn drop_newest(&mut self) -> bool {
        let longest = self.turn.iter().copied().max_by_key(|lane| self.lanes[*lane].len());
        let newest = longest.and_then(|lane| {
            let is_message = |event: &Event| matches!(event, Event::Message { .. });
            Some((lane, self.lanes[lane].iter().rposition(is_message)?))
        });
        let Some((lane, newest)) = newest else { return false };
        self.lanes[lane].remove(newest);
        if self.lanes[lane].is_empty() {
            self.turn.retain(|other| *other != lane);
        }
        self.len -= 1;
        true
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
            Event::Message { leg, .. } | Event::Opened(leg) | Event::Closed(leg, _) => {
                leg.client.port()
            }
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
        queue.opened(leg(1, 1));
        assert_eq!(take(&queue, 9).iter().map(port).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_flood_of_one_network_holds_no_other_up() {
        let queue = HandUp::default();
        assert_eq!(fill(&queue, 1, 10_000, Standing::Stranger), WAITING_OF_A_NETWORK);
        let other = (2..).find(|n| queue.message(leg(*n, 7_777), b"m", Standing::Stranger));
        assert!(other.is_some());
        assert!(take(&queue, 2).iter().any(|event| port(event) == 7_777));
    }

    #[test]
    fn all_that_waits_is_bounded_and_the_known_get_in() {
        let queue = HandUp::default();
        for network in 0..2_000 {
            fill(&queue, network, 8, Standing::Stranger);
        }
        assert_eq!(queue.lock().strangers.len, WAITING_MESSAGES);
        assert!(!queue.message(leg(1, 7), b"m", Standing::Known), "a stranger's was dropped");
        assert_eq!(queue.lock().strangers.len, WAITING_MESSAGES - 1);
        assert_eq!(port(&take(&queue, 1)[0]), 7);
        fill(&queue, 1, 5_000, Standing::Known);
        assert_eq!(queue.lock().known.len, WAITING_MESSAGES);
        assert_eq!(queue.lock().strangers.len, 0);
        assert!(!queue.message(leg(1, 9), b"m", Standing::Known));
        queue.opened(leg(1, 1));
        queue.closed(leg(2, 1), CloseReason::Client, Standing::Stranger);
        assert_eq!(take(&queue, 10_000).len(), WAITING_MESSAGES + 2);
    }
}
