"""The maps of the configuration, one class each. The only list of options beside `model`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from turnd.config.auth_section import AuthSection
from turnd.config.fields import (
    AlternateField,
    BitRate,
    BufferSize,
    Count,
    DnsName,
    EndpointField,
    FilePath,
    HostPortField,
    NetworkField,
    Origin,
    PeerRange,
    PortRangeField,
    RelayAddressField,
    Seconds,
    Section,
    StunAddressField,
    WholeSeconds,
    live,
    restart,
    section,
)
from turnd.config.relay_addresses import RelayAddress
from turnd.config.values import SPECIAL_PURPOSE, HostPort, PortRange

LONGEST_LIFETIME = 0xFFFF_FFFF  # LIFETIME is 32 bits (RFC 8656 section 18.2)
CHANNELS = 0x1000  # 0x4000 to 0x4FFF (RFC 8656 section 12)


class CertificatePair(Section):
    """A certificate and its private key."""

    certificate: FilePath = Field(description="PEM file: the certificate, then its intermediates.")
    key: FilePath = Field(description="PEM file: the private key.")


class RelaySection(Section):
    """Where relayed transport addresses are, and what allocations are granted."""

    addresses: tuple[RelayAddressField, ...] = live(
        (RelayAddress(auto=True),),
        "Addresses of this host to relay from: an address, auto (the ones that its routes prefer) "
        "or interface:eth0. Behind 1:1 NAT with what is announced instead: an address "
        "(10.0.0.5=203.0.113.7), what a name says (auto=dns:home.example.org), or as whom a STUN "
        "server sees us (auto=stun:stun.example.org:3478).",
        examples=[["10.0.0.5=203.0.113.7", "2001:db8::7"], ["auto=dns:home.example.org"]],
        min_length=1,
    )
    refresh_addresses: Seconds = live(
        60.0,
        "How often these are looked up again. What has changed holds for new allocations.",
        ge=1,
        le=86400,
    )
    ports: PortRangeField = restart(
        PortRange(49152, 65535),
        "UDP ports of relayed transport addresses, first to last; with tcp, TCP ports too.",
    )
    default_family: Literal["ipv4", "ipv6", "client"] = live(
        "ipv4",
        "Family of the relayed address for clients that name none, as browsers do: ipv4, as "
        "RFC 8656 has it; ipv6 for a server without IPv4; client: the family that the client came "
        "by, where there is such a relay address.",
    )
    port_rest: Seconds = restart(
        60.0,
        "How long a relay port rests when its allocation has ended. When none has rested, the "
        "one that rested longest is taken.",
        le=86400,
    )
    lifetime: WholeSeconds = live(
        600, "Lifetime of an allocation that asks for none.", ge=1, le=LONGEST_LIFETIME
    )
    max_lifetime: WholeSeconds = live(
        3600, "Lifetime that an allocation gets at most.", ge=1, le=LONGEST_LIFETIME
    )
    max_permissions: int = live(256, "Permissions of one allocation at most.", ge=1, le=65536)
    max_channels: int = live(256, "Channels of one allocation at most.", ge=1, le=CHANNELS)
    tcp: bool = live(
        False,
        "Whether clients may relay TCP (RFC 6062): new allocations, by TCP or TLS, that connect to "
        "peers and take connections of peers at ports of the same range.",
    )
    max_connections: int = live(
        64, "Connections with peers of one TCP allocation at most.", ge=1, le=65536
    )


class PeersSection(Section):
    """Where clients may relay to. The server's own listeners, Redis and admin never are."""

    deny: tuple[PeerRange, ...] = live(
        (SPECIAL_PURPOSE,),
        "Peers that are refused: addresses, networks, ranges (10.0.0.1-10.0.0.9), and "
        "special-purpose for every private, local, multicast or otherwise special address in "
        "every encoding.",
        examples=[[SPECIAL_PURPOSE, "198.51.100.0/24"]],
    )
    allow: tuple[PeerRange, ...] = live(
        (), "Peers that are allowed although they are denied above.", examples=[["10.1.0.0/16"]]
    )


