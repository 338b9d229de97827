"""The PROXY header that a proxy's connection begins with, of either version.

https://github.com/haproxy/haproxy/blob/master/doc/proxy-protocol.txt; version 2, which datagrams
have as well, is read in `turnd/engine/proxy_v2.py`, and its rules hold here too.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from turnd.engine.proxy_v2 import (
    FIXED_PART,
    SIGNATURE,
    Protocol,
    ProxiedAddresses,
    canonical_host,
    header_length,
    read_header,
)
from turnd.listeners.incomplete import Incomplete
from turnd.stun.addresses import TransportAddress
from turnd.stun.errors import DecodeError

LONGEST_LINE = 107
"""Bytes of a header of version 1 with its end (section 2.1)."""

_LINE_BEGIN = b"PROXY "
_SHORTEST_LINE = 15
_HIGHEST_PORT = 65_535
_FAMILIES: dict[str, type[IPv4Address | IPv6Address]] = {
    "TCP4": IPv4Address, "TCP6": IPv6Address,
}  # fmt: skip


class ProxyHeader(NamedTuple):
    """What stood in front."""

    length: int
    """Bytes of the header; the client's own begin behind."""
    addresses: ProxiedAddresses | None
    """None: the proxy speaks for itself, as health checks do."""


def read_proxy_header(data_untrusted: bytes) -> ProxyHeader | Incomplete:
    """Read the header that a connection has to begin with.

    Raises:
        DecodeError: it begins with something else.
    """
    if _may_begin(data_untrusted, SIGNATURE):
        return _version_2(data_untrusted)
    if _may_begin(data_untrusted, _LINE_BEGIN):
        return _version_1(data_untrusted)
    raise DecodeError("no PROXY header")


def _may_begin(data: bytes, mark: bytes) -> bool:
    return data.startswith(mark) or mark.startswith(data)


def _version_2(data_untrusted: bytes) -> ProxyHeader | Incomplete:
    if len(data_untrusted) < FIXED_PART:
        return Incomplete(FIXED_PART)
    length = header_length(data_untrusted)
    if len(data_untrusted) < length:
        return Incomplete(length)
    return ProxyHeader(length, read_header(data_untrusted[:length], Protocol.STREAM))


def _version_1(data_untrusted: bytes) -> ProxyHeader | Incomplete:
    end = data_untrusted.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data_untrusted) >= LONGEST_LINE:
            raise DecodeError("a PROXY line without end")
        return Incomplete(max(_SHORTEST_LINE, len(data_untrusted) + 1))
    try:
        _, family, *fields = data_untrusted[:end].decode("ascii").split(" ")
    except ValueError as error:
        raise DecodeError("a PROXY line that is no ASCII") from error
    if family == "UNKNOWN":
        return ProxyHeader(end + 2, None)
    if family not in _FAMILIES or len(fields) != 4:
        raise DecodeError("a PROXY line of another form")
    client, local = (_host(family, text) for text in fields[:2])
    client_port, local_port = map(_port, fields[2:])
    addresses = ProxiedAddresses(
        TransportAddress(client, client_port), TransportAddress(local, local_port)
    )
    return ProxyHeader(end + 2, addresses)


def _host(family: str, text: str) -> str:
    try:
        address = _FAMILIES[family](text)
    except ValueError as error:
        raise DecodeError("a PROXY line without addresses of its family") from error
    if "%" in text:
        raise DecodeError("an address with a zone")
    return canonical_host(address)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5) or text != str(int(text)):
        raise DecodeError("a PROXY line without ports")
    if int(text) > _HIGHEST_PORT:
        raise DecodeError("a port that is none")
    return int(text)
