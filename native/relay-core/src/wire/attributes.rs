//! The attributes of a STUN message that count (RFC 8489 section 14).
//!
//! What MESSAGE-INTEGRITY does not cover has no effect: attributes after it are left out, except
//! MESSAGE-INTEGRITY-SHA256 right after it and FINGERPRINT; those after MESSAGE-INTEGRITY-SHA256,
//! except FINGERPRINT. They must be well-formed all the same.

use std::ops::Range;

use crate::wire::error::DecodeError;
use crate::wire::message::HEADER_SIZE;

/// Bytes of an attribute before its value.
pub const ATTRIBUTE_HEADER_SIZE: usize = 4;

/// The types that the server understands (RFC 8489 section 18.3, RFC 8656 section 18), by name.
pub mod number {
    /// MAPPED-ADDRESS
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// USERNAME
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// ERROR-CODE
    pub const ERROR_CODE: u16 = 0x0009;
    /// UNKNOWN-ATTRIBUTES
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// CHANNEL-NUMBER
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// LIFETIME
    pub const LIFETIME: u16 = 0x000D;
    /// XOR-PEER-ADDRESS
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// DATA
    pub const DATA: u16 = 0x0013;
    /// REALM
    pub const REALM: u16 = 0x0014;
    /// NONCE
    pub const NONCE: u16 = 0x0015;
    /// XOR-RELAYED-ADDRESS
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// REQUESTED-ADDRESS-FAMILY
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// EVEN-PORT
    pub const EVEN_PORT: u16 = 0x0018;
    /// REQUESTED-TRANSPORT
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// DONT-FRAGMENT
    pub const DONT_FRAGMENT: u16 = 0x001A;
    /// MESSAGE-INTEGRITY-SHA256
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    /// PASSWORD-ALGORITHM
    pub const PASSWORD_ALGORITHM: u16 = 0x001D;
    /// USERHASH
    pub const USERHASH: u16 = 0x001E;
    /// XOR-MAPPED-ADDRESS
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// RESERVATION-TOKEN
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    /// CONNECTION-ID (RFC 6062)
    pub const CONNECTION_ID: u16 = 0x002A;
    /// PASSWORD-ALGORITHMS
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    /// MOBILITY-TICKET
    pub const MOBILITY_TICKET: u16 = 0x8030;
    /// ORIGIN, of a draft
    pub const ORIGIN: u16 = 0x802F;
    /// THIRD-PARTY-AUTHORIZATION
    pub const THIRD_PARTY_AUTHORIZATION: u16 = 0x802E;
    /// ICMP
    pub const ICMP: u16 = 0x8004;
    /// FINGERPRINT
    pub const FINGERPRINT: u16 = 0x8028;
}

/// Comprehension-required attributes that are acted on or may be ignored, as a set of bits: none
/// that is understood has a number beyond 63.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Understood(u64);

impl Understood {
    /// What every agent understands: the attributes of RFC 8489.
    pub(crate) const BY_ALL: Self = Self(0).and(&[
        number::MAPPED_ADDRESS,
        number::USERNAME,
        number::MESSAGE_INTEGRITY,
        number::ERROR_CODE,
        number::UNKNOWN_ATTRIBUTES,
        number::REALM,
        number::NONCE,
        number::MESSAGE_INTEGRITY_SHA256,
        number::PASSWORD_ALGORITHM,
        number::USERHASH,
        number::XOR_MAPPED_ADDRESS,
    ]);

    /// These as well.
    pub(crate) const fn and(self, numbers: &[u16]) -> Self {
        let mut bits = self.0;
        let mut index = 0;
        while index < numbers.len() {
            assert!(numbers[index] < 64);
            bits |= 1 << numbers[index];
            index += 1;
        }
        Self(bits)
    }

    /// Whether a message with this attribute must be refused (RFC 8489 section 6.3.1).
    pub(crate) const fn lacks(self, number: u16) -> bool {
        number < 0x8000 && (number >= 64 || self.0 >> number & 1 == 0)
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, one of [`number`] or any other.
    pub number: u16,
    /// Its value without padding.
    pub value: &'a [u8],
    /// Where in the message the value begins.
    pub start: usize,
}

impl Attribute<'_> {
    /// The value's place in the message.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.value.len()
    }
}

/// Walks the attributes that count, in the message's order; an error ends the walk.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    offset: usize,
    integrity: Covered,
}

