//! In the place of OpenSSL, where it was not at hand when this was built: no listener has DTLS.

use std::convert::Infallible;
use std::sync::Arc;

use super::cookies::Cookie;
use super::{Broken, Knock, Lent, Read, TooBig};
use crate::stream::tls::{Identity, TlsConfigError};

/// Never made.
#[derive(Debug)]
pub struct DtlsConfig(Infallible);

impl DtlsConfig {
    /// Says why there is none, and how to mend it.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: &[Identity]) -> Result<Arc<Self>, TlsConfigError> {
        Err(TlsConfigError::new(
            "no DTLS".into(),
            "the native engine was built without OpenSSL: install libssl-dev and pkg-config and \
             run make install, or set engine: portable"
                .into(),
        ))
    }
}

/// Never made.
#[derive(Debug)]
pub struct Door(Infallible);

impl Door {
    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn new(config: &Arc<DtlsConfig>) -> Result<Self, Broken> {
        match config.0 {}
    }

    /// Never called.
    pub fn knock(&mut self, _: &[u8], _: [Cookie; 2], _: &mut Lent) -> Knock {
        match self.0 {}
    }
}

/// Never made.
#[derive(Debug)]
pub struct Session(Infallible);

impl Session {
    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn handshake(&mut self, _: &mut Lent) -> Result<bool, Broken> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn repeat(&mut self, _: &mut Lent) -> Result<(), Broken> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn read(&mut self, _: &mut [u8], _: &mut Lent) -> Result<Read, Broken> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn write(&mut self, _: &[u8], _: &mut Lent) -> Result<(), TooBig> {
        match self.0 {}
    }

    /// Never called.
    pub fn close(&mut self, _: &mut Lent) {
        match self.0 {}
    }

    /// Never called.
    #[must_use]
    pub fn server_name(&self) -> Option<Box<str>> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_says_how_to_mend_it() {
        let reason = DtlsConfig::new(&[]).unwrap_err().to_string();
        assert!(reason.contains("libssl-dev") && reason.contains("engine: portable"));
    }
}
