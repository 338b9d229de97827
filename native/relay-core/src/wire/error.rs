//! Why bytes from the network are refused.

use std::error::Error;
use std::fmt::{Display, Formatter, Result};

/// What is wrong with a message. The sender's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than a header, or without the first bits or the magic cookie of STUN.
    NotStun,
    /// The header's length is not that of what follows, or no multiple of four.
    Length,
    /// An attribute overruns the message.
    Overrun,
    /// FINGERPRINT is wrong, or not the last attribute.
    Fingerprint,
    /// An integrity attribute has a size that it cannot have.
    IntegritySize,
    /// An attribute that must be understood is not.
    UnknownRequired,
    /// An address of no known family, or whose size is not that of its family.
    Address,
    /// A Send indication without peer or data.
    Incomplete,
    /// No PROXY header where there has to be one, or one that contradicts itself.
    ProxyHeader,
}

impl Display for DecodeError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::NotStun => "no STUN message",
            Self::Length => "a length that lies",
            Self::Overrun => "an attribute overruns the message",
            Self::Fingerprint => "FINGERPRINT is wrong or not the last attribute",
            Self::IntegritySize => "an integrity attribute of a size that it cannot have",
            Self::UnknownRequired => "an attribute that must be understood is not",
            Self::Address => "no transport address",
            Self::Incomplete => "a Send indication without peer or data",
            Self::ProxyHeader => "no good PROXY header",
        })
    }
}

impl Error for DecodeError {}
