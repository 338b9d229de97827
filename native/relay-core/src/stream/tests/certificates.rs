//! Which certificate a client gets, and which can be served at all.

use super::super::tls::{Identity, TlsConfig, server_config};
use super::tls_client::{FIRST, Hello, RSA, WILDCARD, config, der, greeted, identity, shaken};
use super::*;

fn three() -> Arc<TlsConfig> {
    server_config(&[
        identity(&["localhost", "turn.example.org"], FIRST),
        identity(&["*.example.org", "example.net"], WILDCARD),
        identity(&["rsa.example.org"], RSA),
    ])
    .unwrap()
}

fn named(name: &'static str) -> Hello {
    Hello { name, ..Hello::default() }
}

#[test]
fn a_client_gets_the_certificate_that_it_names() {
    let config = three();
    for (name, expected) in [
        ("turn.example.org", FIRST),
        ("TURN.Example.org", FIRST),
        ("example.net", WILDCARD),
        ("other.example.org", WILDCARD),
        ("rsa.example.org", RSA), // its own name goes before a pattern
        ("one.more.example.org", FIRST), // a pattern stands for one label
        ("example.org", FIRST),
        ("localhost", FIRST),
        ("192.0.2.1", FIRST), // by address, and so without a name
    ] {
        let (_, client) = shaken(&config, &named(name));
        assert_eq!(client.certificate(), der(expected), "{name}");
    }
}

#[test]
fn new_certificates_are_for_new_streams() {
    let (mut worker, mut old) = shaken(&config(), &Hello::default());
    let (_, new) = shaken(&server_config(&[identity(&[], RSA)]).unwrap(), &Hello::default());
    assert_eq!(new.certificate(), der(RSA));
    old.send(&BINDING);
    assert_eq!(worker.frames(), [BINDING]);
}

#[test]
fn keys_are_taken_in_every_form() {
    for (pair, form) in [
        (FIRST, "BEGIN PRIVATE KEY"),
        (WILDCARD, "BEGIN EC PRIVATE KEY"),
        (RSA, "BEGIN RSA PRIVATE KEY"),
    ] {
        assert!(String::from_utf8_lossy(pair.1).contains(form));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = server_config(&[identity(&[], pair)]).unwrap();
            shaken(&config, &Hello { version, ..Hello::default() });
        }
    }
}

#[test]
fn what_cannot_be_served_is_told() {
    let bad_key = b"-----BEGIN PRIVATE KEY-----\nMAAC\n-----END PRIVATE KEY-----\n";
    for (pair, problem) in [
        ((&b""[..], FIRST.1), "BEGIN CERTIFICATE is needed"),
        ((FIRST.1, FIRST.1), "BEGIN CERTIFICATE is needed"),
        ((b"-----BEGIN CERTIFICATE-----\n", FIRST.1), "no sound PEM"),
        ((b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", FIRST.1), "served"),
        ((FIRST.0, FIRST.0), "BEGIN PRIVATE KEY"),
        ((FIRST.0, bad_key), "ECDSA P-256"),
        ((FIRST.0, WILDCARD.1), "belongs to another certificate"),
    ] {
        let identities = [identity(&["a.example"], FIRST), identity(&["b.example", "c"], pair)];
        let error = server_config(&identities).unwrap_err().to_string();
        assert!(error.starts_with("certificate 2 (b.example, c): "), "{error}");
        assert!(error.contains(problem), "{error}");
    }
    let none: [Identity; 0] = [];
    assert_eq!(
        server_config(&none).unwrap_err().to_string(),
        "no certificate: TLS needs one and its key"
    );
}

#[test]
fn a_key_is_not_shown() {
    let shown = format!("{:?}", identity(&["a.example"], FIRST));
    assert_eq!(shown, "Identity { names: [\"a.example\"], .. }");
}

#[test]
fn a_protocol_of_ours_is_agreed_on() {
    for (alpn, expected) in [
        (&["stun.turn"][..], Some("stun.turn")),
        (&["h2", "stun.nat-discovery"], Some("stun.nat-discovery")),
        (&["stun.nat-discovery", "stun.turn"], Some("stun.turn")),
        (&["h2", "http/1.1"], None),
        (&[], None),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (_, client) = shaken(&config(), &Hello { alpn, version, ..Hello::default() });
            assert_eq!(client.tls.alpn_protocol(), expected.map(str::as_bytes));
        }
    }
}

#[test]
fn sessions_are_not_resumed() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (_, client) = shaken(&config(), &Hello { version, ..Hello::default() });
        assert_eq!(client.tls.tls13_tickets_received(), 0);
        let (mut worker, mut again) = greeted(&config(), &Hello { version, ..Hello::default() });
        worker.turn();
        again.step().unwrap();
        assert_ne!(again.tls.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    }
}
