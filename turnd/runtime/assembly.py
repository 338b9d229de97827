"""Builds the parts of the server from the configuration; `app` wires them and lets them run.

Lower layers get plain values: this is where the configuration's model ends.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from turnd.allocations.allocation import AllocationLimits
from turnd.allocations.connections import ConnectionLimits
from turnd.allocations.policy import PeerPolicy
from turnd.allocations.quotas import Quotas
from turnd.allocations.relay_ports import RelayPorts
from turnd.auth.redis_schema import RealmOptions
from turnd.engine.base import ListenerSettings, Transport
from turnd.engine.choose import EngineOptions
from turnd.listeners.certificates import Certificates
from turnd.listeners.gate import FrontRules
from turnd.listeners.passthrough import Backend
from turnd.stun.addresses import AddressFamily, TransportAddress
from turnd.stun.server_names import fitting_names
from turnd.system import host_addresses
from turnd.turn.bandwidth import BandwidthLimits
from turnd.turn.behavior_discovery import Host, Quartet
from turnd.turn.realm import Realm
from turnd.turn.redirect import When
from turnd.turn.relay_addresses import RelayAddress
from turnd.turn.settings import TurnSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from turnd import config as configuration
    from turnd.auth.chain import CredentialChain
    from turnd.config import Config, Endpoint
    from turnd.turn.relay_addresses import AddressPair

NO_OPTIONS = RealmOptions()
"""Where Redis says nothing."""
_DEFAULT_FAMILIES = {"ipv4": AddressFamily.IPV4, "ipv6": AddressFamily.IPV6, "client": None}


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """What is known of this server when judging peers."""

    endpoints: frozenset[TransportAddress]
    """Listeners, admin and Redis: never to be reached."""
    announced: Mapping[str, str]
    """Announced host → bound host of the relay addresses, loopback left out."""
    host: tuple[str, ...]
    """Every address of this host."""


def engine_options(config: Config, environ: Mapping[str, str]) -> EngineOptions:
    """Which engine, and for one with workers: how many, and where they stay.

    Raises:
        ValueError: a CPU is named that this process may not run on.
    """
    ours = sorted(os.sched_getaffinity(0))
    pinned = config.cpu_affinity
    cpus = tuple(ours if pinned is True else pinned or ())
    foreign = [str(cpu) for cpu in cpus if cpu not in ours]
    if foreign:
        raise ValueError(
            f"the process may not run on CPU {', '.join(foreign)}, only on "
            f"{', '.join(map(str, ours))}"
        )
    required = environ.get("TURND_REQUIRE_NATIVE", "0") not in {"", "0"}
    return EngineOptions(config.engine, config.workers or len(cpus or ours), cpus, required)


def turn_settings(config: Config) -> TurnSettings:
    """The core's numbers."""
    return TurnSettings(
        default_lifetime=config.relay.lifetime,
        max_lifetime=max(config.relay.lifetime, config.relay.max_lifetime),
        rfc3489=config.stun.rfc3489,
        default_family=_DEFAULT_FAMILIES[config.relay.default_family],
        mobility=config.mobility,
        tcp=config.relay.tcp,
        software=config.software or "turnd",
    )


def redirect_when(section: configuration.RedirectSection) -> When:
    """When clients are sent elsewhere that there would be room for."""
    when = section.when
    return When(when.allocations, when.bandwidth, when.draining)


def by_server_name(config: Config, realms: Mapping[str, Realm]) -> dict[str, Realm]:
    """Realms by the names that clients ask for by SNI."""
    return {name: realms[realm.name] for realm in config.all_realms() for name in realm.sni}


def by_origin(config: Config, realms: Mapping[str, Realm]) -> dict[str, Realm]:
    """Realms by the origins that requests name."""
    return {origin: realms[realm.name] for realm in config.all_realms() for origin in realm.origins}


def allocation_limits(config: Config) -> AllocationLimits:
    """Caps per allocation."""
    return AllocationLimits(
        max_permissions=config.relay.max_permissions, max_channels=config.relay.max_channels
    )


def connection_limits(config: Config) -> ConnectionLimits:
    """How many connections with peers there may be: of an allocation, and in all."""
    return ConnectionLimits(
        per_allocation=config.relay.max_connections, total=config.limits.connections
    )


def listener_settings(config: Config, certificates: Certificates | None = None) -> ListenerSettings:
    """What holds for an endpoint; with certificates for one that needs them."""
    return ListenerSettings(
        receive_buffer=config.sockets.receive_buffer,
        send_buffer=config.sockets.send_buffer,
        stream_backlog=config.streams.backlog,
        handshake_timeout=config.streams.handshake_timeout,
        frame_timeout=config.streams.frame_timeout,
        idle_timeout=config.streams.idle_timeout,
        tls=None if certificates is None else certificates.settings(),
        proxies=_proxies(config),
    )


