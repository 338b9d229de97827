"""Addresses that are not for the public: IANA's special-purpose registries and their kin.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and updates), the
multicast ranges (RFC 5771, RFC 4291), and the encodings of IPv4 in IPv6. Entries that the
registries call globally reachable (anycast for AS112, AMT, TURN discovery, ...) are listed as well:
they name services near the server, never a peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd.stun.addresses import pack_host

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECIAL_PURPOSE_IPV4 = (
    "0.0.0.0/8",  # this network; 0.0.0.0 reaches the own host on Linux
    "10.0.0.0/8",  # private (RFC 1918)
    "100.64.0.0/10",  # shared, carrier-grade NAT (RFC 6598)
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local, clouds' metadata services
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # IETF protocol assignments
    "192.0.2.0/24",  # TEST-NET-1
    "192.31.196.0/24",  # AS112-v4
    "192.52.193.0/24",  # AMT
    "192.88.99.0/24",  # 6to4 relay anycast, deprecated
    "192.168.0.0/16",  # private
    "192.175.48.0/24",  # direct delegation AS112
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # TEST-NET-2
    "203.0.113.0/24",  # TEST-NET-3
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and limited broadcast
)

SPECIAL_PURPOSE_IPV6 = (
    # All outside 2000::/3. That is the one block given out for global unicast, so these three hold
    # ::1, ::, mapped ::ffff:0:0/96, compatible ::/96, SIIT ::ffff:0:0:0/96, NAT64 64:ff9b::/96 and
    # 64:ff9b:1::/48, discard-only 100::/64, dummy 100:0:0:1::/64, segment routing 5f00::/16,
    # unique-local fc00::/7, link-local fe80::/10, site-local fec0::/10, multicast ff00::/8, and
    # what is not assigned.
    "::/3",
    "4000::/2",
    "8000::/1",
    "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking, AMT, anycast, ...
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # direct delegation AS112
    "3fff::/20",  # documentation
)

_LOW_32 = 0xFFFFFFFF
_LOW_24 = 0xFFFFFF
_MAPPED = 0xFFFF  # ::ffff:0:0/96, the upper 96 bits
_SIIT = 0xFFFF0000  # ::ffff:0:0:0/96
_COMPATIBLE = 0  # ::/96
_NAT64 = 0x0064FF9B << 64  # 64:ff9b::/96
_IN_LAST_32_BITS = frozenset({_MAPPED, _SIIT, _COMPATIBLE, _NAT64})
_LOCAL_NAT64 = 0x0064FF9B0001  # 64:ff9b:1::/48
_TEREDO = 0x20010000  # 2001::/32
_6TO4 = 0x2002  # 2002::/16
_ISATAP = 0x00005EFE  # interface identifiers 0:5efe:a.b.c.d, and with the u and g bits
_ISATAP_MASK = 0xFCFFFFFF


def is_tunnelled(host: str) -> bool:
    """Whether an address is one of 6to4 or Teredo, whose packets anybody's relay may wrap anew.

    Such clients and peers are what tunnel amplification needs (RFC 8656 section 21.4).
    """
    if ":" not in host:
        return False
    address = int.from_bytes(pack_host(host), "big")
    return address >> 96 == _TEREDO or address >> 112 == _6TO4


def embedded_ipv4(address: int) -> Iterator[int]:
    """Every IPv4 address that an IPv6 address carries, in any encoding.

    Sources: RFC 4291 (compatible, mapped), RFC 2765 (SIIT), RFC 6052 and 8215 (NAT64), RFC 3056
    (6to4), RFC 4380 (Teredo: server and client), RFC 5214 (ISATAP).
    """
    upper_96 = address >> 32
    low_32 = address & _LOW_32
    if upper_96 in _IN_LAST_32_BITS and address > 1:  # :: and ::1 carry nothing
        yield low_32
    elif address >> 80 == _LOCAL_NAT64:
        # The operator may have chosen a shorter prefix. All these end in 24 zero bits or more,
        # as no host of a /96 does; what is within is not known then: 0.0.0.0, refused.
        yield low_32 if low_32 & _LOW_24 else 0
    elif upper_96 >> 64 == _TEREDO:
        yield upper_96 >> 32 & _LOW_32
        yield low_32 ^ _LOW_32
    elif address >> 112 == _6TO4:
        yield address >> 80 & _LOW_32
    if upper_96 & _LOW_32 & _ISATAP_MASK == _ISATAP:
        yield low_32
