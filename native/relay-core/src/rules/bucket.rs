//! Bandwidth: token buckets of an allocation, a user, the server (bits of payload per second).
//!
//! Each direction has its own account. A bucket is a quarter of a second deep, but at least 64 KiB,
//! so that a key frame passes at once. Buckets are shared by workers; a relay draws from them in
//! slices, so that they do not meet at every packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Nanos, SECOND};

const DEPTH: Nanos = SECOND / 4;
const LEAST_DEPTH: u64 = 64 << 10;
const SLICE: u64 = 8 << 10;

/// One bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    bits_per_second: AtomicU64,
    /// By direction: the time at which all that was drawn would have been earned.
    earned_at: [AtomicU64; 2],
}

impl Bucket {
    /// Sets the rate; 0: no limit. What is spent stays spent, and is earned at the new rate.
    pub fn set(&self, bits_per_second: u64, now: Nanos) {
        let before = self.bits_per_second.swap(bits_per_second, Ordering::Relaxed);
        if before == 0 || bits_per_second == 0 {
            return;
        }
        for earned_at in &self.earned_at {
            let at = earned_at.load(Ordering::Relaxed);
            let spent = u128::from(at.saturating_sub(now)) * u128::from(before);
            let wait = u64::try_from(spent / u128::from(bits_per_second)).unwrap_or(Nanos::MAX);
            // A worker that draws at this very moment goes before: it drew at the new rate.
            let _ = earned_at.compare_exchange(
                at,
                at.min(now).saturating_add(wait),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    fn draw(&self, upward: bool, bytes: u64, now: Nanos) -> bool {
        let rate = self.bits_per_second.load(Ordering::Relaxed).max(1);
        let price =
            |bytes: u64| (u128::from(bytes) * 8 * u128::from(SECOND) / u128::from(rate)) as u64;
        let depth = DEPTH.max(price(LEAST_DEPTH));
        let cost = price(bytes);
        let drawn = self.earned_at[usize::from(upward)].fetch_update(
            Ordering::Relaxed,
            Ordering::Relaxed,
            |at| {
                Some(at.max(now).saturating_add(cost))
                    .filter(|end| *end <= now.saturating_add(depth))
            },
        );
        drawn.is_ok()
    }
}

/// What one relay has drawn from a bucket and not used yet.
#[derive(Debug)]
pub struct Purse {
    bucket: Arc<Bucket>,
    credit: [u64; 2],
}

impl Purse {
    /// An empty one.
    #[must_use]
    pub fn new(bucket: Arc<Bucket>) -> Self {
        Self { bucket, credit: [0; 2] }
    }

    fn fill(&mut self, upward: bool, bytes: u64, now: Nanos) -> bool {
        let credit = &mut self.credit[usize::from(upward)];
        if self.bucket.bits_per_second.load(Ordering::Relaxed) == 0 {
            *credit = bytes; // nothing is left over for when a limit comes
        }
        if *credit >= bytes {
            return true;
        }
        for slice in [bytes.max(SLICE), bytes - *credit] {
            if self.bucket.draw(upward, slice, now) {
                *credit += slice;
                return true;
            }
        }
        false
    }
}

/// Whether a packet may pass: every purse has, or gets, as much. Nothing is taken if one has not.
pub fn spend(purses: &mut [Purse], upward: bool, bytes: usize, now: Nanos) -> bool {
    let bytes = bytes as u64;
    if !purses.iter_mut().all(|purse| purse.fill(upward, bytes, now)) {
        return false;
    }
    for purse in purses {
        purse.credit[usize::from(upward)] -= bytes;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bits_per_second: u64) -> Arc<Bucket> {
        let bucket = Arc::new(Bucket::default());
        bucket.set(bits_per_second, 0);
        bucket
    }

    fn pass(purses: &mut [Purse], now: Nanos) -> u64 {
        (0..100_000).take_while(|_| spend(purses, true, 1_000, now)).count() as u64 * 1_000
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut purses = [Purse::new(bucket(8_000_000))];
        let mut now = 10 * SECOND;
        assert!((249_000..=250_000).contains(&pass(&mut purses, now)));
        now += SECOND / 10;
        assert!((99_000..=101_000).contains(&pass(&mut purses, now)));
    }

    #[test]
    fn what_is_spent_stays_spent_at_another_rate() {
        let bucket = bucket(800_000);
        let mut purses = [Purse::new(bucket.clone())];
        assert!((64_000..=66_000).contains(&pass(&mut purses, SECOND)));
        bucket.set(8_000_000, SECOND);
        assert!((183_000..=187_000).contains(&pass(&mut purses, SECOND)));
    }

    #[test]
    fn nothing_is_left_over_from_before_a_limit() {
        let bucket = bucket(0);
        let mut purses = [Purse::new(bucket.clone())];
        assert!(spend(&mut purses, true, 1, SECOND));
        bucket.set(8_000, SECOND);
        assert!((64_000..=65_536).contains(&pass(&mut purses, SECOND)));
    }

    #[test]
    fn a_small_rate_still_lets_a_frame_pass() {
        let mut purses = [Purse::new(bucket(8_000))];
        assert!((64_000..=66_000).contains(&pass(&mut purses, 0)));
    }

    #[test]
    fn directions_have_their_own_accounts() {
        let mut purses = [Purse::new(bucket(8_000))];
        pass(&mut purses, 0);
        assert!(!spend(&mut purses, true, 1_000, 0));
        assert!(spend(&mut purses, false, 1_000, 0));
    }

    #[test]
    fn the_tightest_bucket_decides_and_costs_the_others_nothing() {
        let wide = bucket(8_000_000_000);
        let mut purses = [Purse::new(wide), Purse::new(bucket(8_000))];
        pass(&mut purses, 0);
        let before = purses[0].credit[1];
        assert!(!spend(&mut purses, true, 1_000, 0));
        assert!(purses[0].credit[1] >= before);
    }

    #[test]
    fn a_shared_bucket_is_shared() {
        let shared = bucket(8_000_000);
        let (mut one, mut other) = ([Purse::new(shared.clone())], [Purse::new(shared.clone())]);
        let passed = pass(&mut one, 0) + pass(&mut other, 0);
        assert!((240_000..=250_000).contains(&passed), "{passed}");
        shared.set(0, 0);
        assert!(spend(&mut other, true, 1 << 40, 0));
    }

    #[test]
    fn nobody_without_a_limit_is_held_up() {
        assert!(spend(&mut [], true, 1 << 20, 0));
    }
}
