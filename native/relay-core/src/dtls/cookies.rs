//! Cookies of hellos: an HMAC over the time and both addresses (RFC 6347 section 4.2.1).

use std::net::{IpAddr, SocketAddr};

use ring::hmac;
use ring::rand::SystemRandom;

use crate::time::{Nanos, SECOND};

/// For so long a cookie is good at least, and twice as long at most.
const TICK: Nanos = 30 * SECOND;

const SIZE: usize = 20;

/// What a client is asked for.
pub type Cookie = [u8; SIZE];

/// Makes cookies until the process ends. The same for all workers.
#[derive(Debug)]
pub struct Cookies(hmac::Key);

impl Cookies {
    /// With a new key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> std::io::Result<Self> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map(Self)
            .map_err(|_| std::io::Error::other("the system gives no randomness"))
    }

    /// Those that are good now for a client of a listener, the newest first.
    #[must_use]
    pub fn of(&self, client: SocketAddr, local: (u64, Option<IpAddr>), now: Nanos) -> [Cookie; 2] {
        let tick = now / TICK;
        [tick, tick.wrapping_sub(1)].map(|tick| {
            let tag = hmac::sign(&self.0, format!("{tick} {client} {local:?}").as_bytes());
            let mut cookie = [0; SIZE];
            cookie.copy_from_slice(&tag.as_ref()[..SIZE]);
            cookie
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_of_its_addresses_and_its_time() {
        let cookies = Cookies::new().unwrap();
        let client = |text: &str| text.parse::<SocketAddr>().unwrap();
        let of = |address: &str, local, now| cookies.of(client(address), local, now);
        let here = (1, None);
        let [cookie, _] = of("192.0.2.1:1", here, 0);
        assert_eq!(of("192.0.2.1:1", here, TICK - 1)[0], cookie);
        assert_eq!(of("192.0.2.1:1", here, 2 * TICK - 1)[1], cookie);
        assert!(!of("192.0.2.1:1", here, 2 * TICK).contains(&cookie));
        let there = (1, Some("192.0.2.9".parse().unwrap()));
        for other in [
            of("192.0.2.1:2", here, 0),
            of("192.0.2.2:1", here, 0),
            of("192.0.2.1:1", (2, None), 0),
            of("192.0.2.1:1", there, 0),
            Cookies::new().unwrap().of(client("192.0.2.1:1"), here, 0),
        ] {
            assert!(!other.contains(&cookie));
        }
    }
}
