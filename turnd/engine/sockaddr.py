"""Between an address as text and the tuple that sockets take and give.

An IPv4 socket's tuple is (host, port), which compares equal to our `TransportAddress`; an IPv6
socket's is (host, port, flow, scope), whose scope we write as a zone: `fe80::1%2` (RFC 4007
section 11). Tables that packets meet are keyed by the socket's tuple as it is.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any

from turnd.stun.addresses import TransportAddress, unpack_host

SockAddr = tuple[Any, ...]
"""What `recvfrom` gives for an AF_INET or AF_INET6 socket."""


def raw_address(address: TransportAddress) -> SockAddr:
    """The socket's tuple of an address.

    Raises:
        OSError: the host is no IP address, or its zone names no interface.
    """
    return address if ":" not in address.host else _raw_ipv6(address.host, address.port)


@lru_cache(maxsize=4096)
def _raw_ipv6(host: str, port: int) -> SockAddr:
    host, _, zone = host.partition("%")
    # Once there and back, since the system writes some addresses otherwise than RFC 5952 does:
    # the last 32 bits of ::/96 as IPv4.
    host = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    scope = 0 if not zone else int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return (host, port, 0, scope)


@lru_cache(maxsize=4096)
def shown_address(raw: SockAddr) -> TransportAddress:
    """The address of a socket's tuple."""
    host: str = raw[0]
    if len(raw) == 4:
        if "." in host:
            host = unpack_host(socket.inet_pton(socket.AF_INET6, host))
        if raw[3]:
            host = f"{host}%{raw[3]}"
    return TransportAddress(host, raw[1])
