//! What a worker is told, in one queue: an order that was given first is obeyed first.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::counters::Traffic;
use crate::dtls::association::Terms;
use crate::forward::{HandedUp, Listener};
use crate::io::Carried;
use crate::leg::{CloseReason, Host, Leg};
use crate::network::Networks;
use crate::rules::bucket::Purse;
use crate::rules::protection::Protection;
use crate::rules::table::{Moving, NewRelay};
use crate::stream::StreamSettings;
use crate::stream::tls::TlsConfig;
use crate::sys::wake::Wake;
use crate::time::Nanos;
use crate::wire::challenge::Challenge;
use crate::wire::nonce::NonceKeys;

/// Orders that wait before the worker is woken for them, although none is urgent.
const PATIENCE: usize = 64;

/// A connection that Python accepted.
#[derive(Debug)]
pub struct Adoption {
    /// Its socket.
    pub socket: OwnedFd,
    /// Its leg, with the handle of the connection.
    pub leg: Leg,
    /// What holds for it.
    pub settings: StreamSettings,
    /// With which certificates, for TLS.
    pub tls: Option<Arc<TlsConfig>>,
    /// When it was given to us.
    pub since: Nanos,
    /// What was read from it already.
    pub first_bytes: Vec<u8>,
    /// Index of its ledger.
    pub ledger: u32,
    /// Binding requests that Python wants to see.
    pub handed_up: HandedUp,
}

/// A stream and a peer's connection that are to be one.
#[derive(Debug)]
pub struct Splicing {
    /// The stream's handle.
    pub stream: u64,
    /// The connected socket.
    pub peer: OwnedFd,
    /// What the client gets first.
    pub answer: Box<[u8]>,
    /// What they draw bandwidth from.
    pub purses: Vec<Purse>,
}

/// Where a relay's client is found.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// The client's leg.
    pub leg: Leg,
    /// For UDP: the listener's index, and whether it is bound to all addresses.
    pub listener: u32,
    /// Whether the listener is bound to all addresses of the host.
    pub wildcard: bool,
    /// Index of the ledger.
    pub ledger: u32,
}

/// A relay on its way from one worker to another.
#[derive(Debug)]
pub struct Handover {
    /// The relay, and the rules that go with it.
    pub moving: Moving,
    /// Peers' packets that had been received for it and wait to be handled.
    pub received: Vec<Carried>,
}

/// A relay that comes to another client.
#[derive(Debug)]
pub enum Coming {
    /// From one of the same worker.
    Here(u64),
    /// From another worker, as with [`Order::Claim`].
    From(Receiver<Option<Box<Handover>>>),
}

/// A leg whose relays go to another.
#[derive(Debug)]
pub struct Departure {
    /// The leg.
    pub leg: Leg,
    /// Whose they are from now on.
    pub to: Address,
    /// At which worker.
    pub worker: u32,
}

/// One order.
#[derive(Debug)]
pub enum Order {
    /// Count what is relayed for one listener and transport here; indices count up from 0.
    Ledger(Arc<Traffic>),
    /// Serve clients by UDP; indices count up from 0.
    Listen(Listener),
    /// Serve DTLS there with these from now on.
    ServeDtls(u32, Box<Terms>),
    /// Serve no new clients there.
    CloseListener(u32),
    /// Datagrams from these begin with a PROXY header there.
    Trust(u32, Networks),
    /// A connection is yours.
    Adopt(Box<Adoption>),
    /// End a connection.
    CloseLeg(u64, CloseReason),
    /// Send a message on a connection.
    Answer(u64, Box<[u8]>),
    /// Make a connection and a peer's one pipe.
    Splice(Box<Splicing>),
    /// A relayed transport address is bound; without a client it is a reservation.
    Open(Box<NewRelay>, Option<Address>),
    /// Give a relay of yours to a client of yours.
    Assign(u64, Address, Vec<Purse>),
    /// Give a relay to another worker.
    Release(u64, SyncSender<Option<Box<Handover>>>),
    /// Take it, for a client of yours. What comes after waits until it has arrived; since orders
    /// are given by one thread, of two workers never both wait for each other.
    Claim(Receiver<Option<Box<Handover>>>, Address, Vec<Purse>),
    /// Keep the media of a leg without relays.
    HoldBack(Leg),
    /// Relays come to a client of yours, and what it was held back with follows.
    HandOver(Vec<Coming>, Address),
    /// Relays of a client of yours go to another: for a while his media goes after them.
    Depart(Box<Departure>),
    /// Install, extend or remove a permission.
    Permit(u64, Host, Nanos),
    /// Install, extend or remove a channel binding.
    Bind(u64, u16, SocketAddr, Nanos),
    /// A relay's end has changed: tell the offload.
    Review(u64),
    /// Close a relay.
    Close(u64),
    /// What may never be reached.
    Protect(Arc<Protection>),
    /// What nonces of ours are made with.
    KnowNonces(Arc<NonceKeys>),
    /// What strangers that come by a listener are told; None: what Python says.
    Challenge(u64, Option<Arc<Challenge>>),
    /// Close streams over their deadlines, drop expired rules.
    Tick,
    /// Say when all orders before this one have been obeyed.
    Report(SyncSender<()>),
    /// End.
    Stop,
}

