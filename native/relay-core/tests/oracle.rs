//! The native codec against Python's: the same bytes, the same verdict, the same values.
//!
//! One Python process answers for all tests (`tests/native/oracle.py`); `TURND_PYTHON` names another
//! interpreter than that of the repository's `.venv`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod oracle_process;
mod oracle_samples;

use std::fmt::Write;
use std::net::SocketAddr;

use oracle_process::{Oracle, hex, oracle};
use oracle_samples::{
    addresses, datagrams, first_requests, messages, proxied, reads, realms, records, streams,
    transaction_ids,
};
use proptest::prelude::*;
use relay_core::dtls::record::{announces_too_much, hello_random};
use relay_core::wire::binding::{binding_success, plain_binding_untrusted};
use relay_core::wire::challenge::{Challenge, first_request_untrusted};
use relay_core::wire::data::{LARGEST_HEAD, data_indication_head, encode_icmp, padding};
use relay_core::wire::framing::{Framer, LostBorders};
use relay_core::wire::message::{Datagram, Stun, classify_untrusted};
use relay_core::wire::nonce::NonceKeys;
use relay_core::wire::proxy::{ProxyHeader, proxy_header_untrusted};
use relay_core::wire::send::decode_send_untrusted;

/// Chance finds a single number among so many only now and then.
#[test]
fn the_same_attributes_of_a_binding_are_understood() {
    let client = "192.0.2.1:9".parse().unwrap();
    for number in (0..0x100_u16).chain([0x7FFF, 0x8000, 0x8028, 0x802F, 0xFFFF]) {
        let header = b"\x00\x01\x00\x04\x21\x12\xA4\x42a transaction";
        let datagram = [&header[..20], &number.to_be_bytes(), &[0; 2]].concat();
        let theirs = oracle().ask_about('B', client, &[&datagram]);
        assert_eq!(answer_to_binding(&datagram, client), theirs, "attribute {number:#06x}");
    }
}

fn answer_to_binding(datagram: &[u8], client: SocketAddr) -> String {
    let Some(request) = plain_binding_untrusted(datagram) else { return "not plain".to_owned() };
    let mut answer = Vec::new();
    binding_success(&request, client, &mut answer);
    hex(&answer)
}

/// Where in a nonce its character of time is.
const TIME_AT: usize = 13;

