//! Nonces: minted for challenges, and told from others' in requests, so that those with one of ours
//! are handed up before all strangers'.
//!
//! This sorts, it does not judge: Python checks every nonce itself. A nonce is the cookie with its
//! feature bits, one character of time, and an HMAC over the time, what the challenge offered, and
//! the client's address and port (`turnd/auth/nonce.py` explains why).

use std::net::SocketAddr;

use ring::hmac;
use subtle::ConstantTimeEq;

use crate::wire::attributes::number;
use crate::wire::message::Stun;

/// Characters that a nonce begins with.
pub const COOKIE_LENGTH: usize = 13;
/// A lifetime in ticks.
const TICKS: i64 = 16;
/// Ticks for which one key mints.
const EPOCH: i64 = 2 * TICKS;
/// Of URL-safe base64, and of the time.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SHORTEST_MAC: usize = 6;
const LONGEST_MAC: usize = 16;
/// Characters of a nonce at most.
pub(crate) const NONCE_LENGTH: usize = COOKIE_LENGTH + 1 + LONGEST_MAC;

/// What challenges can offer, by the cookie that says so: password algorithms (MD5 1, SHA-256 2)
/// and username anonymity (0x80); nothing where there are no passwords.
const OFFERS: [(&[u8; COOKIE_LENGTH], &[u8]); 3] = [
    (b"obMatJos2gAAA", &[0x03, 0x01, 0x02]),
    (b"obMatJos2wAAA", &[0x83, 0x81, 0x82]),
    (b"obMatJos2AAAA", &[0]),
];

/// What Python's nonces are made with at present.
#[derive(Debug)]
pub struct NonceKeys {
    tick: f64,
    mac_length: usize,
    keys: Vec<(i64, hmac::Key)>,
}

impl NonceKeys {
    /// `tick`: seconds, a 16th of a nonce's lifetime. `mac_length`: characters. `keys`: by the epoch
    /// in which each mints: the present one, and the one before it.
    ///
    /// None where these cannot be a nonce's: no positive tick, or an HMAC too short or too long.
    #[must_use]
    pub fn new(tick: f64, mac_length: usize, keys: &[(u64, [u8; 32])]) -> Option<Self> {
        if !(tick > 0.0 && (SHORTEST_MAC..=LONGEST_MAC).contains(&mac_length)) {
            return None;
        }
        let keys = keys
            .iter()
            .map(|(epoch, key)| {
                Some((i64::try_from(*epoch).ok()?, hmac::Key::new(hmac::HMAC_SHA256, key)))
            })
            .collect::<Option<_>>()?;
        Some(Self { tick, mac_length, keys })
    }

    /// Whether the message is well-formed and its NONCE was minted for this client, not longer ago
    /// than a nonce is good for. `now`: seconds of the clock that Python mints by.
    #[must_use]
    pub fn verifies_untrusted(&self, stun: &Stun<'_>, client: SocketAddr, now: f64) -> bool {
        let mut nonce = None;
        for attribute in stun.attributes() {
            let Ok(attribute) = attribute else { return false };
            if attribute.number == number::NONCE && nonce.is_none() {
                nonce = Some(attribute.value);
            }
        }
        nonce.is_some_and(|nonce| self.is_ours(nonce, client, now))
    }

    /// What a client's nonce is minted with now; `now` as above.
    ///
    /// None where that is for Python to do: it has told of no key for this time yet, or the
    /// client's host is one that it writes in two ways.
    #[must_use]
    pub fn mint(&self, client: SocketAddr, now: f64) -> Option<Mint<'_>> {
        if matches!(client, SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some()) {
            return None;
        }
        let tick = (now / self.tick) as i64;
        let key = self.key_of(tick)?;
        Some(Mint { tick, key, mac_length: self.mac_length })
    }

    fn key_of(&self, tick: i64) -> Option<&hmac::Key> {
        let epoch = tick.div_euclid(EPOCH);
        self.keys.iter().find(|(known, _)| *known == epoch).map(|(_, key)| key)
    }

    fn is_ours(&self, nonce: &[u8], client: SocketAddr, now: f64) -> bool {
        let Some((cookie, [time, mac @ ..])) = nonce.split_first_chunk::<COOKIE_LENGTH>() else {
            return false;
        };
        let Some((_, offers)) = OFFERS.iter().find(|(known, _)| *known == cookie) else {
            return false;
        };
        let this_tick = (now / self.tick) as i64;
        let minted = ALPHABET.iter().position(|character| character == time);
        // What is none of the characters counts as the one before the first, that is, the last.
        let minted = minted.map_or(-1, |index| index as i64);
        let age = (this_tick - minted).rem_euclid(ALPHABET.len() as i64);
        let tick = this_tick - age;
        if mac.len() != self.mac_length || !time.is_ascii() || age >= TICKS {
            return false;
        }
        let Some(key) = self.key_of(tick) else { return false };
        let mint = Mint { tick, key, mac_length: self.mac_length };
        let matches = |flags: u8, host: &str| {
            let expected = mint.mac(flags, client.port(), host);
            bool::from(expected[..self.mac_length].ct_eq(mac))
        };
        hosts(client).iter().any(|host| offers.iter().any(|&flags| matches(flags, host)))
    }
}

