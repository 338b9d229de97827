"""What goes along with a datagram in its IP header (RFC 8656 sections 13 to 15).

Rules of the house
    1.  From UDP to UDP the DSCP and ECN bits are passed on as they came, and TTL or hop limit less
        one, across IP versions too: the RFC's preferred behaviour. With a TTL that has run out
        nothing is relayed. The ICMP error that a router sends then takes a right that turnd gives
        up at its start.
    2.  From TCP to UDP the DSCP is the connection's, there is no ECN, and TTL is the system's.
    3.  What turnd says itself has the system's values.
"""

from __future__ import annotations

from typing import NamedTuple


class Fields(NamedTuple):
    """Of one datagram."""

    hops: int = 0
    """TTL or hop limit; 0: the system's."""
    traffic_class: int = 0
    """Type of service or traffic class: six bits of DSCP, two of ECN."""


SYSTEM = Fields()
"""What the system writes by itself."""


def sent_on(fields: Fields) -> Fields | None:
    """Those of what is sent on; None: it goes no further."""
    if fields.hops == 1:
        return None
    return fields._replace(hops=fields.hops - 1) if fields.hops else fields


def of_stream(traffic_class: int) -> Fields:
    """Those of what comes by a connection, from the traffic class of its packets."""
    return Fields(traffic_class=traffic_class & ~3)
