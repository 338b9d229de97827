//! Whether to look again for a moment before going to sleep.
//!
//! To fall asleep and be woken costs some microseconds of CPU, and delays the packet by more. Where
//! the next one comes sooner than that it pays to wait for it awake; where it does not, a worker
//! that lingered before each sleep would only burn what it saves. So it goes by its luck. And where
//! packets come many at a time there is nothing to save: they share what being woken costs.

use std::time::Duration;

/// About what falling asleep and being woken takes of the CPU.
pub(super) const MOMENT: Duration = Duration::from_micros(5);

/// Luck that is kept.
const MOST: u32 = 16;

/// What one packet that came in the moment is worth, in moments without one.
const LUCK: u32 = 2;

/// Of so many sleeps a luckless worker lingers before one.
const ONE_IN: u32 = 64;

/// More than so many packets at a time are many.
const ALONE: usize = 2;

/// How lucky a worker has been lately.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    luck: u32,
    sleeps: u32,
    /// Packets that came at a time, the last time.
    together: usize,
}

impl Lingering {
    /// So many packets came at a time.
    pub(super) fn saw(&mut self, together: usize) {
        self.together = together;
    }

    /// Whether to linger now.
    pub(super) fn pays(&mut self) -> bool {
        self.sleeps = self.sleeps.wrapping_add(1);
        self.together <= ALONE && (self.luck > 0 || self.sleeps.is_multiple_of(ONE_IN))
    }

    /// Whether something came in the moment.
    pub(super) fn learn(&mut self, something_came: bool) {
        self.luck =
            if something_came { MOST.min(self.luck + LUCK) } else { self.luck.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often of so many sleeps it lingers, where something comes in every `nth` moment.
    fn lingers(sleeps: u32, nth: Option<u32>) -> u32 {
        let mut lingering = Lingering::default();
        let mut moments = 0;
        for _ in 0..sleeps {
            if lingering.pays() {
                moments += 1;
                lingering.learn(nth.is_some_and(|nth| moments % nth == 0));
            }
        }
        moments
    }

    #[test]
    fn it_goes_by_its_luck() {
        assert_eq!(lingers(6_400, None), 100);
        assert!(lingers(6_400, Some(1)) > 6_300);
        assert!(lingers(6_400, Some(2)) > 6_000, "every second one is worth it");
        assert!(lingers(6_400, Some(20)) < 500, "every twentieth is not");
    }

    #[test]
    fn it_sleeps_where_packets_come_together() {
        let mut lingering = Lingering::default();
        lingering.learn(true);
        assert!(lingering.pays());
        lingering.saw(ALONE + 1);
        assert!(!lingering.pays());
        lingering.saw(ALONE);
        assert!(lingering.pays());
    }
}
