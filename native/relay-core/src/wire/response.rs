//! Responses without integrity: what a stranger gets.

use crate::wire::attributes::{ATTRIBUTE_HEADER_SIZE, fingerprint, number};
use crate::wire::data::padding;
use crate::wire::message::{HEADER_SIZE, MAGIC_COOKIE, TransactionId};

/// Bytes of FINGERPRINT's value.
const FINGERPRINT_SIZE: usize = 4;

/// One attribute: its type, and its value without padding.
pub(crate) type Field<'a> = (u16, &'a [u8]);

/// Appends a response to `out`, whose attributes fit a message: these, then FINGERPRINT where the
/// request had it. No SOFTWARE, since the answer goes to whoever claims to have asked: it stays
/// small.
pub(crate) fn append_response(
    message_type: u16,
    transaction_id: &TransactionId,
    fields: &[Field<'_>],
    with_fingerprint: bool,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    let size = response_size(fields, with_fingerprint);
    out.reserve(size);
    out.extend_from_slice(&message_type.to_be_bytes());
    out.extend_from_slice(&((size - HEADER_SIZE) as u16).to_be_bytes());
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(transaction_id);
    for (number, value) in fields {
        append(*number, value, out);
    }
    if with_fingerprint {
        let value = fingerprint(&out[begin..]);
        append(number::FINGERPRINT, &value, out);
    }
}

/// Bytes of such a response.
pub(crate) fn response_size(fields: &[Field<'_>], with_fingerprint: bool) -> usize {
    let values = fields.iter().map(|(_, value)| value.len());
    let seal = with_fingerprint.then_some(FINGERPRINT_SIZE);
    let padded = |size: usize| ATTRIBUTE_HEADER_SIZE + size + padding(size);
    HEADER_SIZE + values.chain(seal).map(padded).sum::<usize>()
}

fn append(number: u16, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(&[0; 3][..padding(value.len())]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sample;

    #[test]
    fn a_response_has_its_attributes_padded_and_in_order() {
        let fields: [Field<'_>; 2] = [(number::REALM, b"realm"), (number::NONCE, b"four")];
        for with_fingerprint in [false, true] {
            let mut out = b"before".to_vec();
            append_response(0x0113, &sample::TRANSACTION_ID, &fields, with_fingerprint, &mut out);
            let mut expected = sample::message(0x0113, &fields);
            if with_fingerprint {
                expected = sample::with_fingerprint(expected);
            }
            assert_eq!(response_size(&fields, with_fingerprint), expected.len());
            assert_eq!(out.split_off(6), expected);
        }
    }
}
