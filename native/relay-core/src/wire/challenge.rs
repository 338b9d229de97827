//! The challenge: the 401 that a request without integrity gets (RFC 8489 section 9.2.4).
//!
//! It is no decision: whoever asks gets it, whatever he asks for, and nothing is kept of it. Only
//! the methods that Python answers so are ours, and only well-formed requests.

use std::net::SocketAddr;

use crate::wire::attributes::number;
use crate::wire::message::{
    ALLOCATE_REQUEST, CHANNEL_BIND_REQUEST, CREATE_PERMISSION_REQUEST, REFRESH_REQUEST, Stun,
    TransactionId,
};
use crate::wire::nonce::{COOKIE_LENGTH, Mint, NONCE_LENGTH};
use crate::wire::response::{Field, append_response, response_size};

/// What makes an error response of a request's type (RFC 8489 section 5).
const ERROR_CLASS: u16 = 0x0110;
/// ERROR-CODE's value: 401, and the reason phrase from [`PHRASE_AT`] on.
const UNAUTHENTICATED: &[u8] = b"\0\0\x04\x01Unauthenticated";
const PHRASE_AT: usize = 4;
/// Bytes of an Allocate with REQUESTED-TRANSPORT alone, FINGERPRINT aside.
const SMALLEST_FIRST_REQUEST: usize = 28;
/// Bytes of FINGERPRINT.
const FINGERPRINT: usize = 8;
/// The longest REALM (RFC 8489 section 14.9) and THIRD-PARTY-AUTHORIZATION, in bytes.
const LONGEST_TEXT: usize = 763;
/// Bytes of PASSWORD-ALGORITHMS at most: every algorithm there is, and more.
const LONGEST_ALGORITHMS: usize = 64;

/// What every challenge by one listener says, whoever it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    realm: Vec<u8>,
    cookie: [u8; COOKIE_LENGTH],
    flags: u8,
    password_algorithms: Vec<u8>,
    third_party_authorization: Vec<u8>,
    unless_named: bool,
}

impl Challenge {
    /// `realm`, `password_algorithms` and `third_party_authorization` (RFC 7635 section 6.1): the
    /// attributes' values; of the latter two an empty one is left out. `cookie`: what nonces begin
    /// with. `flags`: what is offered, within a nonce's HMAC. `unless_named`: see [`Self::is_for`].
    ///
    /// None where a value is longer than it can be.
    #[must_use]
    pub fn new(
        realm: Vec<u8>,
        cookie: [u8; COOKIE_LENGTH],
        flags: u8,
        password_algorithms: Vec<u8>,
        third_party_authorization: Vec<u8>,
        unless_named: bool,
    ) -> Option<Self> {
        let fits = realm.len() <= LONGEST_TEXT
            && password_algorithms.len() <= LONGEST_ALGORITHMS
            && third_party_authorization.len() <= LONGEST_TEXT;
        fits.then_some(Self {
            realm,
            cookie,
            flags,
            password_algorithms,
            third_party_authorization,
            unless_named,
        })
    }

    /// Whether it is for a request; else Python chooses the realm, which the request itself, a name
    /// that was asked for by TLS (`by_tls`) or an allocation (`has_relay`) may decide.
    #[must_use]
    pub fn is_for(&self, request: &FirstRequest, by_tls: bool, has_relay: bool) -> bool {
        !(self.unless_named && (request.names_realm || by_tls || has_relay))
    }

