//! A bound on what a spoofed source can make us send: answers that any stranger can provoke by UDP.
//!
//! One token bucket per IPv4 /24 or IPv6 /56 of the claimed source, a second deep, in a fixed
//! array: a flood of invented sources costs no memory. Two networks that share a bucket share its
//! rate; the hash is seeded per process, so nobody can choose whom to share with.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Nanos, SECOND};

const BUCKETS: usize = 1 << 14;

/// The network that a source is held to: the IPv4 /24 or the IPv6 /56.
#[must_use]
pub fn network_of(host: IpAddr) -> u64 {
    match host {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
        // The highest bit keeps the families apart.
        IpAddr::V6(v6) => (u128::from(v6) >> 72) as u64 | 1 << 63,
    }
}

/// The budgets of all networks; every worker draws from the same.
#[derive(Debug)]
pub struct AnswerBudget {
    per_second: AtomicU64,
    empty_until: Box<[AtomicU64]>,
    hasher: foldhash::quality::RandomState,
}

impl Default for AnswerBudget {
    fn default() -> Self {
        Self {
            per_second: AtomicU64::new(0),
            empty_until: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            hasher: foldhash::quality::RandomState::default(),
        }
    }
}

impl AnswerBudget {
    /// Answers per second and network; 0: no limit.
    pub fn set(&self, per_second: u64) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Whether one more answer may go to the host's network.
    #[must_use]
    pub fn draw(&self, host: IpAddr, now: Nanos) -> bool {
        let per_second = self.per_second.load(Ordering::Relaxed);
        if per_second == 0 {
            return true;
        }
        let drawn = self.bucket(host).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
            drawn_until(until, per_second, now)
        });
        drawn.is_ok()
    }

    /// Whether `draw` would say no at this moment; nothing is drawn.
    #[must_use]
    pub fn is_used_up(&self, host: IpAddr, now: Nanos) -> bool {
        let per_second = self.per_second.load(Ordering::Relaxed);
        per_second != 0
            && drawn_until(self.bucket(host).load(Ordering::Relaxed), per_second, now).is_none()
    }

    fn bucket(&self, host: IpAddr) -> &AtomicU64 {
        &self.empty_until[self.hasher.hash_one(network_of(host)) as usize % BUCKETS]
    }
}

/// Until when a bucket is empty when one more answer is drawn; None: there is no room. What has
/// been drawn ahead of time is the bucket's debt, a second's worth at most.
fn drawn_until(until: Nanos, per_second: u64, now: Nanos) -> Option<Nanos> {
    let cost = SECOND / per_second.min(SECOND);
    Some(until.max(now) + cost).filter(|end| *end <= now + SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_so_many_answers_a_second() {
        let budget = AnswerBudget::default();
        budget.set(10);
        let now = 5 * SECOND;
        let drawn = (0..50).filter(|_| budget.draw(host("192.0.2.7"), now)).count();
        assert_eq!(drawn, 10);
        assert!(!budget.draw(host("192.0.2.200"), now + SECOND / 20));
        assert!(budget.draw(host("192.0.2.200"), now + SECOND / 10));
        assert!(budget.draw(host("198.51.100.1"), now));
    }

    #[test]
    fn looking_draws_nothing() {
        let budget = AnswerBudget::default();
        budget.set(1);
        let (here, now) = (host("192.0.2.7"), 5 * SECOND);
        assert!(!budget.is_used_up(here, now));
        assert!(budget.draw(here, now));
        assert!(budget.is_used_up(here, now));
        assert!(!budget.is_used_up(here, now + SECOND));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let budget = AnswerBudget::default();
        assert!((0..10_000).all(|_| budget.draw(host("::1"), 0)));
        assert!(!budget.is_used_up(host("::1"), 0));
    }

    #[test]
    fn networks_are_told_apart() {
        assert_eq!(network_of(host("192.0.2.1")), network_of(host("192.0.2.254")));
        assert_ne!(network_of(host("192.0.2.1")), network_of(host("192.0.3.1")));
        assert_eq!(network_of(host("2001:db8:0:ff::1")), network_of(host("2001:db8:0:1::")));
        assert_ne!(network_of(host("2001:db8:0:100::")), network_of(host("2001:db8::")));
        assert_ne!(network_of(host("0.0.0.1")), network_of(host("::")));
    }
}
