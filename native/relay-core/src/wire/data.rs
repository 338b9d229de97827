//! What leaves towards a client: channel headers and Data indications (RFC 8656 sections 11.3, 11.5
//! and 12.4). The payload stays where it was received: only what precedes it is made.

use std::net::SocketAddr;

use crate::wire::address::{LARGEST_ADDRESS, encode_xor_address};
use crate::wire::attributes::{ATTRIBUTE_HEADER_SIZE, number};
use crate::wire::message::{
    CHANNEL_HEADER_SIZE, DATA_INDICATION, HEADER_SIZE, MAGIC_COOKIE, TransactionId,
};

/// Room for all of a Data indication that precedes its payload.
pub const LARGEST_HEAD: usize = PEER_END + ATTRIBUTE_HEADER_SIZE;

const PEER_AT: usize = HEADER_SIZE + ATTRIBUTE_HEADER_SIZE;
const PEER_END: usize = PEER_AT + LARGEST_ADDRESS;
const ICMP_SIZE: usize = 8;

/// The header of ChannelData that carries `length` bytes.
#[must_use]
pub fn channel_header(number: u16, length: u16) -> [u8; CHANNEL_HEADER_SIZE] {
    let ([a, b], [c, d]) = (number.to_be_bytes(), length.to_be_bytes());
    [a, b, c, d]
}

/// Bytes of padding after `length` bytes: attributes, and ChannelData in a stream, end on a
/// multiple of four.
#[must_use]
pub const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

/// Writes all of a Data indication that precedes its payload; [`padding`] follows the payload.
///
/// Returns the head's size, 36 bytes or 48 by the peer's family; None where the payload is longer
/// than a message can be.
#[must_use]
pub fn data_indication_head(
    peer: SocketAddr,
    id: &TransactionId,
    data_length: usize,
    out: &mut [u8; LARGEST_HEAD],
) -> Option<usize> {
    let peer_end = write_peer(peer, id, out);
    let head = peer_end + ATTRIBUTE_HEADER_SIZE;
    let length = u16::try_from(head - HEADER_SIZE + data_length + padding(data_length)).ok()?;
    write_header(length, id, out);
    // Fits, as the whole message's length does.
    write_attribute_header(number::DATA, data_length as u16, &mut out[peer_end..head]);
    Some(head)
}

/// A Data indication that tells of an ICMP error that a packet to the peer met with.
///
/// `icmp_type`: 7 bits, of which all types that are relayed have fewer. `code`: 9 bits.
/// `error_data`: the next hop's MTU, or 0 (section 18.13).
#[must_use]
pub fn encode_icmp(
    peer: SocketAddr,
    icmp_type: u8,
    code: u8,
    error_data: u32,
    id: &TransactionId,
) -> Vec<u8> {
    let mut head = [0; LARGEST_HEAD];
    let peer_end = write_peer(peer, id, &mut head);
    let end = peer_end + ATTRIBUTE_HEADER_SIZE;
    write_header((end + ICMP_SIZE - HEADER_SIZE) as u16, id, &mut head);
    write_attribute_header(number::ICMP, ICMP_SIZE as u16, &mut head[peer_end..end]);
    let mut message = Vec::with_capacity(end + ICMP_SIZE);
    message.extend_from_slice(&head[..end]);
    // 16 bits reserved, 7 of type, 9 of code (RFC 8656 figure 11).
    let type_and_code = u32::from(icmp_type & 0x7F) << 9 | u32::from(code);
    message.extend_from_slice(&type_and_code.to_be_bytes());
    message.extend_from_slice(&error_data.to_be_bytes());
    message
}

fn write_header(length: u16, id: &TransactionId, out: &mut [u8; LARGEST_HEAD]) {
    out[..2].copy_from_slice(&DATA_INDICATION.to_be_bytes());
    out[2..4].copy_from_slice(&length.to_be_bytes());
    out[4..8].copy_from_slice(&MAGIC_COOKIE);
    out[8..HEADER_SIZE].copy_from_slice(id);
}

/// Returns where XOR-PEER-ADDRESS ends.
fn write_peer(peer: SocketAddr, id: &TransactionId, out: &mut [u8; LARGEST_HEAD]) -> usize {
    let mut value = [0; LARGEST_ADDRESS];
    let size = encode_xor_address(peer, id, &mut value);
    write_attribute_header(number::XOR_PEER_ADDRESS, size as u16, &mut out[HEADER_SIZE..PEER_AT]);
    out[PEER_AT..PEER_END].copy_from_slice(&value);
    PEER_AT + size
}

fn write_attribute_header(number: u16, length: u16, out: &mut [u8]) {
    out[..2].copy_from_slice(&number.to_be_bytes());
    out[2..].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::address::decode_xor_address;
    use crate::wire::message::Stun;
    use crate::wire::sample::TRANSACTION_ID;

    const PEERS: [(&str, usize, usize); 2] =
        [("192.0.2.1:9", 36, 65_516), ("[2001:db8::1]:65535", 48, 65_504)];

    fn assert_says(message: &[u8], peer: SocketAddr, number: u16, value: &[u8]) {
        let stun = Stun::from_untrusted(message).unwrap();
        assert_eq!(stun.message_type(), DATA_INDICATION);
        assert_eq!(stun.transaction_id(), TRANSACTION_ID);
        let attributes: Vec<_> = stun.attributes().map(Result::unwrap).collect();
        assert_eq!(attributes.len(), 2);
        assert_eq!(attributes[0].number, number::XOR_PEER_ADDRESS);
        assert_eq!(decode_xor_address(attributes[0].value, &TRANSACTION_ID), Ok(peer));
        assert_eq!((attributes[1].number, attributes[1].value), (number, value));
    }

    #[test]
    fn head_payload_and_padding_are_a_data_indication() {
        for (peer, head_size, _) in PEERS {
            let peer = peer.parse().unwrap();
            for size in 0..9 {
                let mut head = [0xAA; LARGEST_HEAD];
                let end = data_indication_head(peer, &TRANSACTION_ID, size, &mut head).unwrap();
                assert_eq!(end, head_size);
                let payload = vec![7; size];
                let mut message = [&head[..end], &payload].concat();
                message.resize(message.len() + padding(size), 0);
                assert_says(&message, peer, number::DATA, &payload);
            }
        }
    }

    #[test]
    fn what_is_too_long_does_not_fit() {
        for (peer, head_size, largest) in PEERS {
            let (peer, mut head) = (peer.parse().unwrap(), [0; LARGEST_HEAD]);
            let fits = |size, head: &mut _| data_indication_head(peer, &TRANSACTION_ID, size, head);
            assert_eq!(fits(largest, &mut head), Some(head_size));
            assert_eq!(fits(largest + 1, &mut head), None);
        }
    }

    #[test]
    fn icmp_errors_are_told_with_their_data() {
        for (peer, ..) in PEERS {
            let peer = peer.parse().unwrap();
            let message = encode_icmp(peer, 3, 4, 1400, &TRANSACTION_ID);
            assert_says(&message, peer, number::ICMP, &[0, 0, 6, 4, 0, 0, 5, 0x78]);
        }
    }

    #[test]
    fn a_channel_header_is_number_and_length() {
        assert_eq!(channel_header(0x4001, 0x0203), [0x40, 1, 2, 3]);
    }

    #[test]
    fn padding_ends_on_a_multiple_of_four() {
        assert_eq!([0, 1, 2, 3, 4].map(padding), [0, 3, 2, 1, 0]);
    }
}
