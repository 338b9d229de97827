//! The system's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::{Nanos, SECOND};

/// CLOCK_MONOTONIC: what deadlines are compared with.
#[must_use]
pub fn monotonic() -> Nanos {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// CLOCK_REALTIME: what the kernel stamps arriving packets with.
#[must_use]
pub fn realtime() -> Nanos {
    nanos(clock_gettime(ClockId::Realtime))
}

fn nanos(time: Timespec) -> Nanos {
    from_parts(time.tv_sec, time.tv_nsec)
}

/// Seconds and nanoseconds as the kernel tells them; what lies before the clock's zero is zero.
pub(super) fn from_parts(seconds: i64, nanoseconds: i64) -> Nanos {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u64::try_from(nanoseconds).unwrap_or(0);
    seconds.saturating_mul(SECOND).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward() {
        let before = monotonic();
        assert!(before > 0 && monotonic() >= before);
        // The year 2020 has passed, and 2200 is far.
        assert!((1_577_836_800 * SECOND..7_258_118_400 * SECOND).contains(&realtime()));
    }

    #[test]
    fn what_lies_before_zero_is_zero() {
        assert_eq!(from_parts(-1, 5), 5);
        assert_eq!(from_parts(2, 5), 2 * SECOND + 5);
        assert_eq!(from_parts(i64::MAX, 0), Nanos::MAX);
    }
}
