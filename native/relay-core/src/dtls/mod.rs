//! Clients by DTLS 1.2: what is told of a datagram without opening it, who is at which address, and
//! OpenSSL, which does the rest.
//!
//! Rules of the house
//! 1.  A hello without a good cookie leaves nothing behind (RFC 6347 section 4.2.1). Handshakes
//!     under way have a bound, in all and by network, and a deadline. Each hello is drawn from the
//!     strangers' budget, before it is looked at: the first of them is answered, and that with the
//!     cookie costs a signature, more than hundreds of packets do.
//! 2.  A hello from the addresses of an open session begins a handshake beside it, which takes its
//!     place when it completes (section 4.2.8). Until then records with messages are the old one's,
//!     those of handshakes the new one's.
//! 3.  One record is one message is one datagram: nothing is framed or padded, and what a path does
//!     not take is dropped as on plain UDP.
//! 4.  Whoever is asked to do something here neither waits nor asks for the time.
//!
//! An open session costs some 45 KiB, almost all of it OpenSSL's buffers.

#![cfg_attr(not(feature = "dtls"), forbid(unsafe_code))]

pub mod association;
pub mod cookies;
pub mod handshakes;
mod lent;
pub mod record;

/// OpenSSL, or why there is none.
#[cfg(feature = "dtls")]
#[path = "openssl.rs"]
pub mod provider;

#[cfg(not(feature = "dtls"))]
#[path = "absent.rs"]
pub mod provider;

pub use lent::Lent;

/// Bytes of a handshake's datagram at most: less than an IPv6 path takes at least (1,280), headers
/// off.
pub const MTU: usize = 1_200;

/// Whatever was wrong, the session is to be closed; an alert may wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// No record is as long as the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig;

/// What came of asking a session for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// One, of so many bytes.
    Message(usize),
    /// There is no further one.
    Nothing,
    /// The client has closed the session.
    Closed,
}

/// What a hello gets.
pub enum Knock {
    /// The question for the cookie, in the memory that was lent.
    Question,
    /// A session: the cookie was good.
    Passed(provider::Session),
    /// Nothing: it is no hello.
    Nothing,
}
