//! A path for tests, which moves nothing.

use std::sync::Mutex;

use super::*;
use crate::time::SECOND;

/// Remembers what it was told; for tests.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    told: Mutex<Vec<String>>,
    is_full: Mutex<bool>,
}

impl Recording {
    /// What it was told since it was last asked: verb, relay, number, peer, deadline in seconds.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// Whether it takes no more flows.
    pub(crate) fn set_full(&self, is_full: bool) {
        *self.is_full.lock().unwrap() = is_full;
    }

    fn tell(&self, what: &str, flow: &Flow, deadline: Nanos) {
        let told =
            format!("{what} {} {:x} {} {}", flow.relay, flow.number, flow.peer, deadline / SECOND);
        self.told.lock().unwrap().push(told);
    }
}

/// What every flow has moved whenever it is asked.
pub(crate) const ONE: TrafficTotals = TrafficTotals {
    packets_up: 1,
    bytes_up: 10,
    last_up: 7,
    packets_down: 2,
    bytes_down: 30,
    last_down: 8,
};

impl Offload for Recording {
    fn probe() -> Result<Self, String> {
        Ok(Self::default())
    }

    fn add(&self, flow: &Flow, _: BorrowedFd<'_>, deadline: Nanos) -> io::Result<()> {
        if *self.is_full.lock().unwrap() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.tell("add", flow, deadline);
        Ok(())
    }

    fn extend(&self, flow: &Flow, deadline: Nanos) {
        self.tell("extend", flow, deadline);
    }

    fn remove(&self, flow: &Flow) -> TrafficTotals {
        self.tell("remove", flow, 0);
        ONE
    }

    fn stats(&self, _: &Flow) -> TrafficTotals {
        ONE
    }
}
