//! What TLS clients are served with: the certificate that they ask for, and nothing weak.
//!
//! Rules of the house
//! 1.  TLS 1.2 and 1.3, all suites with ephemeral keys and AEAD: rustls knows no others. No
//!     tickets, no resumption, no early data: a ticket key that lives as long as the process would
//!     undo forward secrecy, and TURN connections are long, so that resuming gains little.
//! 2.  All that is offered is equally strong: the client's preference counts, since a phone without
//!     AES instructions may want ChaCha20.
//! 3.  A configuration never changes. New certificates are a new one, for new streams.
//! 4.  The provider of the cryptography is named here and is nobody's default.

use std::error::Error;
use std::fmt::{Debug, Display, Formatter};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};

/// What we may be asked for by ALPN (RFC 7443).
pub(crate) const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// A certificate that a client can ask for by name (SNI, RFC 6066 section 3).
#[derive(Clone)]
pub struct Identity {
    /// DNS names, lower case; `*.example.org` stands for one label more. A name that an identity
    /// has itself goes before such a pattern of another.
    pub names: Vec<String>,
    /// The chain in PEM, the server's own first.
    pub certificate_pem: Vec<u8>,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key_pem: Vec<u8>,
}

/// The key stays out of logs.
impl Debug for Identity {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

/// What a listener's TLS streams are served with.
#[derive(Debug)]
pub struct TlsConfig {
    ours: Arc<ServerConfig>,
    /// The same for clients that offer only protocols we do not know: they are served all the
    /// same, and told none (as OpenSSL does), while rustls would refuse them.
    foreign: Arc<ServerConfig>,
}

impl TlsConfig {
    /// By which configuration this client is served.
    pub(super) fn for_client(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let is_foreign =
            hello.alpn().is_some_and(|mut offered| !offered.any(|name| ALPN.contains(&name)));
        Arc::clone(if is_foreign { &self.foreign } else { &self.ours })
    }
}

/// An identity that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfigError {
    certificate: String,
    problem: String,
}

impl TlsConfigError {
    /// Which certificate, and what about it.
    pub(crate) fn new(certificate: String, problem: String) -> Self {
        Self { certificate, problem }
    }
}

impl Display for TlsConfigError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.certificate, self.problem)
    }
}

impl Error for TlsConfigError {}

/// What to serve these identities with; the first is for clients that name none of them.
///
/// # Errors
/// There is none, or one cannot be served; the text says which, and how to mend it.
pub fn server_config(identities: &[Identity]) -> Result<Arc<TlsConfig>, TlsConfigError> {
    let provider = Arc::new(ring::default_provider());
    let mut served = Vec::with_capacity(identities.len());
    for (index, identity) in identities.iter().enumerate() {
        let key = certified_key(identity, &provider).map_err(|problem| TlsConfigError {
            certificate: format!("certificate {} ({})", index + 1, identity.names.join(", ")),
            problem,
        })?;
        served.push(Served { names: identity.names.clone(), key: Arc::new(key) });
    }
    let none = || TlsConfigError {
        certificate: "no certificate".into(),
        problem: "TLS needs one and its key".into(),
    };
    let resolver = Resolver { default: Arc::clone(&served.first().ok_or_else(none)?.key), served };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsConfigError {
            certificate: "TLS".into(),
            problem: error.to_string(),
        })?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let foreign = Arc::new(config.clone());
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    Ok(Arc::new(TlsConfig { ours: Arc::new(config), foreign }))
}

fn certified_key(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(&identity.certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the chain is no sound PEM: {error}"))?;
    if chain.is_empty() {
        return Err("holds no certificate: PEM with BEGIN CERTIFICATE is needed, the server's \
                    first, the intermediate ones after it"
            .into());
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem).map_err(|error| {
        format!(
            "there is no sound private key ({error}): PEM with BEGIN PRIVATE KEY, BEGIN RSA \
             PRIVATE KEY or BEGIN EC PRIVATE KEY is needed, without a passphrase"
        )
    })?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| {
        format!("its private key cannot be used ({error}): make one with ECDSA P-256 or RSA 2048")
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("the private key belongs to another certificate: name the files of one pair, with \
             the server's certificate first in its file"
                .into())
        }
        Err(error) => Err(format!("cannot be served ({error})")),
    }
}

/// A name that a client asks for, as it is told: lower case, without a final dot.
pub(crate) fn canonical(server_name: &str) -> Box<str> {
    server_name.strip_suffix('.').unwrap_or(server_name).to_ascii_lowercase().into_boxed_str()
}

/// The identity that a client asks for: one that has the name itself goes before a pattern's.
pub(crate) fn find_identity<'a, T>(
    server_name: &str,
    served: &'a [T],
    names_of: impl Fn(&T) -> &Vec<String>,
) -> Option<&'a T> {
    let name = canonical(server_name);
    let pattern = format!("*.{}", name.split_once('.').map_or("", |(_, parent)| parent));
    [&*name, &*pattern].into_iter().find_map(|wanted| {
        served.iter().find(|each| names_of(each).iter().any(|known| known == wanted))
    })
}

/// Chooses by the name that the client gives.
#[derive(Debug)]
struct Resolver {
    served: Vec<Served>,
    default: Arc<CertifiedKey>,
}

#[derive(Debug)]
struct Served {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Resolver {
    fn choose(&self, server_name: &str) -> &Arc<CertifiedKey> {
        find_identity(server_name, &self.served, |served| &served.names)
            .map_or(&self.default, |served| &served.key)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name().unwrap_or_default())))
    }
}
