//! Networks that an admin trusts.

use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first of them.
    pub base: IpAddr,
    /// How many bits they share.
    pub prefix: u8,
}

impl Network {
    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let foreign = base.to_bits() ^ ip.to_bits();
                foreign.leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let foreign = base.to_bits() ^ ip.to_bits();
                foreign.leading_zeros() >= self.prefix.into()
            }
            _ => false,
        }
    }
}

/// Several of them; IPv4 addresses may be shown as mapped.
#[derive(Clone, Debug, Default)]
pub struct Networks(Arc<[Network]>);

impl Networks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has an address.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(ip))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(base: &str, prefix: u8) -> Network {
        Network { base: base.parse().unwrap(), prefix }
    }

    #[test]
    fn addresses_share_the_prefix() {
        let all: Networks = [
            network("10.0.0.0", 8),
            network("192.0.2.7", 32),
            network("2001:db8::", 32),
            network("2001:db9::1", 128),
        ]
        .into_iter()
        .collect();
        for ip in ["10.255.0.1", "192.0.2.7", "2001:db8:ffff::", "2001:db9::1", "::ffff:10.0.0.1"] {
            assert!(all.contain(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["11.0.0.1", "192.0.2.6", "2001:db9::2", "::1", "::ffff:11.0.0.1", "::a00:1"] {
            assert!(!all.contain(ip.parse().unwrap()), "{ip}");
        }
        assert!(network("0.0.0.0", 0).contains("203.0.113.1".parse().unwrap()));
        assert!(!Networks::default().contain("10.0.0.1".parse().unwrap()));
        assert!(Networks::default().is_empty() && !all.is_empty());
    }
}
