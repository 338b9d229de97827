//! How many handshakes are under way, and whose.
//!
//! The more room is taken, the less of it a network gets (dynamic thresholds, Choudhury and Hahne
//! 1998): a few networks that take all they can, as those of an IPv6 /48 are, leave room for
//! newcomers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rules::budget::network_of;

/// Under way at the same time; OpenSSL takes some 64 KiB for each, and beside it what a client has
/// sent too early: a hundred records at most, and few datagrams that wait for their turn.
pub const MOST: usize = 512;

/// Of these, of one network (IPv4 /24, IPv6 /56).
pub const MOST_OF_A_NETWORK: usize = 64;

/// Into so many parts the room that is left is divided for the bound of a network.
const SHARE: usize = 2;

/// Counts those of all workers.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_network: HashMap<u64, usize, foldhash::quality::RandomState>,
}

impl Handshakes {
    /// Counts one more, if there is room.
    #[must_use]
    pub fn begin(&self, client: IpAddr) -> bool {
        let mut counts = self.lock();
        let network = network_of(client);
        let held = counts.by_network.get(&network).copied().unwrap_or(0);
        if held >= MOST_OF_A_NETWORK || held * SHARE >= MOST - counts.all {
            return false;
        }
        counts.all += 1;
        counts.by_network.insert(network, held + 1);
        true
    }

    /// One that had begun is under way no more.
    pub fn end(&self, client: IpAddr) {
        let mut counts = self.lock();
        let network = network_of(client);
        let Some(held) = counts.by_network.get_mut(&network) else { return };
        *held -= 1;
        if *held == 0 {
            counts.by_network.remove(&network);
        }
        counts.all -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(network: usize) -> IpAddr {
        IpAddr::from([10, (network >> 8) as u8, network as u8, 1])
    }

    #[test]
    fn all_and_each_network_have_so_many() {
        let handshakes = Handshakes::default();
        for _ in 0..MOST_OF_A_NETWORK {
            assert!(handshakes.begin(client(0)));
        }
        assert!(!handshakes.begin(client(0)));
        let begun = (MOST_OF_A_NETWORK..).find(|n| !handshakes.begin(client(*n)));
        assert_eq!(begun, Some(MOST));
        handshakes.end(client(0));
        handshakes.end(client(1)); // never begun
        assert!(!handshakes.begin(client(0)), "it has the most already");
        assert!(handshakes.begin(client(1)) && !handshakes.begin(client(2)));
    }

    #[test]
    fn networks_that_take_all_they_get_leave_room_for_others() {
        let handshakes = Handshakes::default();
        while (0..200).filter(|n| handshakes.begin(client(*n))).count() > 0 {}
        assert!(handshakes.begin(client(300)) && handshakes.begin(client(301)));
    }

    #[test]
    fn nothing_stays_of_a_network() {
        let handshakes = Handshakes::default();
        let client = IpAddr::from([10, 0, 0, 1]);
        assert!(handshakes.begin(client));
        handshakes.end(client);
        assert!(handshakes.lock().by_network.is_empty());
    }
}