/// What the nonces of one moment are made with.
#[derive(Debug)]
pub struct Mint<'a> {
    tick: i64,
    key: &'a hmac::Key,
    mac_length: usize,
}

impl Mint<'_> {
    /// The client's nonce, written to the beginning of `out`.
    pub(crate) fn nonce<'o>(
        &self,
        cookie: &[u8; COOKIE_LENGTH],
        flags: u8,
        client: SocketAddr,
        out: &'o mut [u8; NONCE_LENGTH],
    ) -> &'o [u8] {
        let mac = self.mac(flags, client.port(), &hosts(client)[0]);
        out[..COOKIE_LENGTH].copy_from_slice(cookie);
        out[COOKIE_LENGTH] = ALPHABET[self.tick.rem_euclid(ALPHABET.len() as i64) as usize];
        out[COOKIE_LENGTH + 1..].copy_from_slice(&mac);
        &out[..COOKIE_LENGTH + 1 + self.mac_length]
    }

    fn mac(&self, flags: u8, port: u16, host: &str) -> [u8; LONGEST_MAC] {
        let text = format!("{} {flags} {port} {host}", self.tick);
        mac_characters(hmac::sign(self.key, text.as_bytes()).as_ref())
    }
}

/// The beginning of the digest in URL-safe base64.
fn mac_characters(digest: &[u8]) -> [u8; LONGEST_MAC] {
    let mut characters = [0; LONGEST_MAC];
    for (three, four) in digest.chunks_exact(3).zip(characters.chunks_exact_mut(4)) {
        let bits = three.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        for (index, character) in four.iter_mut().enumerate() {
            *character = ALPHABET[bits >> (18 - 6 * index) & 63];
        }
    }
    characters
}

