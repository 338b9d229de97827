//! Sessions by OpenSSL: a record in, a record out, sockets left to the worker.
//!
//! DTLS 1.2 alone, with the suites that TLS 1.2 has here (forward secrecy and AEAD), the client's
//! preference among them, no renegotiation and no tickets: as in [`crate::stream::tls`], and for
//! the same reasons.

use std::fmt::{Debug, Formatter};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::pkey::PKey;
use openssl::ssl::{
    AlpnError, ErrorCode, NameType, SniError, Ssl, SslContext, SslContextBuilder, SslMethod,
    SslMode, SslOptions, SslRef, SslSessionCacheMode, SslStream, SslVersion,
};
use openssl::x509::X509;
use subtle::ConstantTimeEq;

use super::cookies::Cookie;
use super::record::LARGEST_HELLO;
use super::{Broken, Knock, Lent, MTU, Read, TooBig};
use crate::stream::tls::{ALPN, Identity, TlsConfigError, canonical, find_identity};

const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK";

/// What `DTLSv1_handle_timeout` and `SSL_CTX_set_max_cert_list` are macros for, in <openssl/ssl.h>.
const DTLS_CTRL_HANDLE_TIMEOUT: libc::c_int = 74;
const SSL_CTRL_SET_MAX_CERT_LIST: libc::c_int = 51;

unsafe extern "C" {
    // What openssl-sys leaves out of <openssl/ssl.h>.
    fn DTLSv1_listen(ssl: *mut openssl_sys::SSL, client: *mut libc::c_void) -> libc::c_int;
    fn BIO_ADDR_new() -> *mut libc::c_void;
    fn BIO_ADDR_free(address: *mut libc::c_void);
}

/// The cookies that are good for the hello that is being looked at.
type Good = Arc<Mutex<[Cookie; 2]>>;

/// Where a session has its `Good`. OpenSSL takes none of these places back: there is one.
static GOOD: OnceLock<Index<Ssl, Good>> = OnceLock::new();

fn place_of_good() -> Result<Index<Ssl, Good>, ErrorStack> {
    if let Some(good) = GOOD.get() {
        return Ok(*good);
    }
    let made = Ssl::new_ex_index()?;
    Ok(*GOOD.get_or_init(|| made))
}

/// What DTLS clients of a listener are served with; never changes.
pub struct DtlsConfig {
    default: SslContext,
    good: Index<Ssl, Good>,
}

impl Debug for DtlsConfig {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DtlsConfig").finish_non_exhaustive()
    }
}

impl DtlsConfig {
    /// With these identities; the first is for clients that name none of them.
    ///
    /// # Errors
    /// There is none, or one cannot be served; the text says which.
    pub fn new(identities: &[Identity]) -> Result<Arc<Self>, TlsConfigError> {
        let refused = |certificate: String| {
            move |error: ErrorStack| TlsConfigError::new(certificate, error.to_string())
        };
        let good = place_of_good().map_err(refused("DTLS".into()))?;
        let mut contexts = Vec::with_capacity(identities.len());
        for (index, identity) in identities.iter().enumerate() {
            let name = format!("certificate {} ({})", index + 1, identity.names.join(", "));
            let context = builder(identity, good).map_err(refused(name))?;
            contexts.push((identity.names.clone(), context.build()));
        }
        let first = identities.first().ok_or_else(|| {
            TlsConfigError::new("no certificate".into(), "DTLS needs one and its key".into())
        })?;
        let mut default = builder(first, good).map_err(refused("DTLS".into()))?;
        default.set_servername_callback(move |ssl, _| choose(ssl, &contexts));
        Ok(Arc::new(Self { default: default.build(), good }))
    }
}

