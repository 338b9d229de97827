//! Binding: tells a client how its address looks from here (RFC 8489 section 6.3.1).
//!
//! Only the plain case is ours: whatever carries integrity, or an attribute that must be understood
//! and is not, or is malformed, Python decides on.

use std::net::SocketAddr;

use crate::wire::address::{LARGEST_ADDRESS, encode_xor_address};
use crate::wire::attributes::{Understood, number};
use crate::wire::message::{
    BINDING_REQUEST, BINDING_SUCCESS, HEADER_SIZE, MAGIC_COOKIE, Stun, TransactionId,
};
use crate::wire::response::append_response;

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
    number::CONNECTION_ID,
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
    let fingerprint = stun.fingerprint_if_unsigned(|number| !UNDERSTOOD.lacks(number))?;
    Some(BindingRequest { transaction_id: stun.transaction_id(), fingerprint })
}

/// Whether a datagram has the header of a Binding request of RFC 3489: type and length, and no
/// magic cookie.
#[must_use]
pub fn is_classic_binding_untrusted(bytes_untrusted: &[u8]) -> bool {
    let Some(header) = bytes_untrusted.first_chunk::<HEADER_SIZE>() else { return false };
    let rest = bytes_untrusted.len() - HEADER_SIZE;
    header[..2] == BINDING_REQUEST.to_be_bytes()
        && usize::from(u16::from_be_bytes([header[2], header[3]])) == rest
        && rest.is_multiple_of(4)
        && header[4..8] != MAGIC_COOKIE
}

/// Appends the success response to `out`: XOR-MAPPED-ADDRESS, and FINGERPRINT where the request had
/// it.
pub fn binding_success(request: &BindingRequest, client: SocketAddr, out: &mut Vec<u8>) {
    let mut mapped = [0; LARGEST_ADDRESS];
    let size = encode_xor_address(client, &request.transaction_id, &mut mapped);
    let fields = [(number::XOR_MAPPED_ADDRESS, &mapped[..size])];
    append_response(BINDING_SUCCESS, &request.transaction_id, &fields, request.fingerprint, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::address::decode_xor_address;
    use crate::wire::sample;

    fn plain(attributes: &[(u16, &[u8])]) -> Option<BindingRequest> {
        plain_binding_untrusted(&sample::message(BINDING_REQUEST, attributes))
    }

    fn answer_to(request: &BindingRequest, client: SocketAddr) -> Vec<u8> {
        let mut out = b"before".to_vec();
        binding_success(request, client, &mut out);
        out.split_off(6)
    }

    #[test]
    fn the_answer_tells_the_client_its_address() {
        for client in ["192.0.2.1:9", "[2001:db8::1]:65535"] {
            let client = client.parse().unwrap();
            let answer = answer_to(&plain(&[]).unwrap(), client);
            let stun = Stun::from_untrusted(&answer).unwrap();
            assert_eq!(stun.message_type(), BINDING_SUCCESS);
            assert_eq!(stun.transaction_id(), sample::TRANSACTION_ID);
            let attributes: Vec<_> = stun.attributes().map(Result::unwrap).collect();
            assert_eq!(attributes.len(), 1);
            assert_eq!(attributes[0].number, number::XOR_MAPPED_ADDRESS);
            let mapped = decode_xor_address(attributes[0].value, &sample::TRANSACTION_ID);
            assert_eq!(mapped, Ok(client));
        }
    }

    #[test]
    fn a_request_with_fingerprint_gets_one_back() {
        let request = sample::with_fingerprint(sample::message(BINDING_REQUEST, &[]));
        let request = plain_binding_untrusted(&request).unwrap();
        assert!(request.fingerprint);
        let answer = answer_to(&request, "192.0.2.1:9".parse().unwrap());
        let numbers: Vec<_> = Stun::from_untrusted(&answer)
            .unwrap()
            .attributes()
            .map(|attribute| attribute.unwrap().number)
            .collect();
        assert_eq!(numbers, [number::XOR_MAPPED_ADDRESS, number::FINGERPRINT]);
    }

    #[test]
    fn what_is_understood_or_optional_changes_nothing() {
        let request = plain(&[(0x8022, b"client"), (number::USERNAME, b"u"), (0xC057, b"")]);
        assert_eq!(request, plain(&[]));
        assert!(!request.unwrap().fingerprint);
    }

    #[test]
    fn a_classic_request_is_told_by_type_length_and_the_cookie_that_it_lacks() {
        let mut request = sample::message(BINDING_REQUEST, &[(0x0003, &[0; 4])]);
        assert!(!is_classic_binding_untrusted(&request), "it has the cookie");
        request[7] ^= 1;
        assert!(is_classic_binding_untrusted(&request));
        assert!(!is_classic_binding_untrusted(&request[..27]));
        assert!(!is_classic_binding_untrusted(&request[..19]));
        for (index, other) in [(1, 3), (0, 1), (3, 7)] {
            let mut changed = request.clone();
            changed[index] = other;
            assert!(!is_classic_binding_untrusted(&changed));
        }
        request[3] += 1;
        request.push(0);
        assert!(!is_classic_binding_untrusted(&request), "attributes have multiples of four bytes");
    }

    #[test]
    fn all_else_is_for_python() {
        assert_eq!(plain(&[(number::MESSAGE_INTEGRITY, &[0; 20])]), None);
        assert_eq!(plain(&[(number::MESSAGE_INTEGRITY_SHA256, &[0; 32])]), None);
        let (change_request, response_port, priority) = (0x0003, 0x0027, 0x0024);
        for number in [change_request, response_port, priority, 0x7FFF] {
            assert_eq!(plain(&[(number, &[0; 4])]), None);
        }
        assert_eq!(plain(&[(number::FINGERPRINT, &[0; 4])]), None);
        for other in [0x0003, 0x0011, 0x0101, 0x0111] {
            assert_eq!(plain_binding_untrusted(&sample::message(other, &[])), None);
        }
        assert_eq!(plain_binding_untrusted(b"junk"), None);
    }
}