/// The client's host as Python writes it. IPv4-mapped addresses are written in two ways, by
/// Python's version: as any other until 3.12, with dots since.
fn hosts(client: SocketAddr) -> Vec<String> {
    let SocketAddr::V6(client) = client else { return vec![client.ip().to_string()] };
    let mut hosts = vec![client.ip().to_string()];
    if client.ip().to_ipv4_mapped().is_some() {
        let [.., high, low] = client.ip().segments();
        hosts.push(format!("::ffff:{high:x}:{low:x}"));
    }
    if client.scope_id() != 0 {
        for host in &mut hosts {
            host.push_str(&format!("%{}", client.scope_id()));
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::BINDING_REQUEST;
    use crate::wire::sample;

    const TICK: f64 = 225.0;
    /// Half a tick into the epoch 7, tick 3.
    const MINTED_AT: f64 = 51_187.5;
    const NONCE: &str = "obMatJos2gAAAj7kiRhD6dJsUFXzle";
    const CLIENT: &str = "192.0.2.1:5000";

    fn keys(mac_length: usize) -> NonceKeys {
        let key = std::array::from_fn(|index| u8::try_from(index).unwrap());
        NonceKeys::new(TICK, mac_length, &[(6, [0xAA; 32]), (7, key)]).unwrap()
    }

    fn verifies(keys: &NonceKeys, nonce: &str, client: &str, now: f64) -> bool {
        let message = sample::message(BINDING_REQUEST, &[(number::NONCE, nonce.as_bytes())]);
        let stun = Stun::from_untrusted(&message).unwrap();
        keys.verifies_untrusted(&stun, client.parse().unwrap(), now)
    }

    #[test]
    fn nonces_that_python_minted_verify() {
        for (client, nonce) in [
            (CLIENT, NONCE),
            ("[2001:db8::1]:5000", "obMatJos2wAAAjh7DHZHa_ffgg5lS3"),
            ("[fe80::1%3]:5000", "obMatJos2gAAAjgfgPVahqG-wneuoP"),
            (CLIENT, "obMatJos2wAAAjilvmOYDCB1NYf2jp"),
            ("[::ffff:192.0.2.1]:5000", "obMatJos2gAAAj5v0NKIBIerQ0ZsNW"),
            ("[::ffff:192.0.2.1]:5000", "obMatJos2gAAAj7hzJ3a-UsdUlFw2-"),
        ] {
            assert!(verifies(&keys(16), nonce, client, MINTED_AT), "{client} {nonce}");
        }
        assert!(verifies(&keys(6), &NONCE[..20], CLIENT, MINTED_AT));
    }

    #[test]
    fn a_nonce_is_minted_as_python_does() {
        for (client, cookie, flags, nonce) in [
            (CLIENT, b"obMatJos2gAAA", 3, NONCE),
            ("[2001:db8::1]:5000", b"obMatJos2wAAA", 0x83, "obMatJos2wAAAjh7DHZHa_ffgg5lS3"),
            ("[fe80::1%3]:5000", b"obMatJos2gAAA", 1, "obMatJos2gAAAjgfgPVahqG-wneuoP"),
        ] {
            for mac_length in [6, 16] {
                let (client, mut out) = (client.parse().unwrap(), [0; NONCE_LENGTH]);
                let keys = keys(mac_length);
                let mint = keys.mint(client, MINTED_AT).unwrap();
                let minted = mint.nonce(cookie, flags, client, &mut out);
                assert_eq!(minted, &nonce.as_bytes()[..14 + mac_length]);
            }
        }
    }

    #[test]
    fn what_python_alone_can_mint_is_left_to_it() {
        let keys = keys(16);
        assert!(keys.mint("[::ffff:192.0.2.1]:5000".parse().unwrap(), MINTED_AT).is_none());
        let later = MINTED_AT + 32.0 * TICK;
        assert!(keys.mint(CLIENT.parse().unwrap(), later).is_none());
    }

    #[test]
    fn a_nonce_is_good_for_a_lifetime_and_no_longer() {
        assert!(verifies(&keys(16), NONCE, CLIENT, MINTED_AT + 15.0 * TICK));
        assert!(!verifies(&keys(16), NONCE, CLIENT, MINTED_AT + 16.0 * TICK));
        assert!(!verifies(&keys(16), NONCE, CLIENT, MINTED_AT - TICK));
        assert!(!verifies(&keys(16), NONCE, CLIENT, 0.0));
    }

    #[test]
    fn a_nonce_is_good_for_one_client() {
        for client in ["192.0.2.1:5001", "192.0.2.2:5000", "[2001:db8::1]:5000"] {
            assert!(!verifies(&keys(16), NONCE, client, MINTED_AT));
        }
    }

    #[test]
    fn every_character_counts() {
        for index in 0..NONCE.len() {
            let mut nonce = NONCE.as_bytes().to_vec();
            nonce[index] = b'!';
            let nonce = String::from_utf8(nonce).unwrap();
            assert!(!verifies(&keys(16), &nonce, CLIENT, MINTED_AT), "{nonce}");
        }
        for nonce in [&NONCE[1..], &NONCE[..29], &format!("{NONCE}0"), &NONCE[..13], ""] {
            assert!(!verifies(&keys(16), nonce, CLIENT, MINTED_AT));
        }
    }

    #[test]
    fn what_is_no_character_of_time_counts_as_the_last_one() {
        let (keys, now) = (keys(16), 57_487.5);
        assert!(verifies(&keys, "obMatJos2gAAA_uYMrnftlZenFJ8r6", CLIENT, now));
        assert!(verifies(&keys, "obMatJos2gAAA!uYMrnftlZenFJ8r6", CLIENT, now));
        assert!(!verifies(&keys, "obMatJos2gAAA-uYMrnftlZenFJ8r6", CLIENT, now));
        let mut beyond_ascii = b"obMatJos2gAAA_uYMrnftlZenFJ8r6".to_vec();
        beyond_ascii[COOKIE_LENGTH] = 0x80;
        assert!(!keys.is_ours(&beyond_ascii, CLIENT.parse().unwrap(), now));
    }

    #[test]
    fn the_key_of_the_epoch_is_needed() {
        let keys = NonceKeys::new(TICK, 16, &[(6, [0; 32]), (8, [0; 32])]).unwrap();
        assert!(!verifies(&keys, NONCE, CLIENT, MINTED_AT));
    }

    #[test]
    fn a_message_without_a_sound_nonce_is_a_strangers() {
        let client = CLIENT.parse().unwrap();
        let nonce: (u16, &[u8]) = (number::NONCE, NONCE.as_bytes());
        let integrity: (u16, &[u8]) = (number::MESSAGE_INTEGRITY, &[0; 20]);
        let verifies = |attributes: &[_]| {
            let message = sample::message(BINDING_REQUEST, attributes);
            let stun = Stun::from_untrusted(&message).unwrap();
            keys(16).verifies_untrusted(&stun, client, MINTED_AT)
        };
        assert!(verifies(&[nonce, integrity]));
        assert!(verifies(&[nonce, (number::NONCE, b"second")]));
        assert!(!verifies(&[(number::NONCE, b"first"), nonce]));
        assert!(!verifies(&[integrity, nonce]));
        assert!(!verifies(&[nonce, (number::MESSAGE_INTEGRITY, b"short")]));
        assert!(!verifies(&[]));
    }

    #[test]
    fn keys_that_cannot_be_are_refused() {
        for tick in [0.0, -1.0, f64::NAN] {
            assert!(NonceKeys::new(tick, 16, &[]).is_none());
        }
        for mac_length in [0, 5, 17] {
            assert!(NonceKeys::new(TICK, mac_length, &[]).is_none());
        }
        assert!(NonceKeys::new(TICK, 16, &[(u64::MAX, [0; 32])]).is_none());
    }
}
