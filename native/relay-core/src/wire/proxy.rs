//! The PROXY header, version 2, that a proxy's datagram begins with.
//!
//! <https://github.com/haproxy/haproxy/blob/master/doc/proxy-protocol.txt> section 2.2; the rules
//! are those of `turnd/engine/proxy_v2.py`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::error::DecodeError;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes that every header has.
const FIXED_PART: usize = 16;
/// Bytes of a header with all TLVs that we take.
const LONGEST: usize = 4096;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const DATAGRAM: u8 = 2;
const CRC32C: u8 = 3;
/// Bytes of the addresses of the families: unspecified, IPv4, IPv6, UNIX.
const ADDRESSES: [usize; 4] = [0, 12, 36, 216];
/// Castagnoli's polynomial, its bits turned round.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// What stood in front of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Bytes of the header; the client's own begin behind.
    pub len: usize,
    /// Whose it is; none: the proxy's itself.
    pub client: Option<SocketAddr>,
}

/// Reads the header that a datagram has to begin with.
///
/// # Errors
/// It begins with something else, has not all of it, or it contradicts itself.
pub fn proxy_header_untrusted(bytes_untrusted: &[u8]) -> Result<ProxyHeader, DecodeError> {
    let (fixed, rest) =
        bytes_untrusted.split_at_checked(FIXED_PART).ok_or(DecodeError::ProxyHeader)?;
    let len = FIXED_PART + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if !fixed.starts_with(SIGNATURE) || len > LONGEST {
        return Err(DecodeError::ProxyHeader);
    }
    let body = rest.get(..len - FIXED_PART).ok_or(DecodeError::ProxyHeader)?;
    match fixed[12] {
        LOCAL => return Ok(ProxyHeader { len, client: None }),
        PROXY => (),
        _ => return Err(DecodeError::ProxyHeader),
    }
    let (family, protocol) = (usize::from(fixed[13] >> 4), fixed[13] & 0x0F);
    let size = *ADDRESSES.get(family).ok_or(DecodeError::ProxyHeader)?;
    let addresses = body.get(..size).ok_or(DecodeError::ProxyHeader)?;
    if protocol > DATAGRAM {
        return Err(DecodeError::ProxyHeader);
    }
    check_tlvs(&bytes_untrusted[..len], FIXED_PART + size)?;
    let client = if protocol == DATAGRAM { source(addresses) } else { None };
    Ok(ProxyHeader { len, client })
}

/// A proxy with one socket for both families shows IPv4 as mapped: it is IPv4 all the same.
fn source(addresses: &[u8]) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, &[u8]) = match addresses.len() {
        12 => (<[u8; 4]>::try_from(&addresses[..4]).ok()?.into(), &addresses[8..10]),
        36 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&addresses[..16]).ok()?);
            (ip.to_canonical(), &addresses[32..34])
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])))
}

/// TLVs are skipped, but for the checksum: where there is one it has to be right.
fn check_tlvs(header: &[u8], mut at: usize) -> Result<(), DecodeError> {
    while at < header.len() {
        let &[kind, high, low, ref rest @ ..] = &header[at..] else {
            return Err(DecodeError::ProxyHeader);
        };
        let value = rest.get(..u16::from_be_bytes([high, low]).into());
        let value = value.ok_or(DecodeError::ProxyHeader)?;
        let (begin, end) = (at + 3, at + 3 + value.len());
        if kind == CRC32C {
            let told = <[u8; 4]>::try_from(value).map_err(|_| DecodeError::ProxyHeader)?;
            let sum = [&header[..begin], &[0; 4], &header[end..]].into_iter().fold(!0, crc32c);
            if !sum != u32::from_be_bytes(told) {
                return Err(DecodeError::ProxyHeader);
            }
        }
        at = end;
    }
    Ok(())
}

/// RFC 9260 appendix A, without the inversions at both ends.
fn crc32c(register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            (register >> 1) ^ (POLYNOMIAL & (register & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, kind], &len, body].concat()
    }

    const IPV4: [u8; 12] = [198, 51, 100, 1, 192, 0, 2, 7, 0xC8, 0x86, 0x0D, 0x96];

    fn ipv6(ip: &str) -> Vec<u8> {
        let ip = ip.parse::<Ipv6Addr>().unwrap().octets();
        [&ip[..], &ip, &IPV4[8..]].concat()
    }

    fn client(header: &[u8]) -> Option<SocketAddr> {
        let data = [header, b"rest"].concat();
        let found = proxy_header_untrusted(&data).unwrap();
        assert_eq!(found.len, header.len());
        found.client
    }

    fn sum(bytes: &[u8]) -> u32 {
        !crc32c(!0, bytes)
    }

    #[test]
    fn the_source_is_the_client() {
        let of = |text: &str| Some(text.parse().unwrap());
        assert_eq!(client(&header(PROXY, 0x12, &IPV4)), of("198.51.100.1:51334"));
        assert_eq!(client(&header(PROXY, 0x22, &ipv6("2001:db8::1"))), of("[2001:db8::1]:51334"));
        let mapped = ipv6("::ffff:198.51.100.1");
        assert_eq!(client(&header(PROXY, 0x22, &mapped)), of("198.51.100.1:51334"));
        let more = [&IPV4[..], &[4, 0, 2, 0, 0, 0xEE, 0, 0]].concat();
        assert_eq!(client(&header(PROXY, 0x12, &more)), of("198.51.100.1:51334"));
    }

    #[test]
    fn a_proxy_speaks_for_itself() {
        assert_eq!(client(&header(LOCAL, 0x00, b"")), None);
        assert_eq!(client(&header(LOCAL, 0xFF, b"anything")), None);
        assert_eq!(client(&header(PROXY, 0x00, b"")), None);
        assert_eq!(client(&header(PROXY, 0x11, &IPV4)), None);
        assert_eq!(client(&header(PROXY, 0x32, &[0; 216])), None);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let whole = header(PROXY, 0x12, &IPV4);
        for len in 0..whole.len() {
            assert_eq!(proxy_header_untrusted(&whole[..len]), Err(DecodeError::ProxyHeader));
        }
        for bad in [
            header(0x22, 0x12, &IPV4),
            header(0x11, 0x12, &IPV4),
            header(PROXY, 0x42, &IPV4),
            header(PROXY, 0x13, &IPV4),
            header(PROXY, 0x22, &IPV4),
            header(PROXY, 0x12, &[0; 14]),
            header(PROXY, 0x12, &[&IPV4[..], &[4, 0, 1]].concat()),
            header(PROXY, 0x12, &[&IPV4[..], &[3, 0, 1, 0]].concat()),
            header(PROXY, 0x12, &[0; LONGEST - FIXED_PART + 1]),
            [b"x", &whole[1..]].concat(),
        ] {
            assert_eq!(proxy_header_untrusted(&bad), Err(DecodeError::ProxyHeader), "{bad:?}");
        }
    }

    #[test]
    fn a_checksum_has_to_be_right() {
        assert_eq!(sum(b"123456789"), 0xE306_9283);
        let body = [&IPV4[..], &[CRC32C, 0, 4, 0, 0, 0, 0, 4, 0, 1, 9]].concat();
        let mut whole = header(PROXY, 0x12, &body);
        let right = sum(&whole).to_be_bytes();
        let at = FIXED_PART + IPV4.len() + 3;
        whole[at..at + 4].copy_from_slice(&right);
        assert!(client(&whole).is_some());
        whole[FIXED_PART] ^= 1;
        assert_eq!(proxy_header_untrusted(&whole), Err(DecodeError::ProxyHeader));
    }
}
