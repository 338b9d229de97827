"""Which server, by which transport: RFC 7064 and 7065 URIs, or what people type instead."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv6Address
from typing import NamedTuple

STUN_PORT = 3478
TLS_PORT = 5349


class Transport(StrEnum):
    """What a client talks to the server by; what is usual before what is rare."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    DTLS = "dtls"

    @property
    def is_stream(self) -> bool:
        """Whether messages arrive framed in a byte stream."""
        return self in {Transport.TCP, Transport.TLS}

    @property
    def is_secured(self) -> bool:
        """Whether the server shows a certificate."""
        return self in {Transport.DTLS, Transport.TLS}

    @property
    def carrier(self) -> str:
        """What carries it: `udp` or `tcp`, as URIs have it (RFC 7065 section 3.1)."""
        return "tcp" if self.is_stream else "udp"

    @property
    def default_port(self) -> int:
        """3478, with TLS and DTLS 5349."""
        return TLS_PORT if self.is_secured else STUN_PORT


class Server(NamedTuple):
    """One way to a server. `host` is a name or an IP address without brackets."""

    host: str
    port: int
    transport: Transport

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "turns" if self.transport.is_secured else "turn"
        return f"{scheme}:{host}:{self.port}?transport={self.transport.carrier}"


class Target(NamedTuple):
    """What was asked for: a host, and a port or a transport where one was named."""

    host: str
    port: int | None
    transport: Transport | None

    def by(self, transport: Transport, port: int | None = None) -> Server:
        """This host by a transport, at `port`, else the named port, else the usual one."""
        return Server(self.host, port or self.port or transport.default_port, transport)


def parse_target(text: str) -> Target:
    """Read a target: `host`, `host:port`, `[2001:db8::7]:3478`, `turns:host:443?transport=tcp`.

    Raises:
        ValueError: of none of these forms; the message says what is wrong.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in _SCHEMES:
        host, port = _host_and_port(text)
        return Target(host, port, None)
    secure = scheme.lower().endswith("s")
    address, question, query = rest.partition("?")
    transport = Transport.TLS if secure else None
    if question:
        transport = _transport(query, secure=secure)
    host, port = _host_and_port(address)
    return Target(host, port, transport)


def server_of(server: Server | str) -> Server:
    """A server from its URI; UDP unless it says otherwise.

    Raises:
        ValueError: no such form.
    """
    if isinstance(server, Server):
        return server
    target = parse_target(server)
    return target.by(target.transport or Transport.UDP)


_SCHEMES = ("turn", "turns", "stun", "stuns")


def _transport(query: str, *, secure: bool) -> Transport:
    key, _, carrier = query.partition("=")
    for transport in Transport:
        if (key, carrier, secure) == ("transport", transport.carrier, transport.is_secured):
            return transport
    raise ValueError(f"'?{query}' is unknown: ?transport=udp or ?transport=tcp")


def _host_and_port(text: str) -> tuple[str, int | None]:
    host, port = text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(
                f"'{text}' is no address: an IPv6 address with a port is [address]:port"
            )
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if ":" in host:
        host = str(_ipv6(host))
    if not host or any(c.isspace() or c in "/@?#" for c in host):
        raise ValueError(f"'{text}' is no host name or address")
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"'{port}' is no port: 1 to 65535")
    return host, int(port)


def _ipv6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError:
        raise ValueError(f"'{text}' is no IPv6 address") from None
