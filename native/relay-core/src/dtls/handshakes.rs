//! How many handshakes are under way, and whose.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rules::budget::network_of;

/// Under way at the same time; OpenSSL takes some 64 KiB for each, and beside it what a client has
/// sent too early: a hundred records at most.
pub const MOST: usize = 512;

/// Of these, of one network (IPv4 /24, IPv6 /56).
pub const MOST_OF_A_NETWORK: usize = 64;

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
        if counts.all >= MOST || held >= MOST_OF_A_NETWORK {
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

    #[test]
    fn all_and_each_network_have_so_many() {
        let handshakes = Handshakes::default();
        let client = |network: usize| IpAddr::from([10, 0, network as u8, 1]);
        for _ in 0..MOST_OF_A_NETWORK {
            assert!(handshakes.begin(client(0)));
        }
        assert!(!handshakes.begin(client(0)));
        let begun = (MOST_OF_A_NETWORK..).find(|n| !handshakes.begin(client(1 + n % 200)));
        assert_eq!(begun, Some(MOST));
        handshakes.end(client(0));
        handshakes.end(client(250)); // never begun
        assert!(handshakes.begin(client(0)) && !handshakes.begin(client(1)));
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
