//! The client's side of a five-tuple, and what becomes of it.

use std::net::{IpAddr, SocketAddr};

/// What a client talks to us by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Datagrams with DTLS.
    Dtls,
    /// A stream.
    Tcp,
    /// A stream with TLS.
    Tls,
}

/// The client's side of a five-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leg {
    /// The handle of the listener that it came by.
    pub listener: u64,
    /// By what.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The client's address.
    pub client: SocketAddr,
    /// Which connection; 0 for plain UDP.
    pub stream: u64,
    /// The proxy that passes its datagrams on, each with a header that names the client.
    pub via: Option<SocketAddr>,
}

impl Leg {
    /// Where its datagrams come from and answers go.
    #[must_use]
    pub fn sender(&self) -> SocketAddr {
        self.via.unwrap_or(self.client)
    }
}

/// Why a connection ended; the names are those of `turnd_streams_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed or reset the connection, or began another in its place.
    Client,
    /// The peer did, with which the stream was spliced.
    Peer,
    /// Neither STUN nor ChannelData where a frame begins.
    Garbage,
    /// A frame trickled in for longer than the deadline.
    FrameTimeout,
    /// The handshake took longer than its deadline.
    HandshakeTimeout,
    /// The handshake failed.
    HandshakeFailed,
    /// No authenticated request within the deadline.
    Unauthenticated,
    /// DTLS: no relay, and nothing came for so long.
    Idle,
    /// Shutdown or an admin's order.
    Server,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Client,
        Self::Peer,
        Self::Garbage,
        Self::FrameTimeout,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::Unauthenticated,
        Self::Idle,
        Self::Server,
    ];

    /// The reason's name outside.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Garbage => "garbage",
            Self::FrameTimeout => "frame_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::Unauthenticated => "unauthenticated",
            Self::Idle => "idle",
            Self::Server => "server",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// A host, and where its address is link-local by which interface: what a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    ip: IpAddr,
    scope: u32,
}

impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Self { ip: address.ip(), scope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_by_name() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::from_name(reason.name()), Some(reason));
        }
        assert_eq!(CloseReason::from_name("weather"), None);
    }

    #[test]
    fn a_host_is_its_address_and_interface() {
        let host = |text: &str| Host::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(host("192.0.2.1:1"), host("192.0.2.1:2"));
        assert_ne!(host("[fe80::1%1]:1"), host("[fe80::1%2]:1"));
    }
}
