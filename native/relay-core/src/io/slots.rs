//! Which slots a kernel is lent that takes them in a circle: no more than it lately needed, those
//! first that were used last, so that they are still in the processor's cache.

/// Who has the slots.
pub(super) struct Slots {
    all: usize,
    /// Nobody; the last of them was used last.
    spare: Vec<u32>,
    /// The turn.
    taken: Vec<u32>,
    /// How many the kernel has.
    lent: usize,
    /// How many it is to have.
    wanted: usize,
    /// The most that one of the last turns took, and how many turns those are.
    most: usize,
    turns: u32,
}

/// Slots that the kernel is lent at least.
const FEWEST: usize = 16;

/// Turns after which slots that were not needed are lent no more.
const SEASON: u32 = 256;

impl Slots {
    /// So many, which nobody has yet.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            all: slots,
            spare: (0..slots as u32).rev().collect(),
            taken: Vec::with_capacity(slots),
            lent: 0,
            wanted: FEWEST.min(slots),
            most: 0,
            turns: 0,
        }
    }

    /// A completion brought a slot.
    pub(super) fn take(&mut self, slot: u32) {
        self.taken.push(slot);
        self.lent -= 1;
    }

    /// The kernel ran out of slots.
    pub(super) fn want_more(&mut self) {
        self.wanted = (2 * self.wanted).min(self.all);
        self.turns = 0;
    }

    /// The turn is over: what the kernel is to be lent now.
    pub(super) fn next_turn(&mut self) -> impl Iterator<Item = u32> + '_ {
        self.most = self.most.max(self.taken.len());
        self.turns += 1;
        if self.turns >= SEASON {
            if self.most <= self.wanted / 4 {
                self.wanted = (self.wanted / 2).max(FEWEST);
            }
            (self.most, self.turns) = (0, 0);
        }
        self.spare.append(&mut self.taken);
        let more = self.wanted.saturating_sub(self.lent);
        self.lent += more;
        self.spare.drain(self.spare.len() - more..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn in which the kernel fills so many of the slots that it has.
    fn turn(slots: &mut Slots, lent: &mut Vec<u32>, filled: usize) {
        lent.extend(slots.next_turn());
        for slot in lent.drain(..filled) {
            slots.take(slot);
        }
    }

    #[test]
    fn no_slot_is_lost_or_lent_twice() {
        let (mut slots, mut lent) = (Slots::new(64), Vec::new());
        for round in 0..100 {
            turn(&mut slots, &mut lent, round % 16);
            let mut all = [&lent[..], &slots.spare, &slots.taken].concat();
            all.sort_unstable();
            assert_eq!(all, (0..64).collect::<Vec<u32>>());
            assert_eq!(lent.len(), slots.lent);
            if round % 30 == 0 {
                slots.want_more();
            }
        }
    }

    #[test]
    fn a_kernel_that_runs_out_is_lent_more_up_to_all() {
        let (mut slots, mut lent) = (Slots::new(64), Vec::new());
        for expected in [16, 32, 64, 64] {
            lent.extend(slots.next_turn());
            assert_eq!(lent.len(), expected);
            slots.want_more();
        }
        let mut few = Slots::new(4);
        assert_eq!(few.next_turn().count(), 4);
    }

    #[test]
    fn what_was_not_needed_for_a_season_is_lent_no_more() {
        let (mut slots, mut lent) = (Slots::new(512), Vec::new());
        for _ in 0..2 {
            slots.want_more();
        }
        for _ in 0..SEASON {
            turn(&mut slots, &mut lent, 17);
        }
        assert_eq!(slots.wanted, 64);
        for _ in 0..8 * SEASON {
            turn(&mut slots, &mut lent, 1);
        }
        assert_eq!((slots.wanted, lent.len()), (FEWEST, FEWEST - 1));
    }

    #[test]
    fn what_was_used_last_is_lent_first() {
        let (mut slots, mut lent) = (Slots::new(512), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            turn(&mut slots, &mut lent, 3);
            seen.extend(lent.iter().copied());
        }
        assert!(seen.len() <= FEWEST, "{}", seen.len());
    }
}
