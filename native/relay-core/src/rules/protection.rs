//! What may never be reached, and the two faces of our own addresses.
//!
//! An address that may be ours has a *shown* face that clients use (announced) and a *raw* one that
//! sockets take and give (bound). Tables that packets meet are keyed by the raw one, so that a
//! packet costs no translation. A target remembers whether it needs a look per packet (`guarded`):
//! a port that is protected somewhere, or an address of ours; all others never meet that code.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::relay::RelayShared;
use crate::time::Nanos;

/// Whether a host is an address of this machine.
pub type IsLocal = dyn Fn(IpAddr) -> bool + Send + Sync;

/// Every relayed transport address at this moment, of all workers.
#[derive(Debug, Default)]
pub struct Relayed(RwLock<HashMap<SocketAddr, Known>>);

#[derive(Debug)]
struct Known {
    relay: Arc<RelayShared>,
    /// The shown host that it was opened under: its client has told others of that one.
    face: IpAddr,
}

impl Relayed {
    /// A relayed transport address is bound, and shown by `face` as long as it lives.
    pub fn add(&self, bound: SocketAddr, relay: Arc<RelayShared>, face: IpAddr) {
        let known = Known { relay, face };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(bound, known);
    }

    /// It is no more.
    pub fn remove(&self, bound: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&bound);
    }

    fn is_live(&self, bound: SocketAddr, now: Nanos) -> bool {
        let relays = self.0.read().unwrap_or_else(PoisonError::into_inner);
        relays.get(&bound).is_some_and(|known| now < known.relay.deadline())
    }

    fn face(&self, bound: SocketAddr) -> Option<IpAddr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&bound).map(|known| known.face)
    }
}

/// Whether hosts are addresses of this machine, asked of the system once and then remembered.
pub struct LocalHosts {
    ask: Box<IsLocal>,
    known: Mutex<HashMap<IpAddr, bool>>,
}

impl LocalHosts {
    const BOUND: usize = 1_024;

    /// `ask` asks the system.
    #[must_use]
    pub fn new(ask: Box<IsLocal>) -> Self {
        Self { ask, known: Mutex::default() }
    }

    fn is_local(&self, host: IpAddr) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(&host) {
            return *answer;
        }
        let answer = (self.ask)(host);
        if known.len() < Self::BOUND {
            known.insert(host, answer);
        }
        answer
    }

    /// Addresses come and go: ask the system again.
    pub fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl std::fmt::Debug for LocalHosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalHosts").finish_non_exhaustive()
    }
}

/// What is protected; replaced as a whole.
#[derive(Debug, Default)]
pub struct Protection {
    endpoints: HashSet<SocketAddr>,
    ports: HashSet<u16>,
    wildcard_ports: HashSet<u16>,
    bound_of: HashMap<IpAddr, IpAddr>,
    announced_of: HashMap<IpAddr, IpAddr>,
}

impl Protection {
    /// `endpoints`: never to be reached; `own`: announced and bound host of every relay address.
    #[must_use]
    pub fn new(endpoints: &[SocketAddr], own: &[(IpAddr, IpAddr)]) -> Self {
        let ports = |wanted: fn(&&SocketAddr) -> bool| {
            endpoints.iter().filter(wanted).map(SocketAddr::port).collect()
        };
        // Who addresses a bound host directly is held to the same ports.
        let directly = own.iter().map(|(_, bound)| (*bound, *bound));
        Self {
            endpoints: endpoints.iter().map(|endpoint| unscoped(*endpoint)).collect(),
            ports: ports(|_| true),
            wildcard_ports: ports(|endpoint| endpoint.ip().is_unspecified()),
            bound_of: directly.chain(own.iter().copied()).collect(),
            announced_of: own.iter().map(|(announced, bound)| (*bound, *announced)).collect(),
        }
    }

    /// Whether a target needs a look per packet.
    #[must_use]
    pub fn is_guarded(&self, peer: SocketAddr) -> bool {
        self.ports.contains(&peer.port())
            || self.bound_of.contains_key(&peer.ip())
            || peer.ip().is_unspecified()
    }

    /// The raw address of a peer.
    #[must_use]
    pub fn target(&self, peer: SocketAddr) -> SocketAddr {
        match self.bound_of.get(&peer.ip()) {
            Some(bound) => SocketAddr::new(*bound, peer.port()),
            None => peer,
        }
    }

    /// The shown host of a bound one that is in force: of several that were announced the last.
    #[must_use]
    pub fn face(&self, bound: IpAddr) -> IpAddr {
        self.announced_of.get(&bound).copied().unwrap_or(bound)
    }

    /// A peer as clients know it.
    #[must_use]
    pub fn shown(&self, source: SocketAddr, relayed: &Relayed) -> SocketAddr {
        match self.announced_of.get(&source.ip()) {
            Some(announced) => {
                let face = relayed.face(unscoped(source)).unwrap_or(*announced);
                SocketAddr::new(face, source.port())
            }
            None => source,
        }
    }

    /// Whether a peer is a protected endpoint, or a port of ours that is not relayed now.
    #[must_use]
    pub fn is_forbidden(
        &self,
        peer: SocketAddr,
        relayed: &Relayed,
        local: &LocalHosts,
        now: Nanos,
    ) -> bool {
        if self.is_protected(peer, local) {
            return true;
        }
        let bound = self.bound_of.get(&peer.ip()).copied();
        bound.is_some_and(|bound| !relayed.is_live(SocketAddr::new(bound, peer.port()), now))
    }

