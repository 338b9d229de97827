//! Time as rules see it: nanoseconds of one monotonic clock, read once a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Nanoseconds on the engine's clock. The clock's zero is that of the caller: Python's
/// `time.monotonic()`, which on Linux is CLOCK_MONOTONIC.
pub type Nanos = u64;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// Python's seconds as nanoseconds; what lies before zero or beyond the clock's end is cut off.
#[must_use]
pub fn nanos(seconds: f64) -> Nanos {
    // A float's cast saturates, and NaN becomes 0: both end a rule rather than prolong it.
    (seconds * 1e9) as Nanos
}

/// Nanoseconds as Python's seconds.
#[must_use]
pub fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

/// The clock of one engine: the system's, or one that tests move by hand.
#[derive(Clone, Debug)]
pub enum Clock {
    /// CLOCK_MONOTONIC.
    System(Origin),
    /// Moved by [`Clock::set`] alone.
    ByHand(Arc<AtomicU64>),
}

/// What CLOCK_MONOTONIC said when the clock was made, and the instant of it.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    instant: Instant,
    nanos: Nanos,
}

impl Clock {
    /// The system's clock, given what CLOCK_MONOTONIC says now.
    #[must_use]
    pub fn system(monotonic_now: Nanos) -> Self {
        Self::System(Origin { instant: Instant::now(), nanos: monotonic_now })
    }

    /// A clock that stands until it is moved.
    #[must_use]
    pub fn by_hand(now: Nanos) -> Self {
        Self::ByHand(Arc::new(AtomicU64::new(now)))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Nanos {
        match self {
            Self::System(origin) => {
                let passed = u64::try_from(origin.instant.elapsed().as_nanos());
                origin.nanos.saturating_add(passed.unwrap_or(Nanos::MAX))
            }
            Self::ByHand(now) => now.load(Ordering::Acquire),
        }
    }

    /// Moves a clock by hand; the system's goes its own way.
    pub fn set(&self, now: Nanos) {
        if let Self::ByHand(clock) = self {
            clock.store(now, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_nanoseconds_agree() {
        assert_eq!(nanos(1.5), 1_500_000_000);
        assert!((seconds(1_500_000_000) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_time_ends_a_rule() {
        assert_eq!(nanos(-1.0), 0);
        assert_eq!(nanos(f64::NAN), 0);
        assert_eq!(nanos(f64::INFINITY), Nanos::MAX);
    }

    #[test]
    fn a_clock_by_hand_stands_until_it_is_moved() {
        let clock = Clock::by_hand(5);
        let same = clock.clone();
        clock.set(7);
        assert_eq!(same.now(), 7);
    }

    #[test]
    fn the_system_clock_begins_where_it_was_told_and_goes_on() {
        let clock = Clock::system(1_000);
        let first = clock.now();
        assert!(first >= 1_000);
        clock.set(0);
        assert!(clock.now() >= first);
    }
}
