"""What no key shows by itself: keys that contradict each other.

A check is left out when a key it depends on is broken already: one mistake, one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnd.config.problems import Path, format_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from turnd.config.model import Config
    from turnd.config.values import Endpoint

Finding = tuple[Path, str]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule over several keys."""

    depends: tuple[Path, ...]
    find: Callable[[Config], Iterable[Finding]]


def _listed(config: Config) -> Iterator[tuple[Path, Endpoint]]:
    for index, endpoint in enumerate(config.listen):
        yield ("listen", index), endpoint
    for name, realm in config.realms.items():
        for index, endpoint in enumerate(realm.listen):
            yield ("realms", name, "listen", index), endpoint


def _certificates(config: Config) -> Iterator[Finding]:
    if config.tls:
        return
    for path, endpoint in _listed(config):
        if endpoint.needs_certificate:
            yield path, f"{endpoint} needs a certificate: tls: {{certificate: …, key: …}}"


def _endpoints(config: Config) -> Iterator[Finding]:
    """One endpoint, one realm. TLS runs over TCP, so that they cannot share a port.

    Plain UDP and DTLS can (RFC 7983), in one realm. A realm may take an endpoint that stands at the
    top: it belongs to the realm then.
    """
    places: dict[tuple[bool, str, int], dict[Endpoint, Path]] = {}
    for path, endpoint in _listed(config):
        if not endpoint.port:
            continue
        here = places.setdefault((endpoint.is_udp, endpoint.host, endpoint.port), {})
        taken = here.get(endpoint)
        if taken is None or (taken[0] == "listen" and path[0] == "realms"):
            here[endpoint] = path
        else:
            yield path, f"{endpoint} stands at {format_path(taken)} already"
    for (is_udp, _, _), here in places.items():
        yield from _neighbours(is_udp, list(here.items()))


def _neighbours(is_udp: bool, here: list[tuple[Endpoint, Path]]) -> Iterator[Finding]:
    """Different endpoints at one port."""
    first, place = here[0]
    for endpoint, path in here[1:]:
        both = f"{endpoint} and {first} ({format_path(place)}) share a"
        if not is_udp:
            yield path, f"{both} TCP port"
        elif path[:-1] != place[:-1]:
            yield path, f"{both} UDP port, and one realm has both: list them together"


def _admin(config: Config) -> Iterator[Finding]:
    admin = config.admin.listen
    if admin is None or not admin.port:
        return
    for path, endpoint in _listed(config):
        if not endpoint.is_udp and (endpoint.host, endpoint.port) == (
            admin.host,
            admin.port,
        ):
            yield ("admin", "listen"), f"{admin} is where clients come to ({format_path(path)})"


def _relay_addresses(config: Config) -> Iterator[Finding]:
    """Nothing is bound twice, and nothing announced twice; `auto` may differ by family."""
    addresses = config.relay.addresses
    bound: set[str] = set()
    announced: set[str] = set()
    for index, address in enumerate(addresses):
        path = ("relay", "addresses", index)
        where = address.where
        if address.auto and address.announced:
            where = f"auto for IPv{6 if ':' in address.announced else 4}"
        if str(address) == "auto" and len(addresses) > 1:
            yield path, "auto stands alone: it chooses the addresses itself"
        elif where in bound:
            yield path, f"{where} is bound by an entry above already"
        elif address.announced in announced:
            yield path, f"{address.announced} is announced by an entry above already"
        bound.add(where)
        announced |= {address.announced} - {""}


def _lifetimes(config: Config) -> Iterator[Finding]:
    relay = config.relay
    if relay.lifetime > relay.max_lifetime:
        key = "lifetime" if "lifetime" in relay.model_fields_set else "max_lifetime"
        message = f"lifetime ({relay.lifetime}) is above max_lifetime ({relay.max_lifetime})"
        yield ("relay", key), message


def _realms(config: Config) -> Iterator[Finding]:
    for name, realm in config.realms.items():
        if name == config.realm:
            yield ("realms", name), "is the name of the server's own realm"
        auth = realm.auth
        if not (auth.users or auth.secrets or auth.redis):
            message = "nobody could use this realm: users, secrets or redis are wanted"
            yield ("realms", name), message


CHECKS = (
    Check((("tls",),), _certificates),
    Check((), _endpoints),
    Check((("admin",),), _admin),
    Check((), _relay_addresses),
    Check((("relay", "lifetime"), ("relay", "max_lifetime")), _lifetimes),
    Check((("realm",), ("realms",)), _realms),
)
