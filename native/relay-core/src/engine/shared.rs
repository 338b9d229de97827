//! What the engine and all its workers see.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::dtls::cookies::Cookies;
use crate::dtls::handshakes::Handshakes;
use crate::forward::Surroundings;
use crate::handup::HandUp;
use crate::rules::budget::AnswerBudget;
use crate::rules::protection::{LocalHosts, Relayed};
use crate::sys;
use crate::sys::wake::Wake;
use crate::time::Clock;
use crate::worker::Station;

/// Rings when there are events for the engine's caller.
#[derive(Debug)]
pub struct Bell {
    wake: Wake,
    rung: AtomicBool,
}

impl Bell {
    /// Rings, unless it does already.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake.wake();
        }
    }

    /// Silences it. To be called before the events are taken, so that none is overlooked.
    pub fn answer(&self) {
        self.wake.drain();
        self.rung.store(false, Ordering::Release);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// What the engine and all its workers see.
#[derive(Debug)]
pub struct Shared {
    /// The time.
    pub clock: Clock,
    /// What packets are compared with on every worker.
    pub around: Arc<Surroundings>,
    /// The workers.
    pub stations: Vec<Arc<Station>>,
    /// What waits for the engine's caller. One for all workers: what it bounds and who has the next
    /// turn hold for all clients together.
    pub hand_up: HandUp,
    /// Rings when a worker has handed something up.
    pub bell: Bell,
    /// What DTLS clients are asked for before they are known.
    pub cookies: Cookies,
    /// Of DTLS, under way.
    pub handshakes: Handshakes,
    /// Odd, and secret: which worker a client falls to is not for clients to choose.
    pub seed: u32,
    broken: Mutex<Option<String>>,
}

impl Shared {
    /// For so many workers.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new(workers: usize, clock: Clock) -> io::Result<Self> {
        let stations: io::Result<Vec<_>> =
            (0..workers).map(|_| Ok(Arc::new(Station::new()?))).collect();
        let is_local = |host: IpAddr| sys::socket::is_local_host(SocketAddr::new(host, 0));
        Ok(Self {
            clock,
            around: Arc::new(Surroundings {
                relayed: Relayed::default(),
                local: LocalHosts::new(Box::new(is_local)),
                budget: AnswerBudget::default(),
                offload: None,
            }),
            stations: stations?,
            hand_up: HandUp::default(),
            bell: Bell { wake: Wake::new()?, rung: AtomicBool::new(false) },
            cookies: Cookies::new()?,
            handshakes: Handshakes::default(),
            seed: fastrand::u32(..) | 1,
            broken: Mutex::default(),
        })
    }

    /// The worker of a client's address.
    #[must_use]
    pub fn worker_of(&self, client: SocketAddr) -> u32 {
        sys::steering::steer(client, self.seed, self.stations.len() as u32)
    }

    /// A worker has ended that was not told to.
    pub fn report_broken(&self, problem: String) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        self.bell.ring();
    }

    /// Why a worker has ended that was not told to.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
