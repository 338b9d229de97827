"""The values that a configuration's texts stand for: endpoints, ports, durations.

Each type has one parser from the text that an admin writes, and `str` gives that text back. A
parser raises `ValueError`; its message is made to stand behind `file:line:column: path: `.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, cast

EndpointTransport = Literal["udp", "dtls", "tcp", "tls", "auto"]

DEFAULT_PORTS = {"udp": 3478, "dtls": 5349, "tcp": 3478, "tls": 5349, "auto": 443}
"""RFC 8656 section 5: TURN runs on the ports of STUN (RFC 8489 section 18.6). All on one port is
for networks that let out nothing but HTTPS."""

_AUTO: tuple[EndpointTransport, ...] = ("udp", "dtls", "tcp", "tls")

SPECIAL_PURPOSE = "special-purpose"
"""The entry of `peers.deny` that stands for the IANA special-purpose registries."""

FASTEST = 10**12
"""Bits per second."""

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_BIT_RATE_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
_BIT_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(k|M|G)(?:bit)?")
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<v4>[^:\[\]]*))(?::(?P<port>[^:]*))?")
_LONGEST_NUMBER = 15  # digits; more is a slip, and int() of thousands of digits is slow


@dataclass(frozen=True, slots=True)
class HostPort:
    """An IP address in canonical text and a port (0: the system picks one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients come to: `udp://[::]:3478`."""

    transport: EndpointTransport
    host: str
    port: int

    @property
    def parts(self) -> tuple[Endpoint, ...]:
        """The endpoints that it stands for: `auto` for one of each transport, at one port."""
        if self.transport != "auto":
            return (self,)
        return tuple(Endpoint(transport, self.host, self.port) for transport in _AUTO)

    @property
    def is_udp(self) -> bool:
        """Whether a UDP socket serves it; else a listening TCP socket does."""
        return self.transport in {"udp", "dtls"}

    @property
    def needs_certificate(self) -> bool:
        """Whether clients are shown a certificate."""
        return self.transport in {"dtls", "tls"}

    def __str__(self) -> str:
        return f"{self.transport}://{HostPort(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `low` to `high`, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


def parse_host_port(text: str, default_port: int | None = None) -> HostPort:
    """`127.0.0.1:9641`, `[::1]:9641`; without port where a default is given.

    Raises:
        ValueError: not of this form.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no address with a port: an IPv6 address stands in brackets")
    v6, port = match["v6"], match["port"]
    address = parse_host(match["v4"] if v6 is None else v6)
    if (address.version == 6) != (v6 is not None):
        raise ValueError(f"'{text}': brackets are for IPv6 addresses, and only for them")
    if port is None:
        if default_port is None:
            raise ValueError(f"'{text}' has no port: {HostPort(str(address), 9641)} has one")
        return HostPort(str(address), default_port)
    return HostPort(str(address), parse_port(port, lowest=0))


def parse_endpoint(text: str) -> Endpoint:
    """`udp://0.0.0.0:3478`; the port may be left out (3478, with TLS 5349, auto 443).

    Raises:
        ValueError: another scheme, or no address behind it.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"'{text}' is no endpoint: write udp://0.0.0.0:3478 or tls://[::]:5349")
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"'{scheme}' is no transport: udp, dtls, tcp, tls and auto are")
    address = parse_host_port(rest, DEFAULT_PORTS[scheme])
    return Endpoint(cast("EndpointTransport", scheme), address.host, address.port)


def parse_port_range(value: str | int) -> PortRange:
    """`49152-65535`, or a single port.

    Raises:
        ValueError: no ports, or the first is above the last.
    """
    low_text, separator, high_text = str(value).partition("-")
    low = parse_port(low_text.strip(), lowest=1)
    high = parse_port(high_text.strip(), lowest=1) if separator else low
    if low > high:
        raise ValueError(f"'{value}': the first port is above the last")
    return PortRange(low, high)


def parse_duration(value: str | float) -> float:
    """Seconds from a number, or from `30s`, `10m`, `1h`, `1d`, `300ms`, `1h30m`.

    Raises:
        ValueError: not of this form, negative or not finite.
    """
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise ValueError(f"'{value}' is no duration: seconds as a number, or 30s, 10m, 1h, 1d")
        parts = _DURATION_PART.findall(value)
        return float(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} is no duration: it is not negative and has an end")
    return float(value)


def parse_bit_rate(value: str | int) -> int:
    """Bits per second from a number, or from `64k`, `5M`, `1.5G`, with or without `bit` behind.

    Raises:
        ValueError: not of this form, negative or beyond all lines.
    """
    if isinstance(value, str):
        match = _BIT_RATE.fullmatch(value)
        if match is None:
            raise ValueError(f"'{value}' is no bit rate: bits per second as a number, or 64k, 5M")
        rate = round(float(match[1]) * _BIT_RATE_UNITS[match[2]])
    else:
        rate = value
    if not 0 <= rate <= FASTEST:
        raise ValueError(f"{value} is no bit rate: 0 (no limit) to 1000G")
    return rate


def parse_peer_range(text: str) -> str:
    """An entry of `peers.deny` or `peers.allow` in canonical text.

    `special-purpose`, an address, a network (`10.0.0.0/8`) or a range (`10.0.0.1-10.0.0.9`).

    Raises:
        ValueError: none of these.
    """
    if text == SPECIAL_PURPOSE:
        return text
    if "/" in text:
        return _parse_network(text)
    first_text, separator, last_text = text.partition("-")
    try:
        first = parse_host(first_text.strip())
        last = parse_host(last_text.strip()) if separator else first
    except ValueError:
        raise ValueError(
            f"'{text}' is neither {SPECIAL_PURPOSE} nor an address, a network (10.0.0.0/8) or a "
            "range (10.0.0.1-10.0.0.9)"
        ) from None
    if not separator:
        return str(first)
    if first.version != last.version:
        raise ValueError(f"'{text}': a range has both ends in one address family")
    if int(first) > int(last):
        raise ValueError(f"'{text}': the first address is above the last")
    return f"{first}-{last}"


def parse_network(text: str) -> str:
    """A network, or a single address, in canonical text: `10.0.0.0/8`, `192.0.2.1/32`.

    Raises:
        ValueError: neither, or a network of everybody.
    """
    network = _parse_network(text if "/" in text else str(ip_network(parse_host(text))))
    if network.endswith("/0"):
        raise ValueError(f"'{text}' is everybody: whoever is trusted can pose as any client")
    return network


def _parse_network(text: str) -> str:
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"'{text}' is no network: write 10.0.0.0/8 or 2001:db8::/32") from None
    address, _, length = text.partition("/")
    if ip_address(address) != loose.network_address:
        raise ValueError(
            f"'{text}' has bits set behind its prefix; did you mean {loose} or {address}?"
        )
    if not length.isdecimal():
        raise ValueError(f"'{text}': the prefix is a number of bits; did you mean {loose}?")
    return str(loose)


def parse_host(text: str) -> IPv4Address | IPv6Address:
    """An IP address without zone.

    Raises:
        ValueError: none.
    """
    try:
        address = ip_address(text)
    except ValueError:
        if text == "*":
            raise ValueError("'*' is no IP address: 0.0.0.0 is every IPv4 one, [::] IPv6") from None
        hint = " (names are not looked up)" if re.search("[g-z]", text, re.IGNORECASE) else ""
        raise ValueError(f"'{text}' is no IP address{hint}") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError(f"'{text}': addresses with a zone are not supported")
    return address


def parse_port(text: str, lowest: int) -> int:
    """A port from `lowest` (0: the system may choose) to 65535.

    Raises:
        ValueError: none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise ValueError(f"'{text}' is no port: {lowest} to 65535")
    port = int(text)
    if not lowest <= port <= 65535:
        raise ValueError(f"{port} is no port: {lowest} to 65535")
    return port
