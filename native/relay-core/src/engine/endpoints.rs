//! Endpoints that clients come to.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::{Endpoint, Engine, Ledger, ListenerSettings};
use crate::counters::Traffic;
use crate::forward::Listener;
use crate::leg::{Leg, Transport};
use crate::orders::Order;
use crate::stream::tls::TlsConfigError;
use crate::sys;
use crate::sys::options::Buffers;
use crate::sys::socket::SocketOptions;

impl Engine {
    /// Serves UDP, DTLS or both at an endpoint, or on an inherited, bound descriptor.
    ///
    /// # Errors
    /// The endpoint cannot be bound, or DTLS not be served.
    pub fn listen(
        &mut self,
        endpoint: SocketAddr,
        settings: &ListenerSettings,
        inherited: Option<OwnedFd>,
    ) -> io::Result<u64> {
        let buffers = settings.buffers();
        let (sockets, bound) = match inherited {
            Some(socket) => {
                let bound = sys::socket::inherit_udp(&socket, buffers)?;
                (vec![Arc::new(socket)], bound)
            }
            None => self.bind_group(endpoint, buffers)?,
        };
        let id = self.next();
        let ledger = self.ledger(id, Transport::Udp);
        let mut terms = Vec::new().into_iter();
        if settings.dtls {
            let ledger = self.ledger(id, Transport::Dtls);
            let all = settings.terms(ledger, self.workers()).map_err(io::Error::other)?;
            terms = all.into_iter();
        }
        let wildcard = bound.ip().is_unspecified();
        for socket in &sockets {
            sys::options::prepare_listener(socket.as_fd(), wildcard, true)?;
        }
        self.note_buffers(&sockets[0], buffers);
        let index = self.udp_listeners;
        self.udp_listeners += 1;
        for worker in 0..self.workers() {
            let own = sockets.get(worker as usize);
            let listener = Listener {
                id,
                socket: own.unwrap_or(&sockets[0]).clone(),
                receives: own.is_some(),
                endpoint: bound,
                ledger,
                handed_up: settings.handed_up,
                proxies: settings.proxies.clone(),
                plain: settings.plain_udp,
                dtls: terms.next(),
            };
            self.order_now(worker, Order::Listen(listener));
        }
        let dtls = settings.dtls;
        self.endpoints.insert(id, Endpoint::Udp { index, bound, sockets, buffers, dtls });
        Ok(id)
    }

    /// A socket a worker at one address, and the kernel told whose client is whose.
    fn bind_group(
        &self,
        endpoint: SocketAddr,
        buffers: Buffers,
    ) -> io::Result<(Vec<Arc<OwnedFd>>, SocketAddr)> {
        let options = SocketOptions { buffers, shared: self.workers() > 1 };
        if options.shared {
            // Shared ports are shared with any process of this user: another server that has this
            // one must be told of, not joined.
            drop(sys::socket::bind_udp(endpoint, &SocketOptions { shared: false, ..options })?);
        }
        let first = sys::socket::bind_udp(endpoint, &options)?;
        let bound = sys::socket::local_addr(first.as_fd())?;
        let mut sockets = vec![Arc::new(first)];
        for _ in 1..self.workers() {
            sockets.push(Arc::new(sys::socket::bind_udp(bound, &options)?));
        }
        if options.shared {
            sys::steering::attach(sockets[0].as_fd(), self.shared.seed, self.workers())?;
        }
        Ok((sockets, bound))
    }

    fn note_buffers(&mut self, socket: &OwnedFd, asked: Buffers) {
        let Ok(granted) = sys::options::granted_buffers(socket.as_fd()) else { return };
        let pairs = [
            ("receive_buffer", "rmem_max", asked.receive, granted.receive),
            ("send_buffer", "wmem_max", asked.send, granted.send),
        ];
        for (name, limit, asked, granted) in pairs {
            if granted < asked {
                let note = format!(
                    "the kernel grants {granted} bytes of sockets.{name}, not {asked}: raise \
                     net.core.{limit}"
                );
                if !self.description.notes.contains(&note) {
                    self.description.notes.push(note);
                }
            }
        }
    }

    /// A handle under which streams of one accepting endpoint are adopted.
    ///
    /// # Errors
    /// A certificate cannot be served.
    pub fn stream_listener(&mut self, settings: &ListenerSettings) -> Result<u64, TlsConfigError> {
        let streams = settings.streams()?;
        let id = self.next();
        self.endpoints.insert(id, Endpoint::Streams(streams));
        Ok(id)
    }

    /// New settings for a listener. Open streams keep their session.
    ///
    /// # Errors
    /// A certificate cannot be served; the old settings stay.
    pub fn configure(
        &mut self,
        id: u64,
        settings: &ListenerSettings,
    ) -> Result<(), TlsConfigError> {
        if let Some(Endpoint::Udp { index, dtls: true, .. }) = self.endpoints.get(&id) {
            let index = *index;
            let ledger = self.ledger(id, Transport::Dtls);
            for (worker, terms) in (0..).zip(settings.terms(ledger, self.workers())?) {
                self.order_now(worker, Order::ServeDtls(index, Box::new(terms)));
            }
        }
        match self.endpoints.get_mut(&id) {
            Some(Endpoint::Streams(streams)) => *streams = settings.streams()?,
            Some(Endpoint::Udp { index, sockets, buffers, .. }) => {
                let index = *index;
                *buffers = settings.buffers();
                for socket in sockets {
                    if sys::options::set_buffers(socket.as_fd(), *buffers).is_err() {
                        break; // the kernel takes any size: the socket is gone
                    }
                }
                for worker in 0..self.workers() {
                    self.order_now(worker, Order::Trust(index, settings.proxies.clone()));
                }
            }
            None => (),
        }
        Ok(())
    }

    /// No new clients by this listener. UDP and DTLS legs end with it, streams stay.
    pub fn close_listener(&mut self, id: u64) {
        let Some(Endpoint::Udp { index, .. }) = self.endpoints.remove(&id) else { return };
        let ended: Vec<Leg> = self.legs.keys().filter(|leg| leg.listener == id).copied().collect();
        for leg in ended {
            self.close_relays_of(&leg);
        }
        for worker in 0..self.workers() {
            self.order_now(worker, Order::CloseListener(index));
        }
        self.closings = true;
    }

    /// Where a UDP listener is bound.
    #[must_use]
    pub fn endpoint(&self, id: u64) -> Option<SocketAddr> {
        match self.endpoints.get(&id)? {
            Endpoint::Udp { bound, .. } => Some(*bound),
            Endpoint::Streams(_) => None,
        }
    }

    /// The index of the ledger of a listener and transport, on every worker.
    pub(super) fn ledger(&mut self, listener: u64, transport: Transport) -> u32 {
        let known = self
            .ledgers
            .iter()
            .position(|ledger| ledger.listener == listener && ledger.transport == transport);
        known.unwrap_or_else(|| {
            let traffic: Vec<Arc<Traffic>> = (0..self.workers()).map(|_| Arc::default()).collect();
            for (worker, own) in (0..).zip(&traffic) {
                self.order(worker, Order::Ledger(own.clone()));
            }
            self.ledgers.push(Ledger { listener, transport, traffic });
            self.ledgers.len() - 1
        }) as u32
    }
}