def _proxies(config: Config) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, config.proxy_protocol.trusted or ()))


def front_rules(config: Config, certificates: Certificates | None) -> FrontRules:
    """Whom to believe who the client is, and what to give to a web server."""
    rules = FrontRules(
        patience=config.streams.handshake_timeout,
        proxies=_proxies(config),
    )
    behind = config.passthrough
    if behind is None or certificates is None:
        return rules
    backend = Backend(TransportAddress(behind.to.host, behind.to.port), behind.proxy_protocol)
    of_realms = {name for realm in config.all_realms() for name in realm.sni}

    def is_ours(server_name: str) -> bool:
        name = server_name.lower().rstrip(".")
        return not of_realms.isdisjoint(fitting_names(name)) or certificates.covers(name)

    return dataclasses.replace(rules, backend=backend, is_ours=is_ours)


def settings_by_socket(
    config: Config, certificates: Certificates | None
) -> Callable[[tuple[Endpoint, ...]], ListenerSettings]:
    """What holds for each socket, by the endpoints that it serves."""
    plain, tls = listener_settings(config), listener_settings(config, certificates)
    quartets = config.quartets()

    def settings_of(endpoints: tuple[Endpoint, ...]) -> ListenerSettings:
        transports = {endpoint.transport for endpoint in endpoints}
        discovers = any(each.is_served_by(one) for each in quartets for one in endpoints)
        return dataclasses.replace(
            tls if any(endpoint.needs_certificate for endpoint in endpoints) else plain,
            plain_udp="udp" in transports,
            dtls="dtls" in transports,
            answers_bindings=not discovers,
            classic_bindings=config.stun.rfc3489,
        )

    return settings_of


def quartets(config: Config) -> tuple[Quartet, ...]:
    """Where NAT behavior discovery is offered."""
    return tuple(
        Quartet(
            hosts=(Host(first.bound, first.announced), Host(second.bound, second.announced)),
            ports=each.ports,
            transports=frozenset(Transport(transport) for transport in each.transports),
        )
        for each in config.quartets()
        for first, second in [each.hosts]
    )


def certificates(config: Config) -> Certificates | None:
    """The TLS certificates, if any are configured.

    Raises:
        CertificateError: one cannot be served.
    """
    if not config.tls:
        return None
    return Certificates([(str(pair.certificate), str(pair.key)) for pair in config.tls])


def relay_addresses(
    config: Config, pairs: Iterable[AddressPair], random_below: Callable[[int], int]
) -> list[RelayAddress]:
    """The addresses to relay from, each with ports of its own."""
    ports, rest = config.relay.ports, config.relay.port_rest
    return [
        RelayAddress(bound, announced, RelayPorts(ports.low, ports.high, rest, random_below))
        for bound, announced in pairs
    ]


def own_addresses(relays: Mapping[str, str], endpoints: Iterable[TransportAddress]) -> OwnAddresses:
    """What policy and engine must know of this server; `relays`: announced → bound host."""
    return OwnAddresses(
        endpoints=frozenset(endpoints),
        announced={
            announced: bound
            for announced, bound in relays.items()
            if not ip_address(announced).is_loopback
        },
        host=tuple(host_addresses()),
    )


def peer_policy(peers: configuration.PeersSection, own: OwnAddresses) -> PeerPolicy:
    """Where the clients of a realm may relay to."""
    return PeerPolicy.build(peers.deny, peers.allow).with_own(
        own.endpoints, own.announced, own.host
    )


def realm_quotas(config: Config, realm: configuration.Realm) -> Quotas:
    """The limits of one realm; those of the whole server are the table's."""
    quotas = Quotas()
    set_realm_quotas(quotas, config, realm, NO_OPTIONS)
    return quotas


def set_realm_quotas(
    quotas: Quotas,
    config: Config,
    realm: configuration.Realm,
    options: RealmOptions,
) -> None:
    """Put limits into force for a realm whose allocations go on; those of Redis come first."""
    # The server's own total is counted over all realms, by the table.
    total = 0 if realm.limits is config.limits else realm.limits.allocations
    per_user = realm.limits.allocations_per_user
    quotas.total = total if options.total_quota is None else options.total_quota
    quotas.per_client = realm.limits.allocations_per_client
    quotas.per_user = per_user if options.user_quota is None else options.user_quota


def bandwidth_limits(realm: configuration.Realm) -> BandwidthLimits:
    """How fast the clients of a realm may relay."""
    return BandwidthLimits(realm.limits.bandwidth_per_allocation, realm.limits.bandwidth_per_user)


def build_realm(
    config: Config, realm: configuration.Realm, chain: CredentialChain, own: OwnAddresses
) -> Realm:
    """A realm of the core."""
    return Realm(
        name=realm.name,
        credentials=chain,
        policy=peer_policy(realm.peers, own),
        quotas=realm_quotas(config, realm),
        strict_expiry=realm.auth.strict_expiry,
    )
