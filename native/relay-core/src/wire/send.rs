//! Send indications: what a client asks to send (RFC 8656 section 11.2).

use std::net::SocketAddr;
use std::ops::Range;

use crate::wire::address::decode_xor_address;
use crate::wire::attributes::{Understood, number};
use crate::wire::error::DecodeError;
use crate::wire::message::Stun;

const UNDERSTOOD: Understood =
    Understood::BY_ALL.and(&[number::XOR_PEER_ADDRESS, number::DATA, number::DONT_FRAGMENT]);

/// What a client asks to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendIndication {
    /// Whom to send to.
    pub peer: SocketAddr,
    /// Where in the message the payload is.
    pub data: Range<usize>,
    /// Whether the packet may not be fragmented on its way (section 18.8).
    pub dont_fragment: bool,
}

/// Decodes a Send indication. Its message type has been looked at before.
///
/// # Errors
/// It is malformed, lacks the peer or the data, or has attributes that must be understood and are
/// not.
pub fn decode_send_untrusted(bytes_untrusted: &[u8]) -> Result<SendIndication, DecodeError> {
    let stun = Stun::from_untrusted(bytes_untrusted)?;
    let (mut peer, mut data, mut dont_fragment) = (None, None, false);
    // Of attributes that come twice the first counts (RFC 8489 section 14).
    for attribute in stun.attributes() {
        let attribute = attribute?;
        match attribute.number {
            number::XOR_PEER_ADDRESS => peer = peer.or(Some(attribute.value)),
            number::DATA => data = data.or(Some(attribute.range())),
            number::DONT_FRAGMENT => dont_fragment = true,
            other if UNDERSTOOD.lacks(other) => return Err(DecodeError::UnknownRequired),
            _ => {}
        }
    }
    let (Some(peer), Some(data)) = (peer, data) else { return Err(DecodeError::Incomplete) };
    let peer = decode_xor_address(peer, &stun.transaction_id())?;
    Ok(SendIndication { peer, data, dont_fragment })
}