/// So many times as many as the variable PROPTEST_CASES says, of which the default is 256.
fn cases(times: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases * times, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn datagrams_are_told_apart_alike(datagram in datagrams()) {
        prop_assert_eq!(verdict_on(&datagram), oracle().ask('D', &[&datagram]));
    }

    #[test]
    fn send_indications_say_the_same(datagram in datagrams()) {
        let ours = match decode_send_untrusted(&datagram) {
            Err(_) => "malformed".to_owned(),
            Ok(send) => format!(
                "{} {} {} {}",
                hex(&oracle_process::octets(send.peer)),
                send.peer.port(),
                hex(&datagram[send.data]),
                u8::from(send.dont_fragment),
            ),
        };
        prop_assert_eq!(ours, oracle().ask('S', &[&datagram]));
    }

    #[test]
    fn plain_bindings_get_the_same_answer(datagram in datagrams(), client in addresses()) {
        prop_assert_eq!(
            answer_to_binding(&datagram, client),
            oracle().ask_about('B', client, &[&datagram])
        );
    }

    #[test]
    fn data_indications_are_the_same_bytes(
        peer in addresses(),
        id in transaction_ids(),
        size in prop_oneof![20 => 0..64_usize, 1 => 65_490..65_536_usize],
    ) {
        let mut head = [0; LARGEST_HEAD];
        let payload = vec![7; size];
        let ours = data_indication_head(peer, &id, size, &mut head).map(|end| {
            hex(&[&head[..end], &payload, &[0; 3][..padding(size)]].concat())
        });
        let theirs = oracle().ask_about('I', peer, &[&id, &payload]);
        prop_assert_eq!(ours.unwrap_or_else(|| "too long".to_owned()), theirs);
    }

    #[test]
    fn icmp_errors_are_the_same_bytes(
        peer in addresses(),
        id in transaction_ids(),
        (icmp_type, code, data) in (0..=0x7F_u8, any::<u8>(), any::<u32>()),
    ) {
        let ours = hex(&encode_icmp(peer, icmp_type, code, data, &id));
        let theirs =
            oracle().ask_about('E', peer, &[&[icmp_type, code], &data.to_be_bytes(), &id]);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn a_proxys_datagrams_are_the_same_clients(datagram in proxied()) {
        let ours = match proxy_header_untrusted(&datagram) {
            Err(_) => "refused".to_owned(),
            Ok(ProxyHeader { len, client: None }) => format!("{len} the proxy's"),
            Ok(ProxyHeader { len, client: Some(client) }) => {
                format!("{len} {} {}", hex(&oracle_process::octets(client)), client.port())
            }
        };
        prop_assert_eq!(ours, oracle().ask('P', &[&datagram]));
    }

    #[test]
    fn dtls_records_tell_the_same(datagram in records()) {
        let random = hello_random(&datagram).map_or_else(String::new, |random| hex(&random));
        let ours = format!("{random} {}", u8::from(announces_too_much(&datagram)));
        prop_assert_eq!(ours, oracle().ask('R', &[&datagram]));
    }

    #[test]
    fn streams_are_cut_alike(stream in streams(), sizes in reads(), media: bool) {
        let ours = cut(&stream, &sizes, media);
        let mut question = vec![u8::from(media)];
        question.extend(u16::try_from(sizes.len()).unwrap().to_be_bytes());
        question.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        prop_assert_eq!(ours, oracle().ask('F', &[&question, &stream]));
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn nonces_are_judged_alike(
        minting in mintings(),
        asks_as in prop_oneof![3 => Just(None), 1 => addresses().prop_map(Some)],
        changed in prop_oneof![
            2 => Just(None),
            1 => (0..40_usize, any::<u8>()).prop_map(Some),
            1 => (Just(TIME_AT), any::<u8>()).prop_map(Some),
            1 => (0..40_usize, b'A'..=b'Z').prop_map(Some),
        ],
        message in messages(),
    ) {
        let mut oracle = oracle();
        let (nonce, keys) = minting.ask(&mut oracle);
        let mut nonce = nonce.into_bytes();
        match changed {
            Some((at, byte)) if at < nonce.len() => nonce[at] = byte,
            Some((at, _)) => nonce.truncate(at - nonce.len()),
            None => {}
        }
        let (client, now) = (asks_as.unwrap_or(minting.client), minting.later);
        let message = message.with_nonce(&nonce);
        let ours = match Stun::from_untrusted(&message) {
            Ok(stun) => keys.verifies_untrusted(&stun, client, now),
            Err(_) => false,
        };
        let theirs = oracle.ask_about('N', client, &[&now.to_be_bytes(), &message]);
        prop_assert_eq!(u8::from(ours).to_string(), theirs);
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn first_requests_get_the_same_challenge(
        minting in mintings(),
        realm in realms(),
        server_name in prop_oneof![Just(String::new()), realms()],
        by_stream: bool,
        datagram in prop_oneof![2 => first_requests(), 1 => datagrams()],
    ) {
        let mut oracle = oracle();
        let keys = minting.ask(&mut oracle).1;
        let (client, now) = (minting.client, minting.later);
        let told = oracle.ask_about(
            'C',
            client,
            &[
                &now.to_be_bytes(),
                &[u8::from(by_stream), minting.algorithms, u8::from(minting.anonymity)],
                &[realm.len(), server_name.len()].map(|size| u8::try_from(size).unwrap()),
                realm.as_bytes(),
                server_name.as_bytes(),
                &datagram,
            ],
        );
        let mut words = told.split(' ').map(oracle_process::unhex);
        let mut word = || words.next().unwrap();
        let (answer, realm, cookie) = (word(), word(), word().try_into().unwrap());
        let challenge = Challenge::new(realm, cookie, word()[0], word(), word(), false).unwrap();
        let Some(mint) = keys.mint(client, now) else {
            let hosts = (client.ip(), client.ip().to_canonical());
            prop_assert_ne!(hosts.0, hosts.1);
            return Ok(());
        };
        let mut ours = Vec::new();
        if let Some(request) = first_request_untrusted(&datagram) {
            challenge.answer(&request, client, by_stream, &mint, &mut ours);
        }
        prop_assert_eq!(hex(&ours), hex(&answer));
    }
}

/// In the oracle's words.
fn verdict_on(datagram: &[u8]) -> String {
    match classify_untrusted(datagram) {
        Datagram::ChannelData { number, data } => format!("channel {number} {}", hex(data)),
        Datagram::Stun(stun) if stun.is_send_indication() => {
            match decode_send_untrusted(datagram) {
                Ok(_) => "send".to_owned(),
                Err(_) => "malformed send".to_owned(),
            }
        }
        Datagram::Stun(_) => "message".to_owned(),
        Datagram::Junk => "junk".to_owned(),
    }
}

/// In the oracle's words, a read a second.
fn cut(stream: &[u8], sizes: &[u16], media: bool) -> String {
    let mut framer = Framer::new(10);
    if media {
        framer.expect_media();
    }
    let (mut told, mut rest) = (String::new(), stream);
    for (now, size) in sizes.iter().enumerate() {
        let (read, later) = rest.split_at(rest.len().min(usize::from(*size)));
        rest = later;
        let mut buffer = vec![0; stream.len()];
        let kept = framer.resume(&mut buffer);
        let data = &mut buffer[..kept + read.len()];
        data[kept..].copy_from_slice(read);
        if let Err(LostBorders) = take(&mut framer, data, now as u64, &mut told) {
            return told + "lost";
        }
        match framer.deadline() {
            None => told.push_str("- "),
            Some(deadline) => write!(told, "until {deadline} ").unwrap(),
        }
    }
    told.truncate(told.trim_end().len());
    told
}

fn take(framer: &mut Framer, data: &[u8], now: u64, told: &mut String) -> Result<(), LostBorders> {
    let mut at = 0;
    while let Some(frame) = framer.next_frame_untrusted(data, &mut at)? {
        write!(told, "{} ", hex(&data[frame])).unwrap();
    }
    framer.keep(data, at, now);
    Ok(())
}

/// A nonce to mint, and when it is to be judged.
#[derive(Clone, Copy, Debug)]
struct Minting {
    client: SocketAddr,
    lifetime: f64,
    mac_length: u8,
    now: f64,
    algorithms: u8,
    anonymity: bool,
    later: f64,
}

/// Minted at any time and judged at any later one, but more often where it matters: by the last
/// character of time, and when a nonce's lifetime ends.
fn mintings() -> impl Strategy<Value = Minting> {
    let tick = prop_oneof![3 => 0..5000_u32, 1 => (0..99_u32).prop_map(|round| 64 * round + 63)];
    let age = prop_oneof![2 => 0..14_i32, 2 => 14..18_i32, 1 => -3..72_i32];
    let offers = (0..4_u8, any::<bool>());
    (addresses(), 0.5..4000.0_f64, 6..=16_u8, tick, age, 0.0..1.0_f64, offers).prop_map(
        |(client, lifetime, mac_length, tick, age, part, (algorithms, anonymity))| {
            let now = lifetime / 16.0 * (f64::from(tick) + part);
            let later = (now + lifetime / 16.0 * f64::from(age)).max(0.0);
            Minting { client, lifetime, mac_length, now, algorithms, anonymity, later }
        },
    )
}

impl Minting {
    /// The nonce, and the keys that are good later.
    fn ask(&self, oracle: &mut Oracle) -> (String, NonceKeys) {
        let told = oracle.ask_about(
            'M',
            self.client,
            &[
                &self.lifetime.to_be_bytes(),
                &[self.mac_length],
                &self.now.to_be_bytes(),
                &[self.algorithms, u8::from(self.anonymity)],
                &self.later.to_be_bytes(),
            ],
        );
        let mut words = told.split(' ');
        let nonce = words.next().unwrap().to_owned();
        let mut keys = Vec::new();
        while let (Some(epoch), Some(key)) = (words.next(), words.next()) {
            let key = oracle_process::unhex(key).try_into().unwrap();
            keys.push((epoch.parse().unwrap(), key));
        }
        let keys = NonceKeys::new(self.lifetime / 16.0, self.mac_length.into(), &keys);
        (nonce, keys.unwrap())
    }
}
