//! Telling ChannelData, STUN and junk apart (RFC 8489 section 6.3, RFC 8656 section 12.5).

use crate::wire::attributes::{Attributes, number};
use crate::wire::error::DecodeError;

/// Bytes of a STUN message's header.
pub const HEADER_SIZE: usize = 20;
/// Bytes of a ChannelData message's header.
pub const CHANNEL_HEADER_SIZE: usize = 4;
/// The magic cookie (RFC 8489 section 5).
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Names one transaction (RFC 8489 section 5).
pub type TransactionId = [u8; 12];

/// The message type of a Binding request.
pub const BINDING_REQUEST: u16 = 0x0001;
/// The message type of an Allocate request.
pub const ALLOCATE_REQUEST: u16 = 0x0003;
/// The message type of a Refresh request.
pub const REFRESH_REQUEST: u16 = 0x0004;
/// The message type of a CreatePermission request.
pub const CREATE_PERMISSION_REQUEST: u16 = 0x0008;
/// The message type of a ChannelBind request.
pub const CHANNEL_BIND_REQUEST: u16 = 0x0009;
/// The message type of a Binding success response.
pub const BINDING_SUCCESS: u16 = 0x0101;
/// The message type of a ConnectionBind request (RFC 6062 section 6).
pub const CONNECTION_BIND_REQUEST: u16 = 0x000B;
/// The message type of its error response.
pub const CONNECTION_BIND_ERROR: u16 = 0x011B;
/// The message type of a Send indication.
pub const SEND_INDICATION: u16 = 0x0016;
/// The message type of a Data indication.
pub const DATA_INDICATION: u16 = 0x0017;

/// What a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A ChannelData message with its padding or without.
    ChannelData {
        /// 0x4000 to 0x4FFF.
        number: u16,
        /// The application data: bytes 4 to `4 + data.len()` of the message.
        data: &'a [u8],
    },
    /// A STUN message, by its header.
    Stun(Stun<'a>),
    /// Neither, or a length that lies.
    Junk,
}

/// Tells what a datagram or a frame of a stream is.
#[inline]
#[must_use]
pub fn classify_untrusted(bytes_untrusted: &[u8]) -> Datagram<'_> {
    if let [first @ 0x40..=0x4F, second, high, low, rest @ ..] = bytes_untrusted {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        return match rest.get(..length) {
            Some(data) => {
                Datagram::ChannelData { number: u16::from_be_bytes([*first, *second]), data }
            }
            None => Datagram::Junk,
        };
    }
    match Stun::from_untrusted(bytes_untrusted) {
        // No method of ours needs more than these first bits, and other protocols have them.
        Ok(stun) if bytes_untrusted[0] <= 3 => Datagram::Stun(stun),
        _ => Datagram::Junk,
    }
}

/// A STUN message whose header holds: type, magic cookie, and a length that is that of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stun<'a> {
    bytes: &'a [u8],
}

impl<'a> Stun<'a> {
    /// Looks at the header alone.
    ///
    /// # Errors
    /// `NotStun` or `Length`.
    #[inline]
    pub fn from_untrusted(bytes_untrusted: &'a [u8]) -> Result<Self, DecodeError> {
        let Some(header) = bytes_untrusted.first_chunk::<HEADER_SIZE>() else {
            return Err(DecodeError::NotStun);
        };
        if header[0] > 0x3F || header[4..8] != MAGIC_COOKIE {
            return Err(DecodeError::NotStun);
        }
        if usize::from(u16::from_be_bytes([header[2], header[3]])) + HEADER_SIZE
            != bytes_untrusted.len()
        {
            return Err(DecodeError::Length);
        }
        Ok(Self { bytes: bytes_untrusted })
    }

    /// The whole message.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Method and class, as 14 bits (RFC 8489 section 5).
    #[must_use]
    pub fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Whether a message without integrity has FINGERPRINT. None: it has integrity, is malformed,
    /// or has an attribute beside these that is not accepted.
    pub(crate) fn fingerprint_if_unsigned(
        &self,
        mut accepts: impl FnMut(u16) -> bool,
    ) -> Option<bool> {
        let mut fingerprint = false;
        for attribute in self.attributes() {
            match attribute.ok()?.number {
                number::MESSAGE_INTEGRITY | number::MESSAGE_INTEGRITY_SHA256 => return None,
                number::FINGERPRINT => fingerprint = true,
                other if !accepts(other) => return None,
                _ => {}
            }
        }
        Some(fingerprint)
    }

    /// Whether a client asks to send to a peer.
    #[must_use]
    pub fn is_send_indication(&self) -> bool {
        self.message_type() == SEND_INDICATION
    }

    /// The transaction id.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_SIZE]);
        id
    }

    /// The attributes that count. Only when they all came without an error is the message sound.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sample;

    #[test]
    fn channel_data_is_told_by_its_first_byte_and_may_be_padded() {
        for bytes in [&b"\x40\x01\0\x03abc"[..], b"\x40\x01\0\x03abc\0"] {
            let expected = Datagram::ChannelData { number: 0x4001, data: b"abc" };
            assert_eq!(classify_untrusted(bytes), expected);
        }
        let empty = Datagram::ChannelData { number: 0x4FFF, data: b"" };
        assert_eq!(classify_untrusted(b"\x4F\xFF\0\0"), empty);
    }

    #[test]
    fn a_length_that_lies_is_junk() {
        assert_eq!(classify_untrusted(b"\x40\0\0\x04abc"), Datagram::Junk);
        let mut request = sample::message(BINDING_REQUEST, &[]);
        request.push(0);
        assert_eq!(classify_untrusted(&request), Datagram::Junk);
    }

    #[test]
    fn stun_is_told_by_its_header() {
        let request = sample::message(BINDING_REQUEST, &[(0x8022, b"me")]);
        let Datagram::Stun(stun) = classify_untrusted(&request) else { panic!("no STUN") };
        assert_eq!(stun.message_type(), BINDING_REQUEST);
        assert_eq!(stun.transaction_id(), sample::TRANSACTION_ID);
        assert_eq!(stun.bytes(), request);
        assert!(!stun.is_send_indication());
    }

    #[test]
    fn what_the_rfc_shows_is_stun() {
        for vector in sample::RFC5769 {
            assert!(matches!(classify_untrusted(&sample::unhex(vector)), Datagram::Stun(_)));
        }
    }

    #[test]
    fn other_first_bits_cookies_and_sizes_are_junk() {
        let mut request = sample::message(BINDING_REQUEST, &[]);
        assert_eq!(classify_untrusted(&request[..19]), Datagram::Junk);
        assert_eq!(classify_untrusted(b""), Datagram::Junk);
        assert_eq!(classify_untrusted(b"\x40\0\0"), Datagram::Junk);
        for first in [4, 0x3F, 0x50, 0x80, 0xFF] {
            request[0] = first;
            assert_eq!(classify_untrusted(&request), Datagram::Junk);
        }
        request[0] = 0;
        request[7] ^= 1;
        assert_eq!(classify_untrusted(&request), Datagram::Junk);
    }
}
