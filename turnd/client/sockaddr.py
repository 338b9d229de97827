"""Transport addresses of what sockets give."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from turnd.stun.addresses import TransportAddress


def shown_address(raw: tuple[Any, ...]) -> TransportAddress:
    """A socket's tuple (IPv6: with flow and scope behind), canonical and without zone."""
    return TransportAddress(str(ip_address(raw[0].partition("%")[0])), raw[1])
