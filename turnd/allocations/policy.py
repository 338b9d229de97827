"""Where clients may relay to: one function that every path asks (`PeerPolicy.verdict`).

The first rule that speaks decides
    1.  Protected endpoints (the server's listeners, Redis, admin): refused, whatever is allowed.
        An endpoint on a wildcard host stands for its port on every address of this host.
    2.  The server's own announced relay addresses, unless loopback: allowed, since two clients of
        one server must reach each other. The engine checks each packet's port against what is
        relayed at that moment.
    3.  `allow`, then `deny`, then: allowed.
    4.  0.0.0.0 and :: are no peers: the system takes them for the address that it sends from.
    5.  What rules 2 and 3 let pass must pass for every IPv4 address embedded in it, too. There an
        own address and, for a permission, a protected endpoint's is refused: nobody checks the
        port of what comes back through a translator.

Addresses are integers here, ranges are merged and searched by bisection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from turnd.allocations.address_ranges import SPECIAL_PURPOSE, AddressRanges
from turnd.allocations.special_purpose import embedded_ipv4
from turnd.stun.addresses import WILDCARDS, TransportAddress, pack_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LOOPBACK = ("127.0.0.0/8", "::1")
_IPV4_LENGTH = 4


class Refusal(StrEnum):
    """Why a peer may not be reached; all are answered with 403."""

    SPECIAL_PURPOSE = "special_purpose"
    DENIED = "denied"
    PROTECTED = "protected"


_NOWHERE = AddressRanges()
_ALL_SPECIAL = AddressRanges.parse([SPECIAL_PURPOSE])


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """Which peers may be reached. Immutable: a reload builds another."""

    denied: AddressRanges = _NOWHERE
    denies_special: bool = True
    allowed: AddressRanges = _NOWHERE
    own: AddressRanges = _NOWHERE
    """Announced relay addresses, loopback left out."""
    this_host: AddressRanges = _NOWHERE
    """Where the endpoints on a wildcard host are."""
    wildcard_ports: frozenset[int] = frozenset()
    endpoints: frozenset[tuple[int, int, int]] = frozenset()
    """Version, address and port of protected endpoints."""

    @classmethod
    def build(
        cls, deny: Iterable[str] = (SPECIAL_PURPOSE,), allow: Iterable[str] = ()
    ) -> PeerPolicy:
        """A policy of what an admin wrote.

        Args:
            deny: `special-purpose`, networks (`10.0.0.0/8`), single addresses, `from-to` ranges.
            allow: the same; beats `deny`.

        Raises:
            ValueError: an entry is none of these; the message says which and why.
        """
        entries = list(deny)
        return cls(
            denied=AddressRanges.parse(each for each in entries if each != SPECIAL_PURPOSE),
            denies_special=SPECIAL_PURPOSE in entries,
            allowed=AddressRanges.parse(allow),
        )

    def with_own(
        self,
        endpoints: Iterable[TransportAddress],
        own_addresses: Mapping[str, str],
        host_addresses: Iterable[str],
    ) -> PeerPolicy:
        """The same policy, knowing this server; replaces what it knew of it.

        Args:
            endpoints: listeners, Redis, admin; a host may be a wildcard.
            own_addresses: announced host → bound host of every relay address. An endpoint on a
                bound host is refused at the announced one, too.
            host_addresses: every address of this host.

        Raises:
            ValueError: a host is no IP address.
        """
        announced = list(own_addresses)
        local = [_without_zone(each) for each in host_addresses]
        exact: set[tuple[int, int, int]] = set()
        wildcard_ports: set[int] = set()
        for host, port in endpoints:
            address = ip_address(_without_zone(host))
            if address.is_unspecified:
                wildcard_ports.add(port)
            elif address.is_loopback:
                exact |= {(4, 0, port), (6, 0, port)}  # 0.0.0.0 and :: lead to loopback as well
            names = [each for each, bound in own_addresses.items() if ip_address(bound) == address]
            exact |= {
                (each.version, int(each), port) for each in (address, *map(ip_address, names))
            }
        return replace(
            self,
            own=AddressRanges.parse(each for each in announced if not ip_address(each).is_loopback),
            this_host=AddressRanges.parse([*_LOOPBACK, *WILDCARDS, *local, *announced]),
            wildcard_ports=frozenset(wildcard_ports),
            endpoints=frozenset(exact),
        )

    def verdict(self, host: str, port: int | None) -> Refusal | None:
        """Whether a peer may be reached; None when it may.

        Args:
            host: an IP address.
            port: None for a permission, which is for all ports of a host. Protected endpoints are
                then left to the check of each packet.

        Raises:
            ValueError: the host is no IP address.
        """
        packed = pack_host(host)
        address = int.from_bytes(packed)
        version = 4 if len(packed) == _IPV4_LENGTH else 6
        refusal = self._judge(version, address, port)
        if refusal is not None:
            return refusal
        if not address:
            return Refusal.PROTECTED
        for ipv4 in embedded_ipv4(address) if version == 6 else ():
            if self.own.contain(4, ipv4) or (port is None and self._has_endpoint(ipv4)):
                return Refusal.PROTECTED
            refusal = self._judge(4, ipv4, port)
            if refusal is not None:
                return refusal
        return None

    def _has_endpoint(self, ipv4: int) -> bool:
        """Whether a protected endpoint is at an IPv4 address, at whatever port."""
        if self.wildcard_ports and self.this_host.contain(4, ipv4):
            return True
        return any(each[:2] == (4, ipv4) for each in self.endpoints)

    def _judge(self, version: int, address: int, port: int | None) -> Refusal | None:
        if (version, address, port) in self.endpoints or (
            port in self.wildcard_ports and self.this_host.contain(version, address)
        ):
            return Refusal.PROTECTED
        if self.own.contain(version, address) or self.allowed.contain(version, address):
            return None
        if self.denied.contain(version, address):
            return Refusal.DENIED
        if self.denies_special and _ALL_SPECIAL.contain(version, address):
            return Refusal.SPECIAL_PURPOSE
        return None


def _without_zone(host: str) -> str:
    return host.partition("%")[0]
