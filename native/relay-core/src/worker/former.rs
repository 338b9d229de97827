//! Legs that relays were handed over from a moment ago (RFC 8016): what is still under way by them
//! goes after the relays, since the new path may be faster.

use std::collections::HashMap;

use crate::leg::Leg;
use crate::orders::{Address, Departure};
use crate::time::{Nanos, SECOND};

/// For how long a leg's media follows.
const GRACE: Nanos = 2 * SECOND;

/// Legs at the same time; what is late by any other is dropped.
const MOST: usize = 4096;

/// Where it goes.
#[derive(Debug, Default)]
pub(super) struct FormerLegs(HashMap<Leg, Successor>);

#[derive(Debug)]
struct Successor {
    address: Address,
    worker: u32,
    until: Nanos,
}

impl FormerLegs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, leg: &Leg) -> bool {
        !self.is_empty() && self.0.contains_key(leg)
    }

    pub(super) fn begin(&mut self, departure: Departure, now: Nanos) {
        let Departure { leg, to: address, worker } = departure;
        if self.0.len() >= MOST {
            return;
        }
        self.0.insert(leg, Successor { address, worker, until: now.saturating_add(GRACE) });
    }

    /// The leg gets relays of its own.
    pub(super) fn end(&mut self, leg: &Leg) {
        self.0.remove(leg);
    }

    /// Whose media it is by now that the leg sends, and at which worker.
    pub(super) fn successor(&self, leg: &Leg, now: Nanos) -> Option<(&Address, u32)> {
        let found = self.0.get(leg).filter(|successor| now < successor.until)?;
        Some((&found.address, found.worker))
    }

    /// Forgets those from which nothing is expected any more.
    pub(super) fn tidy(&mut self, now: Nanos) {
        self.0.retain(|_, successor| now < successor.until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::Transport;

    fn leg(port: u16) -> Leg {
        Leg {
            listener: 1,
            transport: Transport::Udp,
            local: "127.0.0.1:3478".parse().unwrap(),
            client: ([127, 0, 0, 1], port).into(),
            stream: 0,
            via: None,
        }
    }

    fn departure(from: u16, to: u16) -> Departure {
        let to = Address { leg: leg(to), listener: 0, wildcard: false, ledger: 0 };
        Departure { leg: leg(from), to, worker: 3 }
    }

    #[test]
    fn media_follows_for_a_while() {
        let mut former = FormerLegs::default();
        former.begin(departure(1, 2), 5);
        let found = former.successor(&leg(1), 4 + GRACE).map(|(to, worker)| (to.leg, worker));
        assert_eq!(found, Some((leg(2), 3)));
        assert!(former.successor(&leg(1), 5 + GRACE).is_none());
        assert!(former.has(&leg(1)) && !former.has(&leg(2)));
        former.tidy(4 + GRACE);
        assert!(former.has(&leg(1)));
        former.tidy(5 + GRACE);
        assert!(former.is_empty());
    }

    #[test]
    fn of_so_many_at_the_same_time_and_no_more() {
        let mut former = FormerLegs::default();
        for port in 0..=MOST as u16 {
            former.begin(departure(port, 9), 0);
        }
        assert!(former.has(&leg(MOST as u16 - 1)) && !former.has(&leg(MOST as u16)));
    }

    #[test]
    fn a_leg_that_comes_to_relays_follows_nobody() {
        let mut former = FormerLegs::default();
        former.begin(departure(1, 2), 0);
        former.begin(departure(2, 1), 0);
        former.end(&leg(1));
        assert!(former.successor(&leg(1), 0).is_none());
        assert!(former.successor(&leg(2), 0).is_some());
    }
}
