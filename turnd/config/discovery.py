"""Which endpoints `stun.rfc5780` stands for, and what is wrong with it.

Two hosts of one address family make a quartet: each with the primary port, which is that of the
first `udp://` endpoint of `listen` on one of them or on all addresses, and with the alternate one.
Those of the four that `listen` has not are bound for it. TCP is offered likewise where `listen` has
`tcp://` at the primary port; TLS is not, since it would ask for ports of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.config.values import Endpoint, parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from turnd.config.problems import Path
    from turnd.config.sections import StunSection
    from turnd.config.values import EndpointTransport

_HOSTS: Path = ("stun", "rfc5780")
_PAIR = 2
_TRANSPORTS: tuple[EndpointTransport, ...] = ("udp", "tcp")


@dataclass(frozen=True, slots=True)
class StunAddress:
    """An address of this host, and what clients are told instead of it."""

    bound: str
    announced: str

    def __str__(self) -> str:
        return self.bound if self.bound == self.announced else f"{self.bound}={self.announced}"


@dataclass(frozen=True, slots=True)
class QuartetPlan:
    """Four endpoints that are to be had."""

    hosts: tuple[StunAddress, StunAddress]
    ports: tuple[int, int]
    """The primary and the alternate one."""
    transports: tuple[EndpointTransport, ...]

    def endpoints(self) -> Iterator[Endpoint]:
        """The four of each transport."""
        for transport in self.transports:
            for port in self.ports:
                for host in self.hosts:
                    yield Endpoint(transport, host.bound, port)

    def is_served_by(self, endpoint: Endpoint) -> bool:
        """Whether one of the four is this endpoint, or is among its addresses."""
        return any(_covers(endpoint, each) for each in self.endpoints())


def parse_stun_address(text: str) -> StunAddress:
    """`192.0.2.1`, or `10.0.0.5=203.0.113.7` (bound=announced).

    Raises:
        ValueError: no address, of two families, or one that nobody can be answered from.
    """
    bound_text, separator, announced_text = text.partition("=")
    bound = parse_host(bound_text.strip())
    announced = parse_host(announced_text.strip()) if separator else bound
    if bound.version != announced.version:
        raise ValueError(f"'{text}': bound and announced address are of two families")
    for address in (bound, announced):
        if address.is_unspecified:
            raise ValueError(f"'{address}' is every address, and two of this host are wanted")
        if address.is_multicast:
            raise ValueError(f"'{address}' is no address that a host can answer from")
    return StunAddress(str(bound), str(announced))


def plan(stun: StunSection, listen: Sequence[Endpoint]) -> tuple[QuartetPlan, ...]:
    """A quartet for each address family that has what it takes; `problems` says what is missing."""
    plans = []
    for hosts in _by_family(stun.rfc5780):
        primary = _primary_port(hosts, listen)
        if len(hosts) == _PAIR and primary is not None:
            transports = tuple(
                each for each in _TRANSPORTS if _is_listed(each, hosts, primary, listen)
            )
            plans.append(
                QuartetPlan((hosts[0], hosts[1]), (primary, stun.alternate_port), transports)
            )
    return tuple(plans)


def missing(plans: Iterable[QuartetPlan], listen: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of quartets that nothing of `listen` serves."""
    return tuple(
        endpoint
        for each in plans
        for endpoint in each.endpoints()
        if not any(_covers(listed, endpoint) for listed in listen)
    )


def problems(
    stun: StunSection, own: Sequence[Endpoint], others: Sequence[Endpoint]
) -> Iterator[tuple[Path, str]]:
    """What keeps a quartet from being served.

    Args:
        stun: the section.
        own: endpoints of the server's own realm.
        others: those of further realms.
    """
    if len({each.bound for each in stun.rfc5780}) < len(stun.rfc5780):
        yield _HOSTS, "an address stands here twice"
    for hosts in _by_family(stun.rfc5780):
        if len(hosts) != _PAIR:
            named = ", ".join(map(str, hosts))
            yield _HOSTS, f"two addresses of one family are wanted, not {len(hosts)} ({named})"
        elif _primary_port(hosts, own) is None:
            either = " or ".join(each.bound for each in hosts)
            message = f"no udp:// endpoint of listen is at {either} or at all addresses, and its "
            yield _HOSTS, message + "port would be the primary one"
    plans = plan(stun, own)
    for primary, alternate in (each.ports for each in plans):
        if primary == alternate:
            yield ("stun", "alternate_port"), f"{primary} is the primary port already"
    for endpoint in missing(plans, own):
        for listed in (*own, *others):
            if _overlaps(listed, endpoint):
                yield _HOSTS, f"{endpoint} is wanted for it, and {listed} has that port"


def _by_family(addresses: Sequence[StunAddress]) -> list[tuple[StunAddress, ...]]:
    ipv6 = tuple(each for each in addresses if ":" in each.bound)
    ipv4 = tuple(each for each in addresses if each not in ipv6)
    return [each for each in (ipv4, ipv6) if each]


def _primary_port(hosts: Sequence[StunAddress], listen: Sequence[Endpoint]) -> int | None:
    for endpoint in listen:
        wanted = (Endpoint("udp", host.bound, endpoint.port) for host in hosts)
        if endpoint.port and any(_covers(endpoint, each) for each in wanted):
            return endpoint.port
    return None


def _is_listed(
    transport: EndpointTransport,
    hosts: Sequence[StunAddress],
    port: int,
    listen: Sequence[Endpoint],
) -> bool:
    wanted = [Endpoint(transport, host.bound, port) for host in hosts]
    return any(_covers(endpoint, each) for endpoint in listen for each in wanted)


def _covers(endpoint: Endpoint, wanted: Endpoint) -> bool:
    """Whether an endpoint serves, perhaps among others, what another is to serve."""
    return endpoint.transport == wanted.transport and _overlaps(endpoint, wanted)


def _overlaps(endpoint: Endpoint, wanted: Endpoint) -> bool:
    """Whether an endpoint has the port that another is to have."""
    hosts = (wanted.host, "::" if ":" in wanted.host else "0.0.0.0")  # noqa: S104 - compared with
    return (
        endpoint.is_udp == wanted.is_udp and endpoint.port == wanted.port and endpoint.host in hosts
    )