class RealmLimits(Section):
    """How much one realm may hold at the same time. 0: no limit."""

    allocations: Count = live(0, "Allocations in all.")
    allocations_per_user: Count = live(0, "Allocations of one user.")
    allocations_per_client: Count = live(
        0, "Allocations of one client address; of IPv6, of one /64."
    )
    bandwidth_per_allocation: BitRate = live(
        0,
        "Bits of payload per second that one allocation relays in each direction, such as 5M. "
        "Packets beyond are dropped.",
    )
    bandwidth_per_user: BitRate = live(0, "The same for all allocations of one user.")


class LimitsSection(RealmLimits):
    """How much may be held or asked at the same time. 0: no limit."""

    bandwidth_total: BitRate = live(0, "The same for the whole server.")
    unauthenticated_per_second: Count = live(
        500,
        "UDP answers to requests without valid nonce (Binding, 401, errors) per second and IPv4 "
        "/24 or IPv6 /56, and DTLS handshakes, of which each takes two. Streams are not counted.",
    )
    connections_per_client: Count = live(
        2000,
        "TCP, TLS and DTLS connections of one client address; of IPv6, of one /64. A company may "
        "be one address.",
    )
    connections: Count = live(
        20000, "TCP, TLS and DTLS connections in all; as many may be with peers (relay.tcp)."
    )


class StreamsSection(Section):
    """Deadlines and queues of TCP, TLS and DTLS connections."""

    handshake_timeout: Seconds = live(
        10.0,
        "How long a TLS or DTLS handshake may take, and before it a PROXY header and the bytes "
        "that tell TLS from TCP.",
        gt=0,
        le=3600,
    )
    frame_timeout: Seconds = live(
        10.0, "How long a message may take from its first byte to its last.", gt=0, le=3600
    )
    authentication_timeout: Seconds = live(
        60.0,
        "How long a connection may stay without an authenticated request. An authenticated one "
        "may be idle for ever.",
        gt=0,
        le=86400,
    )
    idle_timeout: Seconds = live(
        60.0,
        "How long a DTLS client without an allocation may be silent; nothing else tells when it is "
        "gone.",
        gt=0,
        le=86400,
    )
    backlog: Annotated[int, Field(ge=4096, le=1 << 30)] = live(
        262144, "Bytes that wait for a slow client; beyond, its newest media is dropped."
    )


class PassthroughSection(Section):
    """Who serves the connections that are neither TURN nor for our names."""

    to: HostPortField = live(..., "Address of the web server.")
    proxy_protocol: bool = live(
        False, "Whether it is told the client's address by a PROXY header of version 2."
    )

    @model_validator(mode="before")
    @classmethod
    def _only_address(cls, value: Any) -> Any:
        return {"to": value} if isinstance(value, (str, HostPort)) else value


class ProxyProtocolSection(Section):
    """Proxies and load balancers in front."""

    trusted: tuple[NetworkField, ...] | None = live(
        None,
        "Networks of proxies. Their TCP and TLS connections have to begin with a PROXY header "
        "(version 1 or 2) that names the client, and so has each of their UDP datagrams (version "
        "2). Nobody else's header is believed. null: none.",
        examples=[["10.0.0.0/8", "192.0.2.7"]],
        min_length=1,
    )


class AdminSection(Section):
    """Metrics, health and control."""

    listen: HostPortField | None = restart(
        HostPort("127.0.0.1", 9641), "Address of /metrics, /healthz and /readyz. null: none."
    )
    socket: FilePath | None = restart(
        None, "UNIX socket for turnd reload, mode 600. null: admin.sock in the runtime directory."
    )


class MetricsSection(Section):
    """What /metrics shows."""

    users: bool = live(
        False, "Whether allocations are counted by user too: names become labels of a metric."
    )