/// How far the message is covered by the integrity attributes seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covered {
    /// None was seen.
    Open,
    /// MESSAGE-INTEGRITY ended here: MESSAGE-INTEGRITY-SHA256 may begin.
    Sha1Until(usize),
    /// MESSAGE-INTEGRITY-SHA256 was seen.
    Whole,
}

impl<'a> Attributes<'a> {
    /// `bytes`: a message with a whole header.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: HEADER_SIZE, integrity: Covered::Open }
    }

    /// The next attribute, whether it counts, if the message goes on.
    #[inline]
    fn step(&mut self) -> Result<Option<(Attribute<'a>, bool)>, DecodeError> {
        let at = self.offset;
        let Some(&[high, low, length_high, length_low]) =
            self.bytes.get(at..).and_then(|rest| rest.first_chunk())
        else {
            // A message's length is a multiple of four, and so is every attribute with padding.
            return if at == self.bytes.len() { Ok(None) } else { Err(DecodeError::Length) };
        };
        let number = u16::from_be_bytes([high, low]);
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let start = at + ATTRIBUTE_HEADER_SIZE;
        let value = self.bytes.get(start..start + length).ok_or(DecodeError::Overrun)?;
        self.offset = start + length.next_multiple_of(4);
        let counts = match (number, self.integrity) {
            (number::FINGERPRINT, _) => check_fingerprint(self.bytes, at, value)?,
            (_, Covered::Open) => true,
            (number::MESSAGE_INTEGRITY_SHA256, Covered::Sha1Until(end)) => at == end,
            (_, Covered::Sha1Until(_) | Covered::Whole) => false,
        };
        if counts {
            self.note_integrity(number, length)?;
        }
        Ok(Some((Attribute { number, value, start }, counts)))
    }

    fn note_integrity(&mut self, number: u16, length: usize) -> Result<(), DecodeError> {
        match number {
            number::MESSAGE_INTEGRITY if length == 20 => {
                self.integrity = Covered::Sha1Until(self.offset);
            }
            number::MESSAGE_INTEGRITY_SHA256
                if (16..=32).contains(&length) && length.is_multiple_of(4) =>
            {
                self.integrity = Covered::Whole;
            }
            number::MESSAGE_INTEGRITY | number::MESSAGE_INTEGRITY_SHA256 => {
                return Err(DecodeError::IntegritySize);
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some((attribute, true))) => return Some(Ok(attribute)),
                Ok(Some((_, false))) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.offset = self.bytes.len();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// FINGERPRINT's value for the bytes that precede it, their length field counting it
/// (RFC 8489 section 14.7).
pub(crate) fn fingerprint(covered: &[u8]) -> [u8; 4] {
    (crc32fast::hash(covered) ^ 0x5354_554E).to_be_bytes()
}

/// True, as it counts wherever it is well-formed.
fn check_fingerprint(bytes: &[u8], at: usize, value: &[u8]) -> Result<bool, DecodeError> {
    let is_last = at + ATTRIBUTE_HEADER_SIZE + value.len() == bytes.len();
    if is_last && value == fingerprint(&bytes[..at]) {
        Ok(true)
    } else {
        Err(DecodeError::Fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{BINDING_REQUEST, Stun};
    use crate::wire::sample;

    const SHA1: (u16, &[u8]) = (number::MESSAGE_INTEGRITY, &[1; 20]);
    const SHA256: (u16, &[u8]) = (number::MESSAGE_INTEGRITY_SHA256, &[2; 32]);

    fn walk(message: &[u8]) -> Result<Vec<u16>, DecodeError> {
        Stun::from_untrusted(message)?
            .attributes()
            .map(|attribute| attribute.map(|attribute| attribute.number))
            .collect()
    }

    fn numbers(attributes: &[(u16, &[u8])]) -> Result<Vec<u16>, DecodeError> {
        walk(&sample::message(BINDING_REQUEST, attributes))
    }

    #[test]
    fn values_come_without_padding_and_with_their_place() {
        let message = sample::message(BINDING_REQUEST, &[(0x8022, b"hello"), (0x7FFF, b"")]);
        let stun = Stun::from_untrusted(&message).unwrap();
        let found: Vec<_> = stun.attributes().map(Result::unwrap).collect();
        assert_eq!((found[0].number, found[0].value), (0x8022, &b"hello"[..]));
        assert_eq!(&message[found[0].range()], b"hello");
        assert_eq!((found[1].number, found[1].value), (0x7FFF, &b""[..]));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn vectors_of_the_rfc_are_sound() {
        for vector in sample::RFC5769 {
            let numbers = walk(&sample::unhex(vector)).unwrap();
            assert_eq!(numbers.last(), Some(&number::FINGERPRINT));
            assert!(numbers.contains(&number::MESSAGE_INTEGRITY));
        }
    }

    #[test]
    fn what_integrity_does_not_cover_is_left_out() {
        let (sha1, sha256) = (SHA1.0, SHA256.0);
        let other: (u16, &[u8]) = (0x0001, b"");
        assert_eq!(numbers(&[other, SHA1, other]), Ok(vec![0x0001, sha1]));
        assert_eq!(numbers(&[SHA1, SHA256, other, SHA1]), Ok(vec![sha1, sha256]));
        assert_eq!(numbers(&[SHA1, other, SHA256]), Ok(vec![sha1]));
        assert_eq!(numbers(&[SHA256, SHA1, SHA256]), Ok(vec![sha256]));
        assert_eq!(numbers(&[SHA1, SHA1]), Ok(vec![sha1]));
        let covered = sample::with_fingerprint(sample::message(BINDING_REQUEST, &[SHA1, other]));
        assert_eq!(walk(&covered), Ok(vec![sha1, number::FINGERPRINT]));
    }

    #[test]
    fn integrity_that_counts_has_a_size_it_can_have() {
        let wrong = Err(DecodeError::IntegritySize);
        for size in [0, 19, 21, 32] {
            assert_eq!(numbers(&[(SHA1.0, &[0; 32][..size])]), wrong);
        }
        for size in [0, 12, 17, 30, 36] {
            assert_eq!(numbers(&[(SHA256.0, &[0; 36][..size])]), wrong);
        }
        assert_eq!(numbers(&[(SHA256.0, &[0; 16])]), Ok(vec![SHA256.0]));
        assert_eq!(numbers(&[SHA256, (SHA1.0, b"")]), Ok(vec![SHA256.0]));
    }

    #[test]
    fn what_overruns_is_refused_also_where_it_does_not_count() {
        let mut message = sample::message(BINDING_REQUEST, &[SHA1, (0x8022, b"1234")]);
        let length = message.len() - 5;
        message[length] += 1;
        assert_eq!(walk(&message), Err(DecodeError::Overrun));
    }

    #[test]
    fn a_length_is_a_multiple_of_four() {
        for size in 1..4 {
            let mut message = sample::message(BINDING_REQUEST, &[(0x8022, &[0; 4][..size])]);
            message.truncate(24 + size);
            message[3] = 4 + u8::try_from(size).unwrap();
            assert_eq!(walk(&message), Err(DecodeError::Length));
            message.truncate(24 - size);
            message[3] = 4 - u8::try_from(size).unwrap();
            assert_eq!(walk(&message), Err(DecodeError::Length));
        }
    }

    #[test]
    fn fingerprint_is_right_and_last() {
        let refused = Err(DecodeError::Fingerprint);
        let mut message = sample::with_fingerprint(sample::message(BINDING_REQUEST, &[]));
        assert_eq!(walk(&message), Ok(vec![number::FINGERPRINT]));
        message[27] ^= 1;
        assert_eq!(walk(&message), refused);
        assert_eq!(numbers(&[(number::FINGERPRINT, &[0; 4]), (0x8022, b"")]), refused);
        assert_eq!(numbers(&[(number::FINGERPRINT, b"")]), refused);
    }

    #[test]
    fn an_error_ends_the_walk() {
        let message = sample::message(BINDING_REQUEST, &[(SHA1.0, b""), (0x8022, b"")]);
        let mut attributes = Stun::from_untrusted(&message).unwrap().attributes();
        assert_eq!(attributes.next(), Some(Err(DecodeError::IntegritySize)));
        assert_eq!(attributes.next(), None);
    }

    #[test]
    fn only_what_must_be_understood_can_be_lacking() {
        let understood = Understood::BY_ALL.and(&[63]);
        assert!(!understood.lacks(63));
        assert!(!understood.lacks(number::USERNAME));
        assert!(understood.lacks(0));
        assert!(understood.lacks(64));
        assert!(understood.lacks(0x7FFF));
        assert!(!understood.lacks(0x8000));
    }
}
