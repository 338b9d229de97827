//! Messages for the tests of this module.

use crate::wire::attributes::fingerprint;
use crate::wire::data::padding;
use crate::wire::message::{MAGIC_COOKIE, TransactionId};

pub(crate) const TRANSACTION_ID: TransactionId = *b"0123456789ab";

/// The messages of RFC 5769 sections 2.1 to 2.3.
pub(crate) const RFC5769: [&str; 3] = [
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001\
     ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3\
     f249c1b571a280280004e57a3bcf",
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a6\
     43000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9\
     faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
];

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let nibbles: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A message with these attributes, padded with zeros.
pub(crate) fn message(message_type: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, value) in attributes {
        body.extend_from_slice(&number.to_be_bytes());
        body.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len() + padding(value.len()), 0);
    }
    let mut message = message_type.to_be_bytes().to_vec();
    message.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend_from_slice(&MAGIC_COOKIE);
    message.extend_from_slice(&TRANSACTION_ID);
    message.extend_from_slice(&body);
    message
}

/// The message with FINGERPRINT at its end.
pub(crate) fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len() - 20 + 8).unwrap();
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let value = fingerprint(&message);
    message.extend_from_slice(b"\x80\x28\0\x04");
    message.extend_from_slice(&value);
    message
}
