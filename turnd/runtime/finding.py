"""One look at every entry of `relay.addresses`: at this host, and at who knows it from outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from turnd import system
from turnd.client.client import TurnClient
from turnd.client.connection import ConnectOptions
from turnd.client.errors import ClientError
from turnd.client.session import ClientOptions
from turnd.client.transactions import Timing
from turnd.client.uri import Server as StunServer
from turnd.client.uri import Transport
from turnd.interfaces import interface_addresses
from turnd.runtime.names import UnknownNameError
from turnd.stun.addresses import AddressFamily, family_of
from turnd.turn.address_book import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from turnd.config import HostPort, RelayAddress
    from turnd.runtime.names import Names

LOOPBACK = "127.0.0.1"
STUN_TIMING = Timing(rto=0.4, max_requests=3, last_wait=2)
"""Two seconds are enough: the next look comes soon."""
_NO_ROUTE = "this host has no route"
_NO_INTERFACE = "no such interface, or it has no address"
_NOT_HERE = (
    "no interface of this host has it, so no allocation can relay from it; behind NAT name both in "
    "relay.addresses: bound=announced"
)


async def find(entries: Iterable[RelayAddress], names: Names) -> list[Finding]:
    """Look at every entry, at all at the same time; never raises for what was not found.

    Raises:
        OSError: nobody can look: descriptors or memory have run out.
    """
    return list(await asyncio.gather(*(_find(entry, names) for entry in entries)))


async def _find(entry: RelayAddress, names: Names) -> Finding:
    bound, problem = _bound(entry)
    if not bound and str(entry) == "auto":  # of use to nobody but this host's own programs
        return Finding(str(entry), (LOOPBACK,), problem=problem, is_makeshift=True)
    if not bound:
        return Finding(str(entry), (), problem=problem)
    if entry.dns:
        return await _by_name(entry, _one_a_family(bound), names)
    if entry.stun is not None:
        return await _by_stun(entry, entry.stun, bound, names)
    if entry.announced in {"", entry.bound}:
        return Finding(str(entry), bound)
    family = family_of(entry.announced)
    here = tuple(host for host in _one_a_family(bound) if family_of(host) is family)
    problem = "" if here else f"this host has no address of its family there ({', '.join(bound)})"
    return Finding(str(entry), here, dict.fromkeys(here, entry.announced), problem=problem)


def _bound(entry: RelayAddress) -> tuple[tuple[str, ...], str]:
    if entry.interface:
        return tuple(interface_addresses(entry.interface)), _NO_INTERFACE
    if not entry.auto:
        return ((entry.bound,) if system.is_address_here(entry.bound) else ()), _NOT_HERE
    routes = system.default_route_addresses()
    found = tuple(host for host in (routes.ipv4, routes.ipv6) if host is not None)
    return found, _NO_ROUTE


def _one_a_family(hosts: Sequence[str]) -> tuple[str, ...]:
    """What a name says of a host could not be told apart for two of its addresses."""
    first: dict[AddressFamily, str] = {}
    for host in hosts:
        first.setdefault(family_of(host), host)
    return tuple(first.values())


async def _by_name(entry: RelayAddress, bound: tuple[str, ...], names: Names) -> Finding:
    try:
        found = await names.look_up(entry.dns)
    except UnknownNameError as error:
        return Finding(str(entry), bound, said_untrusted={}, problem=str(error))
    said = {host: [f for f in found if family_of(f) is family_of(host)] for host in bound}
    return Finding(str(entry), bound, said_untrusted=said)


async def _by_stun(
    entry: RelayAddress, server: HostPort, bound: tuple[str, ...], names: Names
) -> Finding:
    try:
        servers = await names.look_up(server.host)
    except UnknownNameError as error:
        return Finding(str(entry), bound, said_untrusted={}, problem=str(error))
    by_family = {family_of(host): host for host in reversed(servers)}
    asked = {host: by_family[family] for host in bound if (family := family_of(host)) in by_family}
    if not asked:
        problem = f"{server.host} has no address of a family that this host has"
        return Finding(str(entry), bound, said_untrusted={}, problem=problem)
    answers = await asyncio.gather(
        *(_mapped(host, server.port, local) for local, host in asked.items())
    )
    said: dict[str, list[str]] = {}
    problems: list[str] = []
    for local, answer in zip(asked, answers, strict=True):
        if isinstance(answer, ClientError):
            problems.append(f"{server} asked from {local}: {answer}")
        else:
            said[local] = [answer]
    return Finding(str(entry), bound, said_untrusted=said, problem="; ".join(problems))


async def _mapped(host: str, port: int, local: str) -> str | ClientError:
    """As whom a STUN server sees us.

    The socket is connected, so that nobody else's answer gets in, and the client believes no answer
    but to its own transaction.
    """
    options = ClientOptions(connect=ConnectOptions(local_host=local), timing=STUN_TIMING)
    try:
        async with TurnClient(StunServer(host, port, Transport.UDP), options=options) as client:
            return (await client.binding()).host
    except ClientError as error:
        return error
