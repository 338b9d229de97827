//! What a datagram tells without being opened.

/// The first byte of a record with a message (RFC 6347 section 4.1).
pub const APPLICATION_DATA: u8 = 23;

/// Bytes of the longest message of a client's handshake, and of its datagrams.
pub const LARGEST_HELLO: usize = 4_096;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const FRAGMENT_OFFSET: std::ops::Range<usize> = 19..22;

/// Behind the headers of record and message and the version.
const RANDOM: std::ops::Range<usize> = 27..59;

/// What tells one client's hello from another's: one that is sent again, with a cookie or not, has
/// the same. It is told by its first fragment; the others are for whoever has begun with it.
pub type Random = [u8; 32];

/// Whether a datagram is DTLS, where others share the port (RFC 7983 section 7).
#[must_use]
pub fn is_record(bytes_untrusted: &[u8]) -> bool {
    bytes_untrusted.first().is_some_and(|first| (20..64).contains(first))
}

/// Whether the datagram's first record is also its last.
#[must_use]
pub fn is_single(bytes_untrusted: &[u8]) -> bool {
    let length = bytes_untrusted.get(HEADER - 2..HEADER);
    length.is_some_and(|length| {
        HEADER + usize::from(u16::from_be_bytes([length[0], length[1]])) == bytes_untrusted.len()
    })
}

/// The random of a hello; None for what is no hello.
#[must_use]
pub fn hello_random(bytes_untrusted: &[u8]) -> Option<Random> {
    let is_hello = bytes_untrusted.len() >= RANDOM.end
        && bytes_untrusted[0] == HANDSHAKE
        && bytes_untrusted[3..5] == [0, 0] // the epoch
        && bytes_untrusted[HEADER] == CLIENT_HELLO
        && bytes_untrusted[FRAGMENT_OFFSET] == [0, 0, 0];
    if !is_hello {
        return None;
    }
    bytes_untrusted[RANDOM].try_into().ok()
}

/// Whether a datagram has a part of a handshake message that is longer than any of a client's. A few
/// bytes of it would have OpenSSL make room for all, and for ten such messages.
#[must_use]
pub fn announces_too_much(bytes_untrusted: &[u8]) -> bool {
    let mut rest = bytes_untrusted;
    while let Some((header, behind)) = rest.split_at_checked(HEADER) {
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (body, next) = behind.split_at(length.min(behind.len()));
        if header[0] == HANDSHAKE && header[3..5] == [0, 0] && is_too_long(body) {
            return true;
        }
        rest = next;
    }
    false
}

fn is_too_long(fragments_untrusted: &[u8]) -> bool {
    let number =
        |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let mut rest = fragments_untrusted;
    while let Some((header, behind)) = rest.split_at_checked(MESSAGE_HEADER) {
        if number(&header[1..4]) > LARGEST_HELLO {
            return true;
        }
        rest = &behind[number(&header[9..]).min(behind.len())..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let mut hello = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1];
        hello.extend([0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 48]);
        hello.extend(25..73);
        hello
    }

    #[test]
    fn the_first_byte_tells() {
        let records: Vec<u8> = (0..=255).filter(|first| is_record(&[*first])).collect();
        assert_eq!(records, (20..64).collect::<Vec<u8>>());
        assert!(!is_record(b""));
    }

    #[test]
    fn a_hello_has_a_random() {
        let expected: Vec<u8> = (27..59).collect();
        assert_eq!(hello_random(&hello()).unwrap().as_slice(), expected);
        assert_eq!(hello_random(&hello()[..58]), None);
        for (place, value) in [(0, 23), (3, 1), (4, 1), (13, 2), (21, 1)] {
            let mut other = hello();
            other[place] = value;
            assert_eq!(hello_random(&other), None);
        }
    }

    #[test]
    fn nothing_long_is_announced() {
        let fragment = |length: u16, part: u8| {
            let [high, low] = length.to_be_bytes();
            let header = [16, 0, high, low, 0, 5, 0, 0, 0, 0, 0, part];
            [&header[..], &vec![0; part.into()]].concat()
        };
        let record = |kind: u8, epoch: u8, body: &[u8]| {
            let header = [kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 0, 0, body.len() as u8];
            [&header[..], body].concat()
        };
        let (long, short) = (fragment(4_097, 1), fragment(4_096, 1));
        let two = [&short[..], &long].concat();
        for bad in [&long, &two, &fragment(65_535, 0)] {
            assert!(announces_too_much(&record(22, 0, bad)));
            assert!(announces_too_much(&[record(20, 0, b"\x01"), record(22, 0, bad)].concat()));
            assert!(!announces_too_much(&record(22, 1, bad)), "nobody sees what is encrypted");
            assert!(!announces_too_much(&record(23, 0, bad)));
            let whole = record(22, 0, bad);
            for end in 0..whole.len() {
                let _no_panic = announces_too_much(&whole[..end]);
            }
        }
        for good in [hello(), record(22, 0, &short), record(22, 0, b""), vec![22; 12], vec![]] {
            assert!(!announces_too_much(&good));
        }
    }

    #[test]
    fn a_record_may_be_alone() {
        let hello = hello();
        assert!(is_single(&hello));
        assert!(!is_single(&hello[..70]));
        assert!(!is_single(&[hello.as_slice(), &hello].concat()));
        assert!(!is_single(&hello[..12]) && !is_single(b""));
    }
}
