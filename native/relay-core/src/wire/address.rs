//! Transport addresses as attributes carry them (RFC 8489 sections 14.1 and 14.2).
//!
//! The family is that of the bytes: an IPv4-mapped IPv6 address stays an IPv6 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::wire::error::DecodeError;
use crate::wire::message::{MAGIC_COOKIE, TransactionId};

/// Bytes of the longest address attribute's value.
pub const LARGEST_ADDRESS: usize = 20;

const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;
const PORT_XOR: u16 = 0x2112;
const HOST_XOR: u32 = u32::from_be_bytes(MAGIC_COOKIE);

/// Reads the value of XOR-PEER-ADDRESS or XOR-MAPPED-ADDRESS.
///
/// # Errors
/// `Address`: an unknown family, or a size that is not the family's.
pub fn decode_xor_address(value: &[u8], id: &TransactionId) -> Result<SocketAddr, DecodeError> {
    let (host, port) = match *value {
        [_, FAMILY_IPV4, high, low, ref host @ ..] => {
            let host = <[u8; 4]>::try_from(host).map_err(|_| DecodeError::Address)?;
            let host = Ipv4Addr::from(u32::from_be_bytes(host) ^ HOST_XOR);
            (IpAddr::V4(host), [high, low])
        }
        [_, FAMILY_IPV6, high, low, ref host @ ..] => {
            let host = <[u8; 16]>::try_from(host).map_err(|_| DecodeError::Address)?;
            (IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(host) ^ mask(id))), [high, low])
        }
        _ => return Err(DecodeError::Address),
    };
    Ok(SocketAddr::new(host, u16::from_be_bytes(port) ^ PORT_XOR))
}

/// Writes such a value; an IPv6 address's zone is not told.
///
/// Returns its size: 8 or 20 bytes.
pub fn encode_xor_address(
    address: SocketAddr,
    id: &TransactionId,
    out: &mut [u8; LARGEST_ADDRESS],
) -> usize {
    out[0] = 0;
    out[2..4].copy_from_slice(&(address.port() ^ PORT_XOR).to_be_bytes());
    match address.ip() {
        IpAddr::V4(host) => {
            out[1] = FAMILY_IPV4;
            out[4..8].copy_from_slice(&(u32::from(host) ^ HOST_XOR).to_be_bytes());
            8
        }
        IpAddr::V6(host) => {
            out[1] = FAMILY_IPV6;
            out[4..].copy_from_slice(&(u128::from(host) ^ mask(id)).to_be_bytes());
            LARGEST_ADDRESS
        }
    }
}

/// What an IPv6 address is XORed with: the magic cookie and the transaction id.
fn mask(id: &TransactionId) -> u128 {
    id.iter().fold(u128::from(HOST_XOR), |mask, &byte| mask << 8 | u128::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sample;

    fn there_and_back(text: &str) {
        let address: SocketAddr = text.parse().unwrap();
        let mut value = [0xAA; LARGEST_ADDRESS];
        let size = encode_xor_address(address, &sample::TRANSACTION_ID, &mut value);
        let decoded = decode_xor_address(&value[..size], &sample::TRANSACTION_ID);
        assert_eq!(decoded, Ok(address));
    }

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        there_and_back("192.0.2.1:32853");
        there_and_back("[2001:db8:1234:5678:11:2233:4455:6677]:32853");
        there_and_back("[::ffff:192.0.2.1]:0");
    }

    #[test]
    fn addresses_of_the_rfc_are_read() {
        for (vector, expected) in [
            (sample::RFC5769[1], "192.0.2.1:32853"),
            (sample::RFC5769[2], "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let message = sample::unhex(vector);
            let stun = crate::wire::message::Stun::from_untrusted(&message).unwrap();
            let mapped = stun.attributes().map(Result::unwrap).find(|found| found.number == 0x20);
            let address = decode_xor_address(mapped.unwrap().value, &stun.transaction_id());
            assert_eq!(address, Ok(expected.parse().unwrap()));
        }
    }

    #[test]
    fn a_zone_is_not_told() {
        let address: SocketAddr = "[fe80::1%7]:9".parse().unwrap();
        let mut value = [0; LARGEST_ADDRESS];
        encode_xor_address(address, &sample::TRANSACTION_ID, &mut value);
        let decoded = decode_xor_address(&value, &sample::TRANSACTION_ID);
        assert_eq!(decoded, Ok("[fe80::1]:9".parse().unwrap()));
    }

    #[test]
    fn family_and_size_must_fit() {
        let refused = Err(DecodeError::Address);
        for value in [&[0, 1, 0, 0][..], &[0, 1, 0, 0, 1, 2, 3], &[0, 2, 0, 0, 1, 2, 3, 4], &[]] {
            assert_eq!(decode_xor_address(value, &sample::TRANSACTION_ID), refused);
        }
        let mut value = [0; LARGEST_ADDRESS];
        for family in [0, 1, 3] {
            value[1] = family;
            assert_eq!(decode_xor_address(&value, &sample::TRANSACTION_ID), refused);
        }
    }
}
