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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::SEND_INDICATION;
    use crate::wire::sample;

    /// 192.0.2.1:9
    const PEER: (u16, &[u8]) =
        (number::XOR_PEER_ADDRESS, &[0, 1, 0x21, 0x1B, 0xE1, 0x12, 0xA6, 0x43]);
    const DATA: (u16, &[u8]) = (number::DATA, b"hello");

    fn decode(attributes: &[(u16, &[u8])]) -> Result<SendIndication, DecodeError> {
        decode_send_untrusted(&sample::message(SEND_INDICATION, attributes))
    }

    #[test]
    fn peer_and_data_are_enough() {
        let message = sample::message(SEND_INDICATION, &[PEER, DATA]);
        let send = decode_send_untrusted(&message).unwrap();
        assert_eq!(send.peer, "192.0.2.1:9".parse().unwrap());
        assert_eq!(&message[send.data], b"hello");
        assert!(!send.dont_fragment);
    }

    #[test]
    fn empty_data_is_data() {
        assert_eq!(decode(&[PEER, (number::DATA, b"")]).unwrap().data, 36..36);
    }

    #[test]
    fn dont_fragment_is_a_flag() {
        for value in [&b""[..], b"odd"] {
            let send = decode(&[PEER, (number::DONT_FRAGMENT, value), DATA]).unwrap();
            assert!(send.dont_fragment);
        }
    }

    #[test]
    fn the_first_of_two_counts() {
        let send = decode(&[PEER, DATA, (PEER.0, b"malformed"), (DATA.0, b"other")]).unwrap();
        assert_eq!((send.data, send.peer.port()), (36..41, 9));
    }

    #[test]
    fn neither_peer_nor_data_may_be_missing() {
        assert_eq!(decode(&[PEER]), Err(DecodeError::Incomplete));
        assert_eq!(decode(&[DATA]), Err(DecodeError::Incomplete));
        let integrity = (number::MESSAGE_INTEGRITY, &[0; 20][..]);
        assert_eq!(decode(&[PEER, integrity, DATA]), Err(DecodeError::Incomplete));
    }

    #[test]
    fn what_must_be_understood_is() {
        assert!(decode(&[PEER, DATA, (0x8022, b"client"), (number::USERNAME, b"u")]).is_ok());
        for number in [number::LIFETIME, number::CHANNEL_NUMBER, 0x0003, 0x7FFF] {
            assert_eq!(decode(&[PEER, DATA, (number, b"")]), Err(DecodeError::UnknownRequired));
        }
    }

    #[test]
    fn malformed_is_refused() {
        assert_eq!(decode(&[(PEER.0, b""), DATA]), Err(DecodeError::Address));
        assert_eq!(decode_send_untrusted(b"\0\x16"), Err(DecodeError::NotStun));
    }
}
