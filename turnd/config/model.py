"""The configuration: `Config`, its defaults, and what follows from them.

The model is the only list of options: `config.yaml`, the JSON Schema, the reference, the variables
of the environment and what a reload can change are all made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from turnd.config import fields
from turnd.config.auth_section import AuthSection
from turnd.config.discovery import QuartetPlan, missing, plan
from turnd.config.fields import (
    EndpointField,
    FilePath,
    Section,
    Software,
    SystemName,
    live,
    restart,
    section,
)
from turnd.config.sections import (
    AdminSection,
    CertificatePair,
    LimitsSection,
    LogSection,
    MetricsSection,
    PassthroughSection,
    PeersSection,
    ProxyProtocolSection,
    RealmLimits,
    RealmSection,
    RedirectSection,
    RelaySection,
    ShutdownSection,
    SocketsSection,
    StreamsSection,
    StunSection,
)
from turnd.config.values import Endpoint

DEFAULT_LISTEN = (
    Endpoint("udp", "0.0.0.0", 3478),  # noqa: S104 - a TURN server serves everybody
    Endpoint("udp", "::", 3478),
    Endpoint("tcp", "0.0.0.0", 3478),  # noqa: S104 - as above
    Endpoint("tcp", "::", 3478),
)


@dataclass(frozen=True, slots=True)
class Realm:
    """What holds for the clients of one realm, with what it takes over from the server."""

    name: str
    endpoints: tuple[Endpoint, ...]
    auth: AuthSection
    peers: PeersSection
    limits: RealmLimits
    sni: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


def _as_pairs(value: Any) -> Any:
    """One pair may stand without a list; null is no pair."""
    if value is None:
        return ()
    return (value,) if isinstance(value, (dict, CertificatePair)) else value


def _parts(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple(part for endpoint in endpoints for part in endpoint.parts)


class Config(Section):
    """The whole configuration. Instances do not change."""

    realm: fields.Realm = restart(
        "turnd",
        "Realm of the credentials, as clients are told; a domain name by custom. With up to 16 "
        "bytes the first answer to a client, whose address may be forged, is at most twice its "
        "request, with 32 it is 2.3 times as long, with 64 2.9 times.",
    )
    software: Software | None = restart(
        None,
        "SOFTWARE in authenticated answers. null: turnd, without a version.",
        examples=["turnd 1.0"],
    )
    listen: tuple[EndpointField, ...] = restart(
        DEFAULT_LISTEN,
        "Where clients come to: udp://, dtls://, tcp:// or tls:// and an address, 0.0.0.0 or [::] "
        "for all. Without port: 3478, with dtls and tls 5349. udp:// and dtls:// may share a port, "
        "tcp:// and tls:// too; auto:// is all of them at one port, 443.",
        examples=[["udp://0.0.0.0:3478", "auto://0.0.0.0:443"]],
        min_length=1,
    )
    tls: Annotated[tuple[CertificatePair, ...], BeforeValidator(_as_pairs)] = live(
        (),
        "Certificate and key for tls://, dtls:// and auto:// endpoints, or a list of such pairs, "
        "chosen by SNI; read again when they change.",
        examples=[{"certificate": "fullchain.pem", "key": "privkey.pem"}],
    )
    relay: RelaySection = section(RelaySection, "Relayed transport addresses.")
    auth: AuthSection = section(
        AuthSection,
        "Who may use the server: users, then secrets, then Redis, or by tokens. With none of them "
        "the server makes a secret of its own, in its state directory.",
    )
    peers: PeersSection = section(
        PeersSection,
        "Where clients may relay to. The server's own listeners, Redis and admin are never "
        "reached, whatever stands here.",
    )
    mobility: bool = live(
        False,
        "Whether an allocation may follow its client to another address or transport (RFC 8016).",
    )
    stun: StunSection = section(StunSection, "Binding requests beyond the plain ones.")
    limits: LimitsSection = section(LimitsSection, "How much at the same time. 0: no limit.")
    redirect: RedirectSection = section(
        RedirectSection, "Other servers for new clients, when this one is full, busy or ends."
    )
    passthrough: PassthroughSection | None = live(
        None,
        "Web server behind tls:// and auto:// endpoints: an address, or a map of to (the address) "
        "and proxy_protocol (whether it gets PROXY headers of version 2). It is given every TLS "
        "client that offers ALPN without stun.turn, or that names a host which no certificate of "
        "tls is for, and what is neither TLS nor STUN. null: none.",
        examples=["127.0.0.1:8443", {"to": "127.0.0.1:8443", "proxy_protocol": True}],
    )
    proxy_protocol: ProxyProtocolSection = section(
        ProxyProtocolSection, "Proxies and load balancers in front of this server."
    )
    streams: StreamsSection = section(StreamsSection, "TCP, TLS and DTLS connections.")
    admin: AdminSection = section(AdminSection, "Metrics, health and control.")
    metrics: MetricsSection = section(MetricsSection, "What /metrics shows.")
    log: LogSection = section(LogSection, "What is written to standard output.")
    engine: Literal["auto", "native", "portable"] = restart(
        "auto", "What moves packets. auto: native where it is installed, else portable."
    )
    workers: Annotated[int, Field(ge=0, le=1024)] = restart(
        0,
        "Threads of the native engine. 0: one per CPU that the process may run on, or that "
        "cpu_affinity names.",
    )
    cpu_affinity: fields.CpuAffinity = restart(
        False,
        "Whether each of these threads stays on one CPU, or which CPUs they stay on, in turn.",
        examples=[[0, 2]],
    )
    user: SystemName = restart(
        "turnd", "Whom the server becomes when started as root; nobody if turnd does not exist."
    )
    state_directory: FilePath | None = restart(
        None, "Where the server's own secret is kept. null: what systemd gives, or the usual place."
    )
    shutdown: ShutdownSection = section(ShutdownSection, "How the server ends on SIGTERM.")
    sockets: SocketsSection = section(
        SocketsSection, "Kernel buffers of UDP sockets, in bytes. 0: the system's default."
    )
    realms: Annotated[Mapping[fields.Realm, RealmSection], fields.SPELT_ONCE] = restart(
        {},
        "Further realms by name, for clients that come to endpoints of their own (listen), or to "
        "those above asking for a name by TLS or DTLS (sni) or from web pages (origins); and auth, "
        "if wanted peers and limits, as above.",
        examples=[{"b.example": {"origins": ["https://b.example"], "auth": {"secrets": ["x"]}}}],
    )

    def all_realms(self) -> tuple[Realm, ...]:
        """The server's own realm first, then the further ones, each with its endpoints.

        An endpoint that stands under a realm belongs to it, also when it stands at the top too.
        Those that `stun.rfc5780` asks for beside `listen` are the server's own.
        """
        own = (*self.own_listen(), *missing(self.quartets(), self.own_listen()))
        first = Realm(self.realm, own, self.auth, self.peers, self.limits)
        further = (
            Realm(
                name,
                _parts(realm.listen),
                realm.auth,
                self.peers if realm.peers is None else realm.peers,
                self.limits if realm.limits is None else realm.limits,
                realm.sni,
                realm.origins,
            )
            for name, realm in self.realms.items()
        )
        return (first, *further)

    def quartets(self) -> tuple[QuartetPlan, ...]:
        """The endpoints of `stun.rfc5780`, by address family."""
        return plan(self.stun, self.own_listen())

    def own_listen(self) -> tuple[Endpoint, ...]:
        """The server's own endpoints as far as `listen` has them."""
        taken = {endpoint for realm in self.realms.values() for endpoint in realm.listen}
        return _parts(endpoint for endpoint in self.listen if endpoint not in taken)