fn builder(identity: &Identity, good: Index<Ssl, Good>) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::dtls_server())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_cipher_list(CIPHERS)?;
    context.set_options(
        SslOptions::NO_QUERY_MTU
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION,
    );
    context.set_mode(SslMode::RELEASE_BUFFERS);
    expect_no_certificates(&mut context);
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    let chain = X509::stack_from_pem(&identity.certificate_pem)?;
    let mut chain = chain.into_iter();
    if let Some(leaf) = chain.next() {
        context.set_certificate(&leaf)?;
    }
    for certificate in chain {
        context.add_extra_chain_cert(certificate)?;
    }
    let key = PKey::private_key_from_pem(&identity.key_pem)?;
    context.set_private_key(&key)?;
    context.check_private_key()?;
    context.set_alpn_select_callback(|_, offered| choose_protocol(offered));
    context.set_cookie_generate_cb(move |ssl, room| {
        let cookies = good_for(ssl, good);
        room[..cookies[0].len()].copy_from_slice(&cookies[0]);
        Ok(cookies[0].len())
    });
    context.set_cookie_verify_cb(move |ssl, cookie_untrusted| {
        let cookies = good_for(ssl, good);
        cookies.iter().any(|cookie| bool::from(cookie.ct_eq(cookie_untrusted)))
    });
    Ok(context)
}

/// Messages of a client's handshake get no more room than OpenSSL gives them at least, a record each:
/// long ones would be certificates, and nobody asks for them.
fn expect_no_certificates(context: &mut SslContextBuilder) {
    // SAFETY: as the macro does; the pointer is good as long as the builder, which is ours alone.
    unsafe {
        openssl_sys::SSL_CTX_ctrl(context.as_ptr(), SSL_CTRL_SET_MAX_CERT_LIST, 1, null_mut());
    }
}

fn good_for(ssl: &SslRef, good: Index<Ssl, Good>) -> [Cookie; 2] {
    let good = ssl.ex_data(good);
    good.map_or([[0; 20]; 2], |good| *good.lock().unwrap_or_else(PoisonError::into_inner))
}

/// By the name that the client gives; else the listener's first certificate stays.
fn choose(ssl: &mut SslRef, contexts: &[(Vec<String>, SslContext)]) -> Result<(), SniError> {
    let Some(asked) = ssl.servername(NameType::HOST_NAME) else { return Ok(()) };
    let found = find_identity(asked, contexts, |(names, _)| names);
    let Some((_, context)) = found else { return Ok(()) };
    ssl.set_ssl_context(context).map_err(|_| SniError::ALERT_FATAL)
}

/// Ours where it is offered; who offers others is served all the same, as by TLS.
fn choose_protocol(offered_untrusted: &[u8]) -> Result<&[u8], AlpnError> {
    let mut rest = offered_untrusted;
    let mut offered = std::iter::from_fn(|| {
        let (length, names) = rest.split_first()?;
        let (name, more) = names.split_at_checked((*length).into())?;
        rest = more;
        Some(name)
    });
    let all: Vec<&[u8]> = offered.by_ref().collect();
    let ours = ALPN.iter().find_map(|name| all.iter().find(|offered| offered == &name));
    ours.copied().ok_or(AlpnError::NOACK)
}

/// Asks hellos for the cookie; one OpenSSL object serves all until a client passes.
pub struct Door {
    config: Arc<DtlsConfig>,
    good: Good,
    stream: SslStream<Lent>,
}

impl Debug for Door {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// For one worker.
    ///
    /// # Errors
    /// OpenSSL is out of memory.
    pub fn new(config: &Arc<DtlsConfig>) -> Result<Self, Broken> {
        let good = Good::default();
        let stream = stream(config, &good).map_err(|_| Broken)?;
        Ok(Self { config: Arc::clone(config), good, stream })
    }

    /// What a hello gets for which these cookies are good.
    pub fn knock(
        &mut self,
        hello_untrusted: &[u8],
        cookies: [Cookie; 2],
        lent: &mut Lent,
    ) -> Knock {
        if hello_untrusted.len() > LARGEST_HELLO {
            return Knock::Nothing;
        }
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = cookies;
        lent.feed(hello_untrusted);
        let result = with(&mut self.stream, lent, listen);
        // OpenSSL keeps its complaints for the thread, where the next session to find nothing to read
        // would take them for its own.
        drop(ErrorStack::get());
        match result {
            0 if lent.outgoing.is_empty() => Knock::Nothing,
            0 => Knock::Question,
            _ => {
                // It is used up, whether by a client who passed or by what it did not understand.
                let good = Good::default();
                let Ok(fresh) = stream(&self.config, &good) else { return Knock::Nothing };
                let used = std::mem::replace(&mut self.stream, fresh);
                self.good = good; // the session is asked for its own once more
                if result > 0 {
                    return Knock::Passed(Session(used));
                }
                // What it says about it, if anything, is not for those who may not be there.
                lent.sent();
                Knock::Nothing
            }
        }
    }
}