    /// Appends the answer to `out`.
    ///
    /// By UDP whoever is answered may not have asked. What is sent there stays within twice the
    /// request at the IP level, if need be without the reason phrase, then without
    /// THIRD-PARTY-AUTHORIZATION. To a request that is smaller than any client's first, all but the
    /// code is left out.
    pub fn answer(
        &self,
        request: &FirstRequest,
        client: SocketAddr,
        by_stream: bool,
        mint: &Mint<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut nonce = [0; NONCE_LENGTH];
        let nonce = mint.nonce(&self.cookie, self.flags, client, &mut nonce);
        let all: [Field<'_>; 5] = [
            (number::ERROR_CODE, UNAUTHENTICATED),
            (number::REALM, &self.realm),
            (number::NONCE, nonce),
            (number::PASSWORD_ALGORITHMS, &self.password_algorithms),
            (number::THIRD_PARTY_AUTHORIZATION, &self.third_party_authorization),
        ];
        let is_there = |(_, value): &Field<'_>| !value.is_empty();
        let mut fields: Vec<_> = all.into_iter().filter(is_there).collect();
        let room = if by_stream { usize::MAX } else { request.room(client) };
        let is_too_big = |fields: &[_]| response_size(fields, request.fingerprint) > room;
        if is_too_big(&fields) {
            fields[0].1 = &UNAUTHENTICATED[..PHRASE_AT];
        }
        if is_too_big(&fields) {
            fields.retain(|(number, _)| *number != number::THIRD_PARTY_AUTHORIZATION);
        }
        if is_too_big(&fields) && request.is_too_small() {
            fields.truncate(1);
        }
        let message_type = request.message_type | ERROR_CLASS;
        append_response(message_type, &request.transaction_id, &fields, request.fingerprint, out);
    }
}

/// A request that a challenge answers, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstRequest {
    message_type: u16,
    transaction_id: TransactionId,
    fingerprint: bool,
    names_realm: bool,
    size: usize,
}

impl FirstRequest {
    /// Bytes that an answer by UDP may have: with its headers, twice what the request had.
    fn room(&self, client: SocketAddr) -> usize {
        let headers = if client.is_ipv4() { 28 } else { 48 };
        2 * (headers + self.size) - headers
    }

    fn is_too_small(&self) -> bool {
        self.size < SMALLEST_FIRST_REQUEST + if self.fingerprint { FINGERPRINT } else { 0 }
    }
}

