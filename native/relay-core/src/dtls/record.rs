//! What a datagram tells without being opened.

/// The first byte of a record with a message (RFC 6347 section 4.1).
pub const APPLICATION_DATA: u8 = 23;

/// Bytes of a hello at most.
pub const LARGEST_HELLO: usize = 4_096;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HEADER: usize = 13;

/// Behind the headers of record and message and the version.
const RANDOM: std::ops::Range<usize> = 27..59;

/// What tells one client's hello from another's: one that is sent again, with a cookie or not, has
/// the same.
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

/// The random of a hello; None for what is no hello, or over the length of one.
#[must_use]
pub fn hello_random(bytes_untrusted: &[u8]) -> Option<Random> {
    let is_hello = bytes_untrusted.len() >= RANDOM.end
        && bytes_untrusted[0] == HANDSHAKE
        && bytes_untrusted[3..5] == [0, 0] // the epoch
        && bytes_untrusted[HEADER] == CLIENT_HELLO;
    if !is_hello {
        return None;
    }
    bytes_untrusted[RANDOM].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let mut hello = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1];
        hello.extend(14..73);
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
        for (place, value) in [(0, 23), (3, 1), (4, 1), (13, 2)] {
            let mut other = hello();
            other[place] = value;
            assert_eq!(hello_random(&other), None);
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