fn stream(config: &DtlsConfig, good: &Good) -> Result<SslStream<Lent>, ErrorStack> {
    let mut ssl = Ssl::new(&config.default)?;
    ssl.set_accept_state();
    ssl.set_mtu(MTU as u32)?;
    ssl.set_ex_data(config.good, Arc::clone(good));
    SslStream::new(ssl, Lent::default())
}

/// `DTLSv1_listen`: below 0 it failed, 0 it has a question or nothing, else the cookie was good.
fn listen(stream: &mut SslStream<Lent>) -> libc::c_int {
    // SAFETY: the address is made and freed here, and OpenSSL only writes to it; the pointer to
    // the session is good as long as the stream, which nobody else uses meanwhile.
    unsafe {
        let address = BIO_ADDR_new();
        let result = DTLSv1_listen(stream.ssl().as_ptr(), address);
        BIO_ADDR_free(address);
        result
    }
}

/// Does something with a session, the worker's memory in the place of its own.
fn with<R>(
    stream: &mut SslStream<Lent>,
    lent: &mut Lent,
    what: impl FnOnce(&mut SslStream<Lent>) -> R,
) -> R {
    std::mem::swap(stream.get_mut(), lent);
    let result = what(stream);
    std::mem::swap(stream.get_mut(), lent);
    result
}

/// The server's side of one session, its cookie exchange done.
pub struct Session(SslStream<Lent>);

impl Debug for Session {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Goes on with the handshake; says whether it is complete.
    ///
    /// # Errors
    /// It failed.
    pub fn handshake(&mut self, lent: &mut Lent) -> Result<bool, Broken> {
        match with(&mut self.0, lent, SslStream::accept) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
            Err(_) => Err(Broken),
        }
    }

    /// Sends the last flight again, if it is time to (RFC 6347 section 4.2.4).
    ///
    /// # Errors
    /// That was done often enough.
    pub fn repeat(&mut self, lent: &mut Lent) -> Result<(), Broken> {
        let result = with(&mut self.0, lent, |stream| {
            // SAFETY: as the macro does; the pointer is good as long as the stream, which nobody
            // else uses meanwhile.
            unsafe {
                let ssl = stream.ssl().as_ptr();
                openssl_sys::SSL_ctrl(ssl, DTLS_CTRL_HANDLE_TIMEOUT, 0, null_mut())
            }
        });
        if result < 0 {
            drop(ErrorStack::get());
            return Err(Broken);
        }
        Ok(())
    }

    /// The next message of the datagram that was fed.
    ///
    /// # Errors
    /// The session has failed, or the client begins to negotiate anew: nobody has a reason to, and
    /// OpenSSL would keep what comes of it, up to a megabyte.
    pub fn read(&mut self, room: &mut [u8], lent: &mut Lent) -> Result<Read, Broken> {
        match with(&mut self.0, lent, |stream| stream.ssl_read(room)) {
            Ok(len) => Ok(Read::Message(len)),
            Err(error) if error.code() == ErrorCode::WANT_READ => {
                let settled = self.0.ssl().is_init_finished();
                if settled { Ok(Read::Nothing) } else { Err(Broken) }
            }
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(Read::Closed),
            Err(_) => Err(Broken),
        }
    }

    /// Writes one message as one datagram.
    ///
    /// # Errors
    /// It is too long for a record.
    pub fn write(&mut self, message: &[u8], lent: &mut Lent) -> Result<(), TooBig> {
        with(&mut self.0, lent, |stream| stream.ssl_write(message)).map(drop).map_err(|_| TooBig)
    }

    /// Says that nothing more comes.
    pub fn close(&mut self, lent: &mut Lent) {
        // The client's own farewell is not waited for, and after an error there is none.
        let _ = with(&mut self.0, lent, SslStream::shutdown);
    }

    /// Whom the client asked for (SNI): lower case, without a final dot.
    #[must_use]
    pub fn server_name(&self) -> Option<Box<str>> {
        self.0.ssl().servername(NameType::HOST_NAME).map(canonical)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;
