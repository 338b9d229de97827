//! What it takes to challenge strangers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::time::{Nanos, seconds};
use crate::wire::challenge::Challenge;
use crate::wire::nonce::{Mint, NonceKeys};

/// What the worker was told of it.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// What nonces of ours are made with.
    pub(super) keys: Option<Arc<NonceKeys>>,
    by_listener: HashMap<u64, Arc<Challenge>, foldhash::quality::RandomState>,
}

impl Challenges {
    /// Sets what strangers that come by a listener are told.
    pub(super) fn set(&mut self, listener: u64, challenge: Option<Arc<Challenge>>) {
        match challenge {
            Some(challenge) => self.by_listener.insert(listener, challenge),
            None => self.by_listener.remove(&listener),
        };
    }

    /// The challenge for a client now; None where it is for Python to make.
    pub(super) fn of(
        &self,
        listener: u64,
        client: SocketAddr,
        now: Nanos,
    ) -> Option<(&Challenge, Mint<'_>)> {
        let challenge = self.by_listener.get(&listener)?;
        Some((challenge, self.keys.as_ref()?.mint(client, seconds(now))?))
    }
}