/// A TURN request without integrity; None for all else, which goes up to Python.
#[must_use]
pub fn first_request_untrusted(bytes_untrusted: &[u8]) -> Option<FirstRequest> {
    let stun = Stun::from_untrusted(bytes_untrusted).ok()?;
    let message_type = stun.message_type();
    if !matches!(
        message_type,
        ALLOCATE_REQUEST | REFRESH_REQUEST | CREATE_PERMISSION_REQUEST | CHANNEL_BIND_REQUEST
    ) {
        return None;
    }
    // Known or not: what a request asks for matters when it is known who asks.
    let mut names_realm = false;
    let fingerprint = stun.fingerprint_if_unsigned(|attribute| {
        names_realm |= matches!(attribute, number::ORIGIN | number::MOBILITY_TICKET);
        true
    })?;
    let (transaction_id, size) = (stun.transaction_id(), bytes_untrusted.len());
    Some(FirstRequest { message_type, transaction_id, fingerprint, names_realm, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::BINDING_REQUEST;
    use crate::wire::nonce::NonceKeys;
    use crate::wire::sample;

    const NOW: f64 = 100.0;
    const REQUESTED_TRANSPORT: (u16, &[u8]) = (number::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    const BOTH: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

    fn keys(mac_length: usize) -> NonceKeys {
        NonceKeys::new(225.0, mac_length, &[(0, [7; 32])]).unwrap()
    }

    fn challenge(realm: &[u8], server_name: &[u8]) -> Challenge {
        let name = server_name.to_vec();
        Challenge::new(realm.to_vec(), *b"obMatJos2gAAA", 3, BOTH.to_vec(), name, false).unwrap()
    }

    fn answer(request: &[u8], client: &str, by_stream: bool) -> Vec<u8> {
        answer_with(&challenge(b"example.org", b""), request, client, by_stream)
    }

    fn answer_with(
        challenge: &Challenge,
        request: &[u8],
        client: &str,
        by_stream: bool,
    ) -> Vec<u8> {
        let mut out = b"before".to_vec();
        let (request, client) =
            (first_request_untrusted(request).unwrap(), client.parse().unwrap());
        let keys = keys(10);
        let mint = keys.mint(client, NOW).unwrap();
        challenge.answer(&request, client, by_stream, &mint, &mut out);
        out.split_off(6)
    }

    fn fields(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let stun = Stun::from_untrusted(message).unwrap();
        stun.attributes()
            .map(|attribute| attribute.map(|each| (each.number, each.value.to_vec())).unwrap())
            .collect()
    }

    #[test]
    fn a_first_allocate_gets_a_challenge_of_twice_its_size_at_most() {
        for (client, headers) in [("192.0.2.1:9", 28), ("[2001:db8::1]:9", 48)] {
            let request = sample::message(ALLOCATE_REQUEST, &[REQUESTED_TRANSPORT]);
            let answer = answer(&request, client, false);
            assert!(headers + answer.len() <= 2 * (headers + request.len()));
            let stun = Stun::from_untrusted(&answer).unwrap();
            assert_eq!(stun.message_type(), 0x0113);
            assert_eq!(stun.transaction_id(), sample::TRANSACTION_ID);
            let fields = fields(&answer);
            assert_eq!((fields[0].0, &fields[0].1[..4]), (number::ERROR_CODE, &[0, 0, 4, 1][..]));
            assert_eq!(fields[1], (number::REALM, b"example.org".to_vec()));
            assert_eq!(fields[2].0, number::NONCE);
            assert_eq!(fields[3], (number::PASSWORD_ALGORITHMS, BOTH.to_vec()));
            assert_eq!(fields.len(), 4);
            let echo = sample::message(REFRESH_REQUEST, &[(number::NONCE, &fields[2].1)]);
            let echo = Stun::from_untrusted(&echo).unwrap();
            assert!(keys(10).verifies_untrusted(&echo, client.parse().unwrap(), NOW));
        }
    }

    #[test]
    fn the_phrase_is_there_where_it_has_room() {
        let phrase = (number::ERROR_CODE, UNAUTHENTICATED.to_vec());
        let software: (u16, &[u8]) = (0x8022, b"a client with a name");
        let long = sample::message(ALLOCATE_REQUEST, &[REQUESTED_TRANSPORT, software]);
        assert_eq!(fields(&answer(&long, "192.0.2.1:9", false))[0], phrase);
        let small = sample::message(ALLOCATE_REQUEST, &[]);
        assert_eq!(fields(&answer(&small, "192.0.2.1:9", true))[0], phrase);
    }

    #[test]
    fn third_parties_are_told_of_where_they_have_room() {
        let challenge = challenge(b"example.org", b"turn.test");
        let name = (number::THIRD_PARTY_AUTHORIZATION, b"turn.test".to_vec());
        let phrase = (number::ERROR_CODE, UNAUTHENTICATED.to_vec());
        let software: (u16, &[u8]) = (0x8022, b"a client");
        let longer: (u16, &[u8]) = (0x8022, b"a client with a long name");
        let answered = |attributes: &[_], by_stream| {
            let request = sample::message(ALLOCATE_REQUEST, attributes);
            let answer = answer_with(&challenge, &request, "192.0.2.1:9", by_stream);
            assert!(by_stream || 28 + answer.len() <= 2 * (28 + request.len()));
            fields(&answer)
        };
        assert_eq!(answered(&[REQUESTED_TRANSPORT], false).len(), 4);
        let told = answered(&[REQUESTED_TRANSPORT, software], false);
        assert_eq!((told[0].1.len(), told.last()), (4, Some(&name)));
        let told = answered(&[REQUESTED_TRANSPORT, longer], false);
        assert_eq!((&told[0], told.last()), (&phrase, Some(&name)));
        assert_eq!(answered(&[REQUESTED_TRANSPORT], true).last(), Some(&name));
    }

    #[test]
    fn without_passwords_no_algorithm_is_offered() {
        let name = b"turn.test".to_vec();
        let challenge =
            Challenge::new(b"turnd".to_vec(), *b"obMatJos2AAAA", 0, Vec::new(), name, false)
                .unwrap();
        let request = sample::message(ALLOCATE_REQUEST, &[REQUESTED_TRANSPORT]);
        let answer = answer_with(&challenge, &request, "192.0.2.1:9", false);
        assert_eq!(28 + answer.len(), 2 * (28 + request.len()));
        let numbers: Vec<_> = fields(&answer).into_iter().map(|(number, _)| number).collect();
        let name = number::THIRD_PARTY_AUTHORIZATION;
        assert_eq!(numbers, [number::ERROR_CODE, number::REALM, number::NONCE, name]);
    }

    #[test]
    fn what_is_smaller_than_any_first_request_gets_the_bare_code() {
        let small = sample::message(ALLOCATE_REQUEST, &[]);
        let code = (number::ERROR_CODE, vec![0, 0, 4, 1]);
        assert_eq!(fields(&answer(&small, "192.0.2.1:9", false)), std::slice::from_ref(&code));
        let sealed = answer(&sample::with_fingerprint(small), "192.0.2.1:9", false);
        let sealed = fields(&sealed);
        assert_eq!((sealed.len(), &sealed[0]), (2, &code));
        assert_eq!(sealed[1].0, number::FINGERPRINT);
    }

    #[test]
    fn every_method_that_needs_credentials_is_challenged_whatever_it_asks_for() {
        for message_type in
            [ALLOCATE_REQUEST, REFRESH_REQUEST, CREATE_PERMISSION_REQUEST, CHANNEL_BIND_REQUEST]
        {
            let attributes: [(u16, &[u8]); 2] = [(0x7FFF, b"unknown"), (number::NONCE, b"old")];
            let request = sample::message(message_type, &attributes);
            let request = first_request_untrusted(&request).unwrap();
            assert_eq!(request.message_type, message_type);
            assert!(!request.fingerprint);
        }
    }

    #[test]
    fn all_else_is_for_python() {
        let of = |message_type, attributes: &[_]| {
            first_request_untrusted(&sample::message(message_type, attributes))
        };
        assert_eq!(of(ALLOCATE_REQUEST, &[(number::MESSAGE_INTEGRITY, &[0; 20])]), None);
        assert_eq!(of(ALLOCATE_REQUEST, &[(number::MESSAGE_INTEGRITY_SHA256, &[0; 32])]), None);
        assert_eq!(of(ALLOCATE_REQUEST, &[(number::MESSAGE_INTEGRITY, b"short")]), None);
        assert_eq!(of(ALLOCATE_REQUEST, &[(number::FINGERPRINT, &[0; 4])]), None);
        for other in [BINDING_REQUEST, 0x0006, 0x000A, 0x0013, 0x0113, 0x0103, 0x3003] {
            assert_eq!(of(other, &[]), None, "{other:#06x}");
        }
        assert_eq!(first_request_untrusted(b"junk"), None);
    }

    #[test]
    fn requests_that_may_be_another_realms_are_for_python() {
        let with = |attributes: &[_]| {
            first_request_untrusted(&sample::message(ALLOCATE_REQUEST, attributes)).unwrap()
        };
        let plain = with(&[REQUESTED_TRANSPORT]);
        let page = with(&[(number::ORIGIN, b"https://b.example"), REQUESTED_TRANSPORT]);
        let mobile = with(&[(number::MOBILITY_TICKET, b"ticket")]);
        let unless = |unless_named| {
            Challenge::new(b"r".to_vec(), *b"obMatJos2gAAA", 3, vec![], vec![], unless_named)
                .unwrap()
        };
        for request in [plain, page, mobile] {
            assert!(unless(false).is_for(&request, true, true));
            assert_eq!(unless(true).is_for(&request, false, false), request == plain);
        }
        assert!(!unless(true).is_for(&plain, true, false));
        assert!(!unless(true).is_for(&plain, false, true));
    }

    #[test]
    fn what_no_message_can_say_is_refused() {
        let new = |realm: usize, algorithms: usize, name: usize| {
            let (algorithms, name) = (vec![0; algorithms], vec![b'n'; name]);
            Challenge::new(vec![b'r'; realm], *b"obMatJos2gAAA", 3, algorithms, name, false)
        };
        assert!(new(LONGEST_TEXT, LONGEST_ALGORITHMS, LONGEST_TEXT).is_some());
        assert!(new(LONGEST_TEXT + 1, 4, 0).is_none());
        assert!(new(4, LONGEST_ALGORITHMS + 1, 0).is_none());
        assert!(new(4, 4, LONGEST_TEXT + 1).is_none());
    }
}
