"""The addresses of one network interface that a server may relay from."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import ifaddr

if TYPE_CHECKING:
    from collections.abc import Iterator

IF_INET6 = Path("/proc/net/if_inet6")

# if_addr.h: an address that may go any hour, is on its way out, is not to be used yet or never.
_TEMPORARY, _DADFAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
_UNFIT = _TEMPORARY | _DADFAILED | _DEPRECATED | _TENTATIVE


def interface_addresses(name: str, if_inet6: Path = IF_INET6) -> list[str]:
    """Addresses of an interface, canonical, in the kernel's order; none where there is no such.

    Left out: link-local ones, and of IPv6 those that are temporary (RFC 8981), deprecated or not
    yet known to be unique.
    """
    unfit = set(_unfit(if_inet6))
    found: dict[str, None] = {}
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            host = address.ip if isinstance(address.ip, str) else address.ip[0]
            ip = ip_address(host.partition("%")[0])
            if adapter.name == name and not ip.is_link_local and str(ip) not in unfit:
                found[str(ip)] = None
    return list(found)


def _unfit(if_inet6: Path) -> Iterator[str]:
    """proc_net(5): address, index, prefix length, scope, flags (all hexadecimal), interface."""
    try:
        lines = if_inet6.read_text().splitlines()
    except OSError:
        return  # no IPv6 on this host
    for line in lines:
        address, _index, _length, _scope, flags = line.split()[:5]
        if int(flags, 16) & _UNFIT:
            yield str(ip_address(bytes.fromhex(address)))
