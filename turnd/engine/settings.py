"""What the engine is told of its listeners, of TLS and of how strangers are answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"
"""What TLS 1.2 and DTLS 1.2 may agree on, in OpenSSL's words: forward secrecy and AEAD alone."""

ALPN = ("stun.turn", "stun.nat-discovery")
"""RFC 7443."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate that a client can ask for by name (SNI, RFC 6066 section 3)."""

    names: tuple[str, ...]
    """DNS names, lower case; `*.example.org` stands for one label more. A name that an identity
    has itself goes before such a pattern of another."""
    certificate: bytes
    """The chain in PEM, the server's own first."""
    key: bytes = field(repr=False)
    """The private key in PEM, not encrypted."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What TLS and DTLS are served with, twice: an engine takes what it understands."""

    context: ssl.SSLContext
    """For engines that use OpenSSL; chooses among the identities itself."""
    identities: tuple[TlsIdentity, ...]
    """For DTLS, and for engines that bring a TLS of their own; the first is for clients that name
    none."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What holds for one endpoint and the connections that came in by it."""

    receive_buffer: int = 4 << 20
    """SO_RCVBUF of the listener's and its relays' UDP sockets, in bytes; 0: the system's."""
    send_buffer: int = 4 << 20
    stream_backlog: int = 256 << 10
    """Bytes that wait for a slow stream client at most; beyond, its newest media is dropped."""
    handshake_timeout: float = 10.0
    frame_timeout: float = 10.0
    """Seconds from a frame's first byte to its last."""
    tls: TlsSettings | None = None
    """Needed to adopt TLS streams and to serve DTLS."""
    answers_bindings: bool = True
    """Whether the engine may answer plain Binding requests itself; else they are handed up, since
    there is more to say than it knows, unless they are over the budget. Holds for UDP from `listen`
    on."""
    classic_bindings: bool = False
    """Whether Binding requests by UDP without magic cookie (RFC 3489) are handed up; else they are
    `Drop.NOT_STUN`. Holds from `listen` on."""
    idle_timeout: float = 60.0
    """Seconds after which a DTLS session without a relay ends when nothing has come by it."""
    plain_udp: bool = True
    """Whether a UDP endpoint serves what comes without DTLS. Fixed from `listen` on."""
    dtls: bool = False
    """Whether it serves DTLS, told apart by the first byte (RFC 7983). Fixed from `listen` on."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks whose datagrams begin with a PROXY header of version 2, all of them. Its client is
    the leg's, and the sender is `Leg.via`. Streams have theirs taken off before they are adopted.
    """


@dataclass(frozen=True, slots=True)
class NonceKeys:
    """What it takes to know a nonce of ours; `turnd/auth/nonce.py` says how one is made."""

    tick: float
    """Seconds: a nonce of monotonic time t is of tick int(t / tick), and 32 ticks are an epoch."""
    mac_length: int
    """Characters of a nonce's HMAC."""
    keys: Mapping[int, bytes] = field(repr=False)
    """Of the HMAC, by epoch."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What every 401 of a first request says, whoever it is for (RFC 8489 section 9.2.4)."""

    realm: bytes
    """The value of REALM."""
    cookie: bytes
    """The 13 characters that a nonce begins with."""
    flags: int
    """What is offered, as a nonce's HMAC covers it."""
    password_algorithms: bytes
    """The value of PASSWORD-ALGORITHMS; empty: there is none."""
    unless_named: bool = False
    """Whether requests are handed up all the same that may be another realm's: with ORIGIN or
    MOBILITY-TICKET, by TLS or DTLS, or from a leg with a relay."""
    third_party_authorization: bytes = b""
    """The value of THIRD-PARTY-AUTHORIZATION (RFC 7635 section 6.1); empty: there is none. By UDP
    it is left out where the answer would be over twice the request at the IP level with it."""
