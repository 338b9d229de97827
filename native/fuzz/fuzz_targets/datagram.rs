//! Any bytes as one datagram of a client: nothing panics, no place lies outside of the datagram, and
//! what is said is read back as it was meant.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use relay_core::wire::address::{LARGEST_ADDRESS, decode_xor_address, encode_xor_address};
use relay_core::wire::binding::{binding_success, plain_binding_untrusted};
use relay_core::wire::challenge::{Challenge, first_request_untrusted};
use relay_core::wire::data::{LARGEST_HEAD, data_indication_head, encode_icmp, padding};
use relay_core::wire::message::{Datagram, Stun, classify_untrusted};
use relay_core::wire::nonce::NonceKeys;
use relay_core::wire::proxy::proxy_header_untrusted;
use relay_core::wire::send::decode_send_untrusted;

/// Bytes of the IPv4 and UDP headers below a datagram.
const HEADERS: usize = 28;

fuzz_target!(|data: &[u8]| {
    judge(data);
    // Few mutations get length and cookie right, fewer the CRC: the rest of the code is behind them.
    judge(&with_sound_header(data));
});

fn judge(datagram: &[u8]) {
    match classify_untrusted(datagram) {
        Datagram::ChannelData { number, data } => {
            assert!((0x4000..=0x4FFF).contains(&number));
            assert_eq!(data, &datagram[4..4 + data.len()]);
        }
        Datagram::Stun(stun) => judge_stun(stun),
        Datagram::Junk => {}
    }
    if let Ok(header) = proxy_header_untrusted(datagram) {
        assert!((16..=datagram.len()).contains(&header.len));
    }
    judge_send(datagram);
    judge_binding(datagram);
    judge_first_request(datagram);
}

fn judge_stun(stun: Stun<'_>) {
    for attribute in stun.attributes().map_while(Result::ok) {
        let place = attribute.range();
        assert_eq!(&stun.bytes()[place.clone()], attribute.value);
        let header = &stun.bytes()[place.start - 4..place.start];
        let (number, length) = (attribute.number.to_be_bytes(), place.len() as u16);
        assert_eq!(header, [number, length.to_be_bytes()].concat());
    }
    if let Some(keys) = NonceKeys::new(1.0, 16, &[(0, [7; 32])]) {
        assert!(!keys.verifies_untrusted(&stun, client(), 1.0), "an HMAC was guessed");
    }
}

fn judge_send(datagram: &[u8]) {
    let Ok(send) = decode_send_untrusted(datagram) else { return };
    let payload = &datagram[send.data];
    let id = [7; 12];
    let mut head = [0; LARGEST_HEAD];
    // The longest payloads do not fit beside an IPv6 peer's address.
    if let Some(size) = data_indication_head(send.peer, &id, payload.len(), &mut head) {
        let mut message = [&head[..size], payload].concat();
        message.resize(message.len() + padding(payload.len()), 0);
        let again = decode_send_untrusted(&message).expect("what we say is well-formed");
        assert_eq!((again.peer, &message[again.data]), (send.peer, payload));
    }
    let icmp = encode_icmp(send.peer, 3, 3, 0, &id);
    let stun = Stun::from_untrusted(&icmp).expect("what we say is STUN");
    assert_eq!(stun.attributes().filter(Result::is_ok).count(), 2);
    let mut value = [0; LARGEST_ADDRESS];
    let size = encode_xor_address(send.peer, &id, &mut value);
    assert_eq!(decode_xor_address(&value[..size], &id), Ok(send.peer));
}

fn judge_binding(datagram: &[u8]) {
    let Some(request) = plain_binding_untrusted(datagram) else { return };
    let mut answer = Vec::new();
    binding_success(&request, client(), &mut answer);
    assert!(HEADERS + answer.len() <= 2 * (HEADERS + datagram.len()));
    let stun = Stun::from_untrusted(&answer).expect("what we say is STUN");
    assert_eq!(stun.transaction_id(), request.transaction_id);
    let attributes: Result<Vec<_>, _> = stun.attributes().collect();
    let attributes = attributes.expect("what we say is well-formed");
    assert_eq!(attributes.len(), 1 + usize::from(request.fingerprint));
    assert_eq!(decode_xor_address(attributes[0].value, &request.transaction_id), Ok(client()));
}

fn judge_first_request(datagram: &[u8]) {
    let Some(request) = first_request_untrusted(datagram) else { return };
    let keys = NonceKeys::new(1.0, 10, &[(0, [7; 32])]).expect("a nonce's keys");
    let mint = keys.mint(client(), 1.0).expect("the time's key is there");
    let (realm, server_name) = (b"example.org".to_vec(), b"turn.test".to_vec());
    let challenge = Challenge::new(realm, *b"obMatJos2gAAA", 3, vec![0; 8], server_name, false);
    let mut answer = Vec::new();
    let challenge = challenge.expect("as long as one may be");
    challenge.answer(&request, client(), false, &mint, &mut answer);
    assert!(HEADERS + answer.len() <= 2 * (HEADERS + datagram.len()));
    let stun = Stun::from_untrusted(&answer).expect("what we say is STUN");
    assert!(stun.attributes().all(|attribute| attribute.is_ok()));
    let bare = stun.attributes().count() < 3;
    assert!(bare || keys.verifies_untrusted(&stun, client(), 1.0));
}

fn client() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000))
}

/// The bytes as a message whose length and cookie hold, with a right FINGERPRINT by their first bit.
fn with_sound_header(data: &[u8]) -> Vec<u8> {
    let mut message = data.to_vec();
    message.truncate(65_000);
    message.resize(message.len().max(20).next_multiple_of(4), 0);
    let fingerprint = message[0] & 0x80 != 0;
    message[0] &= 3;
    message[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    let length = message.len() - 20 + 8 * usize::from(fingerprint);
    message[2..4].copy_from_slice(&u16::try_from(length).expect("bounded").to_be_bytes());
    if fingerprint {
        let crc = crc32fast::hash(&message) ^ 0x5354_554E;
        message.extend_from_slice(b"\x80\x28\0\x04");
        message.extend_from_slice(&crc.to_be_bytes());
    }
    message
}
