//! What goes along with a datagram in its IP header (RFC 8656 sections 13 to 15).
//!
//! Rules of the house
//!     1.  From UDP to UDP the DSCP and ECN bits are passed on as they came, and TTL or hop limit
//!         less one, across IP versions too: the RFC's preferred behaviour. With a TTL that has run
//!         out nothing is relayed. The ICMP error that a router sends then takes a right that turnd
//!         gives up at its start.
//!     2.  From TCP to UDP the DSCP is the connection's, there is no ECN, and TTL is the system's.
//!     3.  What turnd says itself has the system's values.

/// TTL or hop limit, DSCP and ECN of one datagram, or of all that were merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// TTL or hop limit; 0: the system's.
    pub hops: u8,
    /// Type of service or traffic class: six bits of DSCP, two of ECN.
    pub class: u8,
}

impl Fields {
    /// Those of what comes by a connection, from the type of service of its packets.
    #[must_use]
    pub fn of_stream(class: u8) -> Self {
        Self { hops: 0, class: class & !3 }
    }

    /// Those of what is sent on; `None`: it goes no further.
    #[must_use]
    pub fn sent_on(self) -> Option<Self> {
        match self.hops {
            0 => Some(self),
            1 => None,
            hops => Some(Self { hops: hops - 1, ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relay_is_a_hop() {
        let came = Fields { hops: 64, class: 0xB9 };
        assert_eq!(came.sent_on(), Some(Fields { hops: 63, class: 0xB9 }));
        assert_eq!(Fields { hops: 2, class: 0 }.sent_on(), Some(Fields { hops: 1, class: 0 }));
        assert_eq!(Fields { hops: 1, class: 0 }.sent_on(), None);
    }

    #[test]
    fn a_connection_has_a_class_and_no_congestion_mark() {
        let came = Fields::of_stream(0xBB);
        assert_eq!(came, Fields { hops: 0, class: 0xB8 });
        assert_eq!(came.sent_on(), Some(came));
    }
}
