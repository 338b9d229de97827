//! A TCP or TLS connection among a worker's tables.

use crate::fields::Fields;
use crate::forward::HandedUp;
use crate::io::Token;
use crate::leg::Leg;
use crate::stream::Stream;
use crate::worker::Spliced;

/// One connected client.
pub struct Connection {
    /// Its leg.
    pub leg: Leg,
    /// Its place, and which tenant of it.
    pub token: Token,
    /// Its bytes.
    pub stream: Stream,
    /// What the IP header says of what comes by it.
    pub fields: Fields,
    /// Its place among the clients that have relays.
    pub client: Option<u32>,
    /// Index of its ledger.
    pub ledger: u32,
    /// Binding requests that Python wants to see.
    pub handed_up: HandedUp,
    /// Whether it is among those to be flushed when the turn ends.
    pub unflushed: bool,
    /// Whether it is among those to be read in the next turn.
    pub unread: bool,
    /// Whether to be told when the socket takes bytes again has been asked for.
    pub waits: bool,
    /// The peer's connection that it is one with.
    pub spliced: Option<Box<Spliced>>,
}
