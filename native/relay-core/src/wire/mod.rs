//! STUN and ChannelData as far as an engine needs them (RFC 8489, RFC 8656).
//!
//! Rules of the house
//! 1.  Pure: bytes and `now` in, verdicts and bytes out. No I/O, no `unsafe`, and nothing is
//!     allocated for a packet of media.
//! 2.  Python's codec (`turnd/stun`, `turnd/engine`) is the reference: the same bytes get the same
//!     verdict and the same values here, which `tests/oracle.rs` compares. Whatever is not sure to
//!     be ours alone to answer goes up to Python.
//! 3.  A payload stays where it was received: what is decoded tells its place in the buffer.
#![forbid(unsafe_code)]

pub mod address;
pub mod attributes;
pub mod binding;
pub mod challenge;
pub mod data;
pub mod error;
pub mod framing;
pub mod message;
pub mod nonce;
pub mod proxy;
mod response;
pub mod send;

#[cfg(test)]
pub(crate) mod sample;
