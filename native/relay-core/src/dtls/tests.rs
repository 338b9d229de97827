//! Sessions of OpenSSL, with OpenSSL at the other end, both in memory.

use std::net::SocketAddr;

use openssl::ssl::{SslConnector, SslVerifyMode};

use super::*;
use crate::dtls::cookies::Cookies;

const CLIENT: &str = "192.0.2.1:5";
const FIRST: (&[u8], &[u8]) = (
    include_bytes!("../stream/tests/pem/first.pem"),
    include_bytes!("../stream/tests/pem/first.key"),
);

pub(crate) fn config() -> Arc<DtlsConfig> {
    DtlsConfig::new(&[identity(&["first.example"], FIRST)]).unwrap()
}

fn identity(names: &[&str], (certificate, key): (&[u8], &[u8])) -> Identity {
    let names = names.iter().map(ToString::to_string).collect();
    Identity { names, certificate_pem: certificate.to_vec(), key_pem: key.to_vec() }
}

/// The other end.
pub(crate) struct Client(SslStream<Lent>);

impl Client {
    pub(crate) fn new(server_name: &str, ciphers: &str) -> Self {
        let mut context = SslConnector::builder(SslMethod::dtls_client()).unwrap();
        context.set_verify(SslVerifyMode::NONE);
        context.set_cipher_list(ciphers).unwrap();
        context.set_options(SslOptions::NO_QUERY_MTU);
        context.set_alpn_protos(b"\x02h2\x09stun.turn").unwrap();
        let mut ssl = context.build().configure().unwrap().into_ssl(server_name).unwrap();
        ssl.set_connect_state();
        ssl.set_mtu(MTU as u32).unwrap();
        Self(SslStream::new(ssl, Lent::default()).unwrap())
    }

    /// Goes on with the handshake, with these datagrams. What it says, and whether it is done.
    pub(crate) fn step(&mut self, datagrams: &[Vec<u8>]) -> (Vec<Vec<u8>>, bool) {
        let mut done = self.0.connect().is_ok();
        for datagram in datagrams {
            self.0.get_mut().feed(datagram);
            done = self.0.connect().is_ok();
        }
        (take(self.0.get_mut()), done)
    }
}

fn take(lent: &mut Lent) -> Vec<Vec<u8>> {
    let datagrams = lent.datagrams().map(<[u8]>::to_vec).collect();
    lent.sent();
    datagrams
}

struct Server {
    door: Door,
    cookies: Cookies,
    lent: Lent,
}

impl Server {
    fn new() -> Self {
        let door = Door::new(&config()).unwrap();
        Self { door, cookies: Cookies::new().unwrap(), lent: Lent::default() }
    }

    fn knock(&mut self, hello: &[u8]) -> Knock {
        let client: SocketAddr = CLIENT.parse().unwrap();
        let good = self.cookies.of(client, (1, None), 0);
        self.door.knock(hello, good, &mut self.lent)
    }

    fn let_in(&mut self, client: &mut Client) -> Session {
        let (hello, _) = client.step(&[]);
        assert!(matches!(self.knock(&hello[0]), Knock::Question));
        let question = take(&mut self.lent);
        let (hello, _) = client.step(&question);
        let Knock::Passed(session) = self.knock(&hello[0]) else { panic!("it has the cookie") };
        session
    }

    fn connect(&mut self, client: &mut Client) -> Session {
        let mut session = self.let_in(client);
        assert_eq!(session.handshake(&mut self.lent), Ok(false));
        let flight = take(&mut self.lent);
        assert!(flight.iter().all(|datagram| datagram.len() <= MTU));
        let (answer, _) = client.step(&flight);
        let mut open = false;
        for datagram in answer {
            self.lent.feed(&datagram);
            open = session.handshake(&mut self.lent) == Ok(true);
        }
        assert!(open && client.step(&take(&mut self.lent)).1);
        session
    }
}