/// The queue of one worker.
#[derive(Debug)]
pub struct Orders {
    /// None: the worker has ended.
    queue: Mutex<Option<VecDeque<Order>>>,
    waiting: AtomicBool,
    urgent: AtomicBool,
    wake: Wake,
}

impl Orders {
    /// An empty one.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> std::io::Result<Self> {
        let queue = Mutex::new(Some(VecDeque::new()));
        let (waiting, urgent) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { queue, waiting, urgent, wake: Wake::new()? })
    }

    /// What the worker waits on.
    #[must_use]
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Gives an order that is obeyed before the next packet is handled, however late that is.
    pub fn give(&self, order: Order) {
        let waiting = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(queue) = queue.as_mut() else { return };
            queue.push_back(order);
            queue.len()
        };
        self.waiting.store(true, Ordering::Release);
        if waiting == PATIENCE {
            self.wake.wake();
        }
    }

    /// Gives an order that is obeyed now.
    pub fn give_now(&self, order: Order) {
        self.give(order);
        self.wake.wake();
    }

    /// Gives an order that is obeyed when [`Orders::hurry`] is called, or before.
    pub fn give_soon(&self, order: Order) {
        self.give(order);
        self.urgent.store(true, Ordering::Release);
    }

    /// Wakes the worker for what was given to be obeyed soon, unless it has got it already.
    pub fn hurry(&self) {
        let urgent = self.urgent.swap(false, Ordering::Relaxed);
        if urgent && self.waiting.load(Ordering::Acquire) {
            self.wake.wake();
        }
    }

    /// Takes all that were given, in their order, behind those of the batch.
    pub fn take(&self, batch: &mut VecDeque<Order>) {
        if self.waiting.swap(false, Ordering::Acquire) {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(queue) = queue.as_mut() {
                batch.append(queue);
            }
        }
    }

    /// The worker has ended: what it was told and will be told comes to nothing, and whoever waits
    /// for an answer learns that there will be none.
    pub fn close(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let never_obeyed = queue.take();
        drop(queue);
        drop(never_obeyed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvError, sync_channel};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn the_worker_is_woken_once_for_what_is_urgent_and_not_taken() {
        let orders = Orders::new().unwrap();
        let woken = || {
            let mut fds = [PollFd::new(orders.wake(), PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let woken = poll(&mut fds, Some(&now)).unwrap() == 1;
            orders.wake().drain();
            woken
        };
        orders.give_soon(Order::Close(1));
        orders.give_soon(Order::Close(2));
        assert!(!woken());
        orders.hurry();
        assert!(woken());
        orders.hurry();
        assert!(!woken(), "it was woken already");
        orders.give_soon(Order::Close(3));
        orders.take(&mut VecDeque::new());
        orders.hurry();
        assert!(!woken(), "it has got them");
        orders.give(Order::Close(4));
        orders.hurry();
        assert!(!woken(), "it is in no hurry");
    }

    #[test]
    fn orders_are_taken_once_and_in_their_order() {
        let orders = Orders::new().unwrap();
        for id in 0..PATIENCE as u64 * 2 {
            orders.give(Order::Close(id));
        }
        let mut batch = VecDeque::new();
        orders.take(&mut batch);
        let ids: Vec<u64> = batch
            .drain(..)
            .filter_map(|order| if let Order::Close(id) = order { Some(id) } else { None })
            .collect();
        assert_eq!(ids, (0..PATIENCE as u64 * 2).collect::<Vec<_>>());
        orders.take(&mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn who_waits_for_a_worker_that_has_ended_learns_of_it() {
        let orders = Orders::new().unwrap();
        let (before, answer) = sync_channel(1);
        orders.give(Order::Report(before));
        orders.close();
        assert_eq!(answer.recv(), Err(RecvError));
        let (after, answer) = sync_channel(1);
        orders.give_now(Order::Report(after));
        assert_eq!(answer.recv(), Err(RecvError));
    }
}