class LogSection(Section):
    """What is written to standard output."""

    format: Literal["console", "json"] = live("console", "For people, or for machines.")
    level: Literal["debug", "info", "warning", "error"] = live("info", "What is worth a line.")
    addresses: bool = live(True, "Whether lines show the addresses of clients.")


class RedirectWhen(Section):
    """When new allocations are redirected, beside those that there is no room for."""

    allocations: Count = live(
        0, "From so many allocations on. 0: not by their number.", examples=[1000]
    )
    bandwidth: BitRate = live(
        0,
        "While more bits of payload per second are relayed, in both directions together, measured "
        "over 5 s. 0: not by that.",
        examples=["5G"],
    )
    draining: bool = live(True, "Whether also while the server ends; else they get error 508.")


class RedirectSection(Section):
    """Other servers for new clients (300, Try Alternate)."""

    to: tuple[AlternateField, ...] = live(
        (),
        "Servers with the same users that clients are sent to when this one is full, ends, or has "
        "as much to do as redirect.when says: addresses or names, by the client's address family, "
        "in turn, and to the port that it came to where none is named. In front of an address may "
        "stand the name in its certificate, for clients by TLS: turn2.example.org=203.0.113.8.",
        examples=[["203.0.113.8", "[2001:db8::8]:443", "turn3.example.org"]],
    )
    when: RedirectWhen = section(
        RedirectWhen, "When there is too much to do here; who cannot be sent elsewhere is served."
    )
    check_every: Seconds = live(
        10.0,
        "How often these are asked whether they live, with a Binding request; nobody is sent to "
        "those that do not. 0: never, and all of them are taken to live.",
        le=3600,
    )


class StunSection(Section):
    """What Binding requests are told beside their client's address."""

    rfc5780: tuple[StunAddressField, ...] = restart(
        (),
        "Two addresses of this host, of each family at most, by which clients find out how their "
        "NAT behaves (RFC 5780): at the port of a udp:// endpoint and at alternate_port, which are "
        "bound for it. 10.0.0.5=203.0.113.7: bound and announced address behind 1:1 NAT. Binding "
        "requests that come there are answered by Python.",
        examples=[["192.0.2.1", "192.0.2.2"]],
    )
    alternate_port: Annotated[int, Field(ge=1, le=65535)] = restart(
        3479, "The second port of rfc5780."
    )
    rfc3489: bool = restart(
        False, "Whether Binding requests without magic cookie (RFC 3489) are answered too, by UDP."
    )


class ShutdownSection(Section):
    """How the server ends on SIGTERM."""

    timeout: Seconds = live(
        5.0, "How long allocations may go on. A second SIGTERM ends them at once.", le=86400
    )


class SocketsSection(Section):
    """Kernel buffers of UDP sockets, in bytes. 0: the system's default."""

    receive_buffer: BufferSize = restart(4194304, "SO_RCVBUF; see net.core.rmem_max.")
    send_buffer: BufferSize = restart(4194304, "SO_SNDBUF; see net.core.wmem_max.")


class RealmSection(Section):
    """A further realm, for clients that come to its endpoints, or ask for it."""

    listen: tuple[EndpointField, ...] = restart((), "Endpoints that belong to this realm.")
    sni: tuple[DnsName, ...] = live(
        (),
        "Names by which clients ask for this realm at the server's tls:// and dtls:// endpoints; "
        "*.example.org stands for one label more.",
    )
    origins: tuple[Origin, ...] = live(
        (), "Web pages whose requests are for this realm (ORIGIN), such as https://b.example."
    )
    auth: AuthSection = section(AuthSection, "As auth above; at least one source of credentials.")
    peers: PeersSection | None = live(None, "As peers above. null: the server's.")
    limits: RealmLimits | None = live(
        None, "As limits above, counted for this realm. null: the server's figures."
    )
