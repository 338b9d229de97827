//! What Python sets, as the engine takes it. None of it is read while packets move.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use relay_core::engine::ListenerSettings;
use relay_core::forward::HandedUp;
use relay_core::io::probe::IoChoice;
use relay_core::network::{Network, Networks};
use relay_core::stream::tls::Identity;
use relay_core::wire::challenge::Challenge;
use relay_core::wire::nonce::NonceKeys;

use crate::error::{DoorError, Result};

/// Bytes of a nonce key.
const NONCE_KEY: usize = 32;

/// `turnd.engine.base.ListenerSettings`.
pub(crate) fn listener(settings: &Bound<'_, PyAny>) -> Result<ListenerSettings> {
    let tls = settings.getattr("tls")?;
    let mut identities = Vec::new();
    if !tls.is_none() {
        for identity in tls.getattr("identities")?.try_iter()? {
            identities.push(tls_identity(&identity?)?);
        }
    }
    Ok(ListenerSettings {
        receive_buffer: settings.getattr("receive_buffer")?.extract()?,
        send_buffer: settings.getattr("send_buffer")?.extract()?,
        stream_backlog: settings.getattr("stream_backlog")?.extract()?,
        handshake_timeout: settings.getattr("handshake_timeout")?.extract()?,
        frame_timeout: settings.getattr("frame_timeout")?.extract()?,
        identities,
        idle_timeout: settings.getattr("idle_timeout")?.extract()?,
        plain_udp: settings.getattr("plain_udp")?.extract()?,
        dtls: settings.getattr("dtls")?.extract()?,
        handed_up: HandedUp {
            plain: !settings.getattr("answers_bindings")?.extract::<bool>()?,
            classic: settings.getattr("classic_bindings")?.extract()?,
        },
        proxies: networks(&settings.getattr("proxies")?)?,
    })
}

/// Python's `ipaddress.IPv4Network` and `IPv6Network`.
fn networks(networks: &Bound<'_, PyAny>) -> Result<Networks> {
    let mut found = Vec::new();
    for network in networks.try_iter()? {
        let network = network?;
        let base = network.getattr("network_address")?.extract()?;
        found.push(Network { base, prefix: network.getattr("prefixlen")?.extract()? });
    }
    Ok(found.into_iter().collect())
}

fn tls_identity(identity: &Bound<'_, PyAny>) -> Result<Identity> {
    Ok(Identity {
        names: identity.getattr("names")?.extract()?,
        certificate_pem: identity.getattr("certificate")?.extract()?,
        key_pem: identity.getattr("key")?.extract()?,
    })
}

/// `turnd.engine.base.NonceKeys`.
pub(crate) fn nonce_keys(keys: &Bound<'_, PyAny>) -> Result<NonceKeys> {
    let mut by_epoch = Vec::new();
    for pair in keys.getattr("keys")?.call_method0("items")?.try_iter()? {
        by_epoch.push(pair?.extract::<(u64, [u8; NONCE_KEY])>()?);
    }
    let tick = keys.getattr("tick")?.extract()?;
    let mac_length = keys.getattr("mac_length")?.extract()?;
    NonceKeys::new(tick, mac_length, &by_epoch).ok_or(DoorError::Value("no nonce has such keys"))
}

/// `turnd.engine.base.Challenge`.
pub(crate) fn challenge(challenge: &Bound<'_, PyAny>) -> Result<Challenge> {
    let realm = challenge.getattr("realm")?.extract()?;
    let cookie = challenge.getattr("cookie")?.extract()?;
    let flags = challenge.getattr("flags")?.extract()?;
    let password_algorithms = challenge.getattr("password_algorithms")?.extract()?;
    let third_party = challenge.getattr("third_party_authorization")?.extract()?;
    let unless_named = challenge.getattr("unless_named")?.extract()?;
    Challenge::new(realm, cookie, flags, password_algorithms, third_party, unless_named)
        .ok_or(DoorError::Value("no challenge is as long"))
}

/// How to talk to the kernel, by its name.
pub(crate) fn io_choice(name: &PyBackedStr) -> Result<IoChoice> {
    match name.as_ref() {
        "auto" => Ok(IoChoice::Auto),
        "epoll" => Ok(IoChoice::Epoll),
        "uring" => Ok(IoChoice::Uring),
        _ => Err(DoorError::Value("io is auto, epoll or uring")),
    }
}