#[test]
fn messages_pass_both_ways_until_one_side_says_goodbye() {
    let (mut server, mut client) = (Server::new(), Client::new("First.Example.", "DEFAULT"));
    let mut session = server.connect(&mut client);
    assert_eq!(session.server_name().as_deref(), Some("first.example"));
    assert_eq!(client.0.ssl().selected_alpn_protocol(), Some(b"stun.turn".as_slice()));
    client.0.ssl_write(b"up").unwrap();
    let mut room = [0; 100];
    server.lent.feed(&take(client.0.get_mut())[0]);
    assert_eq!(session.read(&mut room, &mut server.lent), Ok(Read::Message(2)));
    assert_eq!(&room[..2], b"up");
    assert_eq!(session.read(&mut room, &mut server.lent), Ok(Read::Nothing));
    session.write(b"down", &mut server.lent).unwrap();
    client.0.get_mut().feed(&take(&mut server.lent)[0]);
    assert_eq!(client.0.ssl_read(&mut room).unwrap(), 4);
    client.0.shutdown().unwrap();
    server.lent.feed(&take(client.0.get_mut())[0]);
    assert_eq!(session.read(&mut room, &mut server.lent), Ok(Read::Closed));
    session.close(&mut server.lent);
    assert_eq!(take(&mut server.lent)[0][0], 21, "an alert");
}

#[test]
fn what_is_weak_fails_with_an_alert() {
    let (mut server, mut client) = (Server::new(), Client::new("first.example", "AES128-SHA"));
    let mut session = server.let_in(&mut client);
    assert_eq!(session.handshake(&mut server.lent), Err(Broken));
    assert_eq!(take(&mut server.lent)[0][0], 21);
    session.close(&mut server.lent);
}

#[test]
fn a_flight_is_sent_again_when_it_is_time_and_not_before() {
    let (mut server, mut client) = (Server::new(), Client::new("first.example", "DEFAULT"));
    let mut session = server.let_in(&mut client);
    assert_eq!(session.handshake(&mut server.lent), Ok(false));
    server.lent.sent();
    assert_eq!(session.repeat(&mut server.lent), Ok(()));
    assert!(take(&mut server.lent).is_empty());
}

#[test]
fn the_door_survives_anything() {
    let (mut server, mut client) = (Server::new(), Client::new("first.example", "DEFAULT"));
    let hello = client.step(&[]).0.remove(0);
    for end in 0..hello.len() {
        assert!(matches!(server.knock(&hello[..end]), Knock::Nothing), "cut at {end}");
    }
    for place in 0..hello.len() {
        let mut broken = hello.clone();
        broken[place] ^= 0xFF;
        let _whatever = server.knock(&broken);
        server.lent.sent();
    }
    assert!(matches!(server.knock(&[22; LARGEST_HELLO + 1]), Knock::Nothing));
    server.connect(&mut Client::new("first.example", "DEFAULT"));
}

#[test]
fn no_room_is_made_for_certificates_of_clients() {
    let (mut server, mut client) = (Server::new(), Client::new("first.example", "DEFAULT"));
    let mut session = server.let_in(&mut client);
    assert_eq!(session.handshake(&mut server.lent), Ok(false));
    server.lent.sent();
    let announce = |number: u8, length: u16| {
        let [high, low] = length.to_be_bytes();
        let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, number, 0, 13];
        [&record[..], &[16, 0, high, low, 0, number, 0, 0, 0, 0, 0, 1, 0]].concat()
    };
    server.lent.feed(&announce(5, 4_096));
    assert_eq!(session.handshake(&mut server.lent), Ok(false));
    server.lent.feed(&announce(6, 30_000));
    assert_eq!(session.handshake(&mut server.lent), Err(Broken));
}

#[test]
fn certificates_that_come_and_go_take_no_more_places() {
    let (one, other) = (config(), config());
    assert_eq!(one.good.as_raw(), other.good.as_raw());
}

#[test]
fn no_record_is_as_long() {
    let (mut server, mut client) = (Server::new(), Client::new("first.example", "DEFAULT"));
    let mut session = server.connect(&mut client);
    assert_eq!(session.write(&[0; 16_385], &mut server.lent), Err(TooBig));
    assert_eq!(session.write(&[0; 16_384], &mut server.lent), Ok(()));
}

#[test]
fn what_cannot_be_served_is_named() {
    let problem = |identities: &[Identity]| DtlsConfig::new(identities).unwrap_err().to_string();
    assert!(problem(&[]).contains("DTLS needs one"));
    let good = || identity(&["a.example"], FIRST);
    let bad = identity(&["b.example"], (FIRST.0, b"no key"));
    assert!(problem(&[good(), bad]).starts_with("certificate 2 (b.example): "));
}
