"""An entry of `relay.addresses`: where to relay from, and what to announce instead.

    entry      = where | where "=" announced | stun | dns
    where      = "auto" | "interface:" NAME | ADDRESS
    announced  = ADDRESS | dns | stun
    dns        = "dns:" NAME
    stun       = "stun:" HOST [ ":" PORT ]

`dns` and `stun` alone stand for `auto=dns:…` and `auto=stun:…`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from turnd.config.names import parse_name, parse_name_port
from turnd.config.values import HostPort, parse_host

STUN_PORT = 3478
"""RFC 8489 section 18.6."""

_INTERFACE = re.compile(r"[!-.0-<>-~]{1,15}")  # IFNAMSIZ without its end; "/" is never in one


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Addresses of this host to relay from, and what clients and peers are told instead.

    Where: one of `auto` (the addresses that the host's routes prefer), `interface`, `bound`.
    Announced: `dns`, `stun`, or `announced`, which is empty where the bound address is told.
    """

    auto: bool = False
    bound: str = ""
    announced: str = ""
    interface: str = ""
    dns: str = ""
    stun: HostPort | None = None

    @property
    def where(self) -> str:
        """What is bound, as written."""
        if self.auto:
            return "auto"
        return f"interface:{self.interface}" if self.interface else self.bound

    def __str__(self) -> str:
        announced = self.announced
        if self.dns:
            announced = f"dns:{self.dns}"
        elif self.stun is not None:
            port = "" if self.stun.port == STUN_PORT else f":{self.stun.port}"
            host = f"[{self.stun.host}]" if ":" in self.stun.host else self.stun.host
            announced = f"stun:{host}{port}"
        return self.where if announced in {"", self.bound} else f"{self.where}={announced}"


def parse_relay_address(text: str) -> RelayAddress:
    """An entry, see the module's grammar.

    Raises:
        ValueError: not of that form, of two families, or one that nobody can be relayed from.
    """
    where, separator, announced = (part.strip() for part in text.partition("="))
    if not separator and where.startswith(("dns:", "stun:")):
        return _announcing(text, RelayAddress(auto=True), where)
    if where == "auto":
        entry = RelayAddress(auto=True)
    elif where.startswith("interface:"):
        entry = RelayAddress(interface=_parse_interface(where.removeprefix("interface:")))
    else:
        bound = str(_parse_relay_host(where))
        entry = RelayAddress(bound=bound, announced=bound)
    return _announcing(text, entry, announced) if separator else entry


def _announcing(text: str, entry: RelayAddress, announced: str) -> RelayAddress:
    kind, separator, rest = announced.partition(":")
    where = (entry.auto, entry.bound)
    if separator and kind == "dns":
        return RelayAddress(*where, interface=entry.interface, dns=parse_name(rest))
    if separator and kind == "stun":
        server = parse_name_port(rest, STUN_PORT)
        return RelayAddress(*where, interface=entry.interface, stun=server)
    host = _parse_relay_host(announced)
    if entry.bound and (":" in entry.bound) != (host.version == 6):
        raise ValueError(f"'{text}': bound and announced address are of two families")
    return RelayAddress(*where, str(host), entry.interface)


def _parse_interface(name: str) -> str:
    if not _INTERFACE.fullmatch(name) or name in {".", ".."}:
        raise ValueError(f"'{name}' is no interface's name; ip address shows those of this host")
    return name


def _parse_relay_host(text: str) -> IPv4Address | IPv6Address:
    if text.startswith("["):
        raise ValueError(f"'{text}': an address without port stands without brackets")
    try:
        address = parse_host(text)
    except ValueError as error:
        if not re.search("[g-z]", text, re.IGNORECASE):
            raise
        hint = "auto, interface:NAME, stun:HOST and dns:NAME are other ways to say it"
        raise ValueError(f"{error}; {hint}") from None
    if address.is_unspecified:
        raise ValueError(f"'{text}' is every address, and one is wanted; did you mean auto?")
    if address.is_multicast or (isinstance(address, IPv6Address) and address.ipv4_mapped):
        raise ValueError(f"'{text}' is no address that a host can relay from")
    return address
