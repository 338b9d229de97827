//! Binding: tells a client how its address looks from here (RFC 8489 section 6.3.1).
//!
//! Only the plain case is ours: whatever carries integrity, or an attribute that must be understood
//! and is not, or is malformed, Python decides on.

use std::net::SocketAddr;

use crate::wire::address::{LARGEST_ADDRESS, encode_xor_address};
use crate::wire::attributes::{ATTRIBUTE_HEADER_SIZE, Understood, fingerprint, number};
use crate::wire::message::{
    BINDING_REQUEST, BINDING_SUCCESS, HEADER_SIZE, MAGIC_COOKIE, Stun, TransactionId,
};

const FINGERPRINT_SIZE: usize = 4;

const UNDERSTOOD: Understood = Understood::BY_ALL.and(&[
    number::CHANNEL_NUMBER,
    number::LIFETIME,
    number::XOR_PEER_ADDRESS,
    number::DATA,
    number::XOR_RELAYED_ADDRESS,
    number::REQUESTED_ADDRESS_FAMILY,
    number::EVEN_PORT,
    number::REQUESTED_TRANSPORT,
    number::DONT_FRAGMENT,
    number::RESERVATION_TOKEN,
]);

/// A Binding request that a success answers, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingRequest {
    /// Names the transaction.
    pub transaction_id: TransactionId,
    /// Whether it ends with FINGERPRINT; the answer then does as well.
    pub fingerprint: bool,
}

/// A plain Binding request; None for all else, which goes up to Python.
#[must_use]
pub fn plain_binding_untrusted(bytes_untrusted: &[u8]) -> Option<BindingRequest> {
    let stun = Stun::from_untrusted(bytes_untrusted).ok()?;
    if stun.message_type() != BINDING_REQUEST {
        return None;
    }
    let mut fingerprint = false;
    for attribute in stun.attributes() {
        match attribute.ok()?.number {
            number::MESSAGE_INTEGRITY | number::MESSAGE_INTEGRITY_SHA256 => return None,
            number::FINGERPRINT => fingerprint = true,
            other if UNDERSTOOD.lacks(other) => return None,
            _ => {}
        }
    }
    Some(BindingRequest { transaction_id: stun.transaction_id(), fingerprint })
}

/// Appends the success response to `out`: XOR-MAPPED-ADDRESS, and FINGERPRINT where the request had
/// it. No SOFTWARE, since the answer goes to whoever claims to have asked: it stays small.
pub fn binding_success(request: &BindingRequest, client: SocketAddr, out: &mut Vec<u8>) {
    let begin = out.len();
    let mut mapped = [0; LARGEST_ADDRESS];
    let size = encode_xor_address(client, &request.transaction_id, &mut mapped);
    let mut length = ATTRIBUTE_HEADER_SIZE + size;
    if request.fingerprint {
        length += ATTRIBUTE_HEADER_SIZE + FINGERPRINT_SIZE;
    }
    out.reserve(HEADER_SIZE + length);
    out.extend_from_slice(&BINDING_SUCCESS.to_be_bytes());
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(&request.transaction_id);
    append(number::XOR_MAPPED_ADDRESS, &mapped[..size], out);
    if request.fingerprint {
        let value = fingerprint(&out[begin..]);
        append(number::FINGERPRINT, &value, out);
    }
}

/// For values whose size is a multiple of four.
fn append(number: u16, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}
