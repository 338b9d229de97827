//! Limits and protection, and what strangers are told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Engine;
use crate::orders::Order;
use crate::rules::bucket::{Bucket, Purse};
use crate::rules::protection::Protection;
use crate::wire::challenge::Challenge;
use crate::wire::nonce::NonceKeys;

impl Engine {
    /// Sets a token bucket's rate, bits per second. 0: no limit; None: forgets it.
    pub fn limit(&mut self, id: u64, bits_per_second: Option<u64>) {
        let bucket = self.bucket(id);
        match bits_per_second {
            Some(rate) => {
                bucket.set(rate, self.shared.clock.now());
                self.limited.insert(id, bucket);
            }
            None => {
                bucket.set(0, self.shared.clock.now());
                self.limited.remove(&id);
                self.buckets.remove(&id);
            }
        }
    }

    pub(super) fn bucket(&mut self, id: u64) -> Arc<Bucket> {
        let known = self.buckets.entry(id).or_default();
        known.upgrade().unwrap_or_else(|| {
            let bucket = Arc::default();
            *known = Arc::downgrade(&bucket);
            bucket
        })
    }

    pub(super) fn purses(&mut self, buckets: &[u64]) -> Vec<Purse> {
        buckets.iter().map(|id| Purse::new(self.bucket(*id))).collect()
    }

    /// Answers per second that strangers of one network may provoke; 0: no limit.
    pub fn budget(&self, answers_per_second: u64) {
        self.shared.around.budget.set(answers_per_second);
    }

    /// Whether one more answer may go to the host's network.
    #[must_use]
    pub fn draw(&self, host: IpAddr) -> bool {
        self.shared.around.budget.draw(host, self.shared.clock.now())
    }

    /// What nonces of ours are made with.
    pub fn know_nonces(&self, keys: NonceKeys) {
        let keys = Arc::new(keys);
        for worker in 0..self.workers() {
            self.order(worker, Order::KnowNonces(keys.clone()));
        }
    }

    /// What strangers that come by a listener are told; None: what the caller says.
    pub fn challenge(&self, listener: u64, challenge: Option<Challenge>) {
        if !self.endpoints.contains_key(&listener) {
            return;
        }
        let challenge = challenge.map(Arc::new);
        for worker in 0..self.workers() {
            self.order(worker, Order::Challenge(listener, challenge.clone()));
        }
    }

    /// What may never be reached; `own`: announced and bound host of every relay address.
    pub fn protect(&mut self, endpoints: &[SocketAddr], own: &[(IpAddr, IpAddr)]) {
        let protection = Arc::new(Protection::new(endpoints, own));
        self.protection = protection.clone();
        for worker in 0..self.workers() {
            self.order(worker, Order::Protect(protection.clone()));
        }
        self.await_offload(0..self.workers());
    }
}
