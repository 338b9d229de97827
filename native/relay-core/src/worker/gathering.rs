//! Requests gather while Python is at work on others: were each handed up as it comes, the worker
//! would take the CPU from Python each time, where they share one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long at most: what else comes waits as well.
const LONGEST: Duration = Duration::from_millis(2);

/// Where a worker waits, and is told to go on.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    going_on: Mutex<bool>,
    over: Condvar,
}

impl Gathering {
    /// Waits until Python has handled what it took, but not for long.
    pub(crate) fn wait(&self) {
        let mut going_on = self.lock();
        *going_on = true;
        // Whether told, timed out or poisoned: the worker goes on.
        let waited = self.over.wait_timeout_while(going_on, LONGEST, |going_on| *going_on);
        let (mut going_on, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *going_on = false;
    }

    /// Python has handled what it took.
    pub(crate) fn end(&self) {
        if std::mem::take(&mut *self.lock()) {
            self.over.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.going_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself() {
        Gathering::default().wait();
    }

    #[test]
    fn whoever_waits_is_told() {
        let gathering = Gathering::default();
        gathering.end(); // nobody waits: it has no effect on who comes
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| gathering.wait());
            while !waits.is_finished() {
                gathering.end();
                std::thread::yield_now();
            }
        });
        assert!(!*gathering.lock());
    }
}