    /// Whether a peer is a protected endpoint.
    #[must_use]
    pub fn is_protected(&self, peer: SocketAddr, local: &LocalHosts) -> bool {
        let (host, port) = (peer.ip(), peer.port());
        if host.is_unspecified() {
            return true; // the system takes it for the address that the relay sends from
        }
        let bound = self.bound_of.get(&host).copied();
        if self.ports.contains(&port) {
            let ours = SocketAddr::new(bound.unwrap_or(host), port);
            if self.endpoints.contains(&unscoped(peer)) || self.endpoints.contains(&ours) {
                return true;
            }
            if self.wildcard_ports.contains(&port) && (bound.is_some() || local.is_local(host)) {
                return true;
            }
        }
        false
    }
}

fn unscoped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    struct Case {
        protection: Protection,
        relayed: Relayed,
        local: LocalHosts,
    }

    impl Case {
        fn new(endpoints: &[&str]) -> Self {
            let endpoints: Vec<_> = endpoints.iter().map(|text| at(text)).collect();
            let own = [("203.0.113.5".parse().unwrap(), "10.0.0.5".parse().unwrap())];
            Self {
                protection: Protection::new(&endpoints, &own),
                relayed: Relayed::default(),
                local: LocalHosts::new(Box::new(|host| host.is_loopback())),
            }
        }

        fn forbids(&self, peer: &str) -> bool {
            self.protection.is_forbidden(at(peer), &self.relayed, &self.local, 100)
        }
    }

    #[test]
    fn endpoints_are_forbidden_and_their_neighbours_are_not() {
        let case = Case::new(&["192.0.2.1:3478", "10.0.0.5:6379"]);
        assert!(case.forbids("192.0.2.1:3478"));
        assert!(case.forbids("203.0.113.5:6379"), "by the announced face");
        assert!(!case.forbids("192.0.2.1:3479"));
        assert!(!case.forbids("192.0.2.2:3478"));
    }

    #[test]
    fn a_wildcard_endpoint_is_every_address_of_this_machine() {
        let case = Case::new(&["0.0.0.0:3478"]);
        assert!(case.forbids("127.0.0.9:3478"));
        assert!(case.forbids("203.0.113.5:3478"));
        assert!(!case.forbids("192.0.2.1:3478"));
    }

    #[test]
    fn no_host_is_everybodys_guess() {
        let case = Case::new(&[]);
        assert!(case.forbids("0.0.0.0:9") && case.forbids("[::]:9"));
        assert!(case.protection.is_guarded(at("0.0.0.0:9")));
    }

    #[test]
    fn of_our_own_addresses_only_live_relays_are_reached() {
        let case = Case::new(&[]);
        assert!(case.forbids("203.0.113.5:50000") && case.forbids("10.0.0.5:50000"));
        let relay = Arc::new(RelayShared::new(101));
        case.relayed.add(at("10.0.0.5:50000"), relay.clone(), at("203.0.113.5:0").ip());
        assert!(!case.forbids("203.0.113.5:50000") && !case.forbids("10.0.0.5:50000"));
        relay.set_deadline(100);
        assert!(case.forbids("203.0.113.5:50000"));
        relay.set_deadline(101);
        case.relayed.remove(at("10.0.0.5:50000"));
        assert!(case.forbids("203.0.113.5:50000"));
    }

    #[test]
    fn both_faces_are_one_address() {
        let case = Case::new(&[]);
        assert_eq!(case.protection.target(at("203.0.113.5:7")), at("10.0.0.5:7"));
        let shown = case.protection.shown(at("10.0.0.5:7"), &case.relayed);
        assert_eq!(shown, at("203.0.113.5:7"));
        assert_eq!(case.protection.target(at("192.0.2.1:7")), at("192.0.2.1:7"));
        assert!(case.protection.is_guarded(at("203.0.113.5:7")));
        assert!(case.protection.is_guarded(at("10.0.0.5:7")));
        assert!(!case.protection.is_guarded(at("192.0.2.1:7")));
    }

    #[test]
    fn a_relay_keeps_the_face_that_it_was_opened_under() {
        let relayed = Relayed::default();
        let face = at("203.0.113.5:0").ip();
        relayed.add(at("10.0.0.5:7"), Arc::new(RelayShared::new(101)), face);
        let bound = "10.0.0.5".parse().unwrap();
        let own = [(face, bound), ("203.0.113.6".parse().unwrap(), bound)];
        let protection = Protection::new(&[], &own);
        assert_eq!(protection.shown(at("10.0.0.5:7"), &relayed), at("203.0.113.5:7"));
        assert_eq!(protection.shown(at("10.0.0.5:8"), &relayed), at("203.0.113.6:8"));
        assert_eq!(protection.target(at("203.0.113.5:7")), at("10.0.0.5:7"));
        assert_eq!(protection.target(at("203.0.113.6:7")), at("10.0.0.5:7"));
    }

    #[test]
    fn what_the_system_said_of_a_host_is_remembered_for_a_while() {
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let local = LocalHosts::new(Box::new(move |_| {
            *count.lock().unwrap() += 1;
            true
        }));
        let host = "192.0.2.1".parse().unwrap();
        assert!(local.is_local(host) && local.is_local(host));
        assert_eq!(*asked.lock().unwrap(), 1);
        local.forget();
        assert!(local.is_local(host));
        assert_eq!(*asked.lock().unwrap(), 2);
    }
}
