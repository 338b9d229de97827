//! A TLS client over a socket pair, by rustls, that takes any certificate and tells which it was.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, DigitallySignedStruct, Error,
    SignatureScheme, SupportedProtocolVersion,
};

use super::super::tls::{Identity, TlsConfig, server_config};
use super::*;

pub(super) const FIRST: (&[u8], &[u8]) =
    (include_bytes!("pem/first.pem"), include_bytes!("pem/first.key"));
pub(super) const WILDCARD: (&[u8], &[u8]) =
    (include_bytes!("pem/wildcard.pem"), include_bytes!("pem/wildcard.key"));
pub(super) const RSA: (&[u8], &[u8]) =
    (include_bytes!("pem/rsa.pem"), include_bytes!("pem/rsa.key"));

pub(super) fn identity(names: &[&str], (certificate, key): (&[u8], &[u8])) -> Identity {
    Identity {
        names: names.iter().map(ToString::to_string).collect(),
        certificate_pem: certificate.to_vec(),
        key_pem: key.to_vec(),
    }
}

pub(super) fn config() -> Arc<TlsConfig> {
    server_config(&[identity(&["localhost"], FIRST)]).unwrap()
}

/// What a client says hello with.
pub(super) struct Hello {
    pub(super) version: &'static SupportedProtocolVersion,
    pub(super) name: &'static str,
    pub(super) alpn: &'static [&'static str],
}

impl Default for Hello {
    fn default() -> Self {
        Self { version: &rustls::version::TLS13, name: "localhost", alpn: &[] }
    }
}

pub(super) struct Client {
    pub(super) socket: TcpStream,
    pub(super) tls: ClientConnection,
}

impl Client {
    pub(super) fn new(socket: TcpStream, hello: &Hello) -> Self {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[hello.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAny(provider)))
            .with_no_client_auth();
        config.alpn_protocols = hello.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_secret_extraction = true;
        let name = ServerName::try_from(hello.name).unwrap();
        Self { socket, tls: ClientConnection::new(Arc::new(config), name).unwrap() }
    }

    /// Reads and writes what can be now. Returns the plaintext that came.
    pub(super) fn step(&mut self) -> Result<Vec<u8>, Error> {
        let bytes = received(&self.socket);
        let mut rest = &bytes[..];
        let mut plaintext = Vec::new();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            let state = self.tls.process_new_packets()?;
            let start = plaintext.len();
            plaintext.resize(start + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut plaintext[start..]).unwrap();
        }
        let bytes = self.outgoing();
        send(&self.socket, &bytes);
        Ok(plaintext)
    }

    /// What is to be sent by now.
    pub(super) fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// One record (or several, beyond 16 KiB) of these bytes.
    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(plaintext).unwrap();
        self.outgoing()
    }

    pub(super) fn send(&mut self, plaintext: &[u8]) {
        let records = self.encrypt(plaintext);
        send(&self.socket, &records);
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.tls.peer_certificates().unwrap()[0].clone()
    }
}

pub(super) fn der((certificate, _): (&[u8], &[u8])) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate).unwrap()
}

pub(super) fn greeted(config: &Arc<TlsConfig>, hello: &Hello) -> (Worker, Client) {
    let (ours, theirs) = pair();
    let mut client = Client::new(theirs, hello);
    client.step().unwrap();
    (Worker::new(Stream::tls(ours, &SETTINGS, config, b"", 0)), client)
}

/// A stream and its client after the handshake.
pub(super) fn shaken(config: &Arc<TlsConfig>, hello: &Hello) -> (Worker, Client) {
    let (mut worker, mut client) = greeted(config, hello);
    for _ in 0..3 {
        worker.turn();
        client.step().unwrap();
    }
    assert!(!client.tls.is_handshaking());
    assert_eq!((worker.opened, worker.end), (1, None));
    (worker, client)
}

/// The client's side of TLS 1.3's records, for what no well-behaved client sends.
pub(super) struct Records {
    pub(super) socket: TcpStream,
    key: ::ring::aead::LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Records {
    pub(super) fn of(Client { socket, tls }: Client) -> Self {
        let (sequence, secrets) = tls.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("suite") };
        let key = ::ring::aead::UnboundKey::new(&::ring::aead::AES_256_GCM, key.as_ref()).unwrap();
        let iv = iv.as_ref().try_into().unwrap();
        Self { socket, key: ::ring::aead::LessSafeKey::new(key), iv, sequence }
    }

    /// Sends a record (RFC 8446 section 5.2) of content type `kind`.
    pub(super) fn send(&mut self, kind: u8, content: &[u8]) {
        let mut sealed = [content, &[kind]].concat();
        let mut record = vec![23, 3, 3];
        record.extend_from_slice(&(sealed.len() as u16 + 16).to_be_bytes());
        let mut nonce = self.iv;
        for (byte, mask) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= mask;
        }
        let nonce = ::ring::aead::Nonce::assume_unique_for_key(nonce);
        let aad = ::ring::aead::Aad::from(record.clone());
        self.key.seal_in_place_append_tag(nonce, aad, &mut sealed).unwrap();
        self.sequence += 1;
        send(&self.socket, &[record, sealed].concat());
    }
}

#[derive(Debug)]
struct TakesAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
