"""Transport addresses and the types that tell look-alikes apart (RFC 8656 section 2).

An address is kept as its canonical text: that is what sockets take and give, what logs show and
what compares fastest. Packing is cached, since the same few addresses come again and again.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, NewType

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound
"""The unspecified hosts: as endpoints every address of this host, as destinations this host."""


class AddressFamily(IntEnum):
    """The family byte of every address attribute (RFC 8489 section 14.1)."""

    IPV4 = 1
    IPV6 = 2


class TransportAddress(NamedTuple):
    """An IP address in canonical text and a port."""

    host: str
    port: int

    @property
    def family(self) -> AddressFamily:
        """Which IP version the host is of."""
        return family_of(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


ClientAddress = NewType("ClientAddress", TransportAddress)
"""Where a client's packets come from, seen from the server: its server-reflexive address."""

ServerAddress = NewType("ServerAddress", TransportAddress)
"""The address of ours that a client sent to."""

PeerAddress = NewType("PeerAddress", TransportAddress)
"""A peer, as its packets reach or leave a relayed transport address."""

RelayedAddress = NewType("RelayedAddress", TransportAddress)
"""A relayed transport address as clients and peers know it, that is: announced, not bound."""

ChannelNumber = NewType("ChannelNumber", int)
"""0x4000 to 0x4FFF (RFC 8656 section 12)."""


def family_of(host: str) -> AddressFamily:
    """The family of a host in canonical text."""
    return AddressFamily.IPV6 if ":" in host else AddressFamily.IPV4


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a host in canonical text is this machine by definition (127.0.0.0/8, ::1)."""
    return ip_address(host.partition("%")[0]).is_loopback


@lru_cache(maxsize=4096)
def pack_host(host: str) -> bytes:
    """4 or 16 bytes of a host in canonical text; a zone (`%eth0`) is left out.

    Raises:
        ValueError: the text is no IP address.
    """
    return ip_address(host.partition("%")[0]).packed


def client_key(host: str) -> bytes:
    """What the clients of one host are counted by: its IPv4 address, or the /64 of its IPv6 one.

    A host has all addresses of its /64 for itself (RFC 4862), and could be another client by each.
    """
    return pack_host(host)[:8]


@lru_cache(maxsize=4096)
def unpack_host(packed: bytes) -> str:
    """Canonical text of 4 or 16 bytes.

    Raises:
        ValueError: another length.
    """
    if len(packed) == 4:
        return str(IPv4Address(packed))
    return str(IPv6Address(packed))
