"""What no key shows by itself: keys that contradict each other.

A check is left out when a key it depends on is broken already: one mistake, one line.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import TYPE_CHECKING

from turnd.config.discovery import problems
from turnd.config.problems import Path, format_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from turnd.config.auth_section import AuthSection
    from turnd.config.model import Config
    from turnd.config.values import Endpoint

Finding = tuple[Path, str]

_KEY_SIZES = {"A128GCM": 16, "A256GCM": 32}


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
        if any(part.needs_certificate for part in endpoint.parts):
            yield path, f"{endpoint} needs a certificate: tls: {{certificate: …, key: …}}"


def _endpoints(config: Config) -> Iterator[Finding]:
    """One endpoint, one realm. What first bytes tell apart can share a port, in one realm.

    That is plain UDP and DTLS (RFC 7983), and plain TCP and TLS. A realm may take an endpoint that
    stands at the top: it belongs to the realm then.
    """
    listed: dict[Endpoint, Path] = {}
    for path, endpoint in _listed(config):
        if not endpoint.port:
            if len(endpoint.parts) > 1:
                yield path, f"{endpoint} is one port for all: it has to be named"
            continue
        taken = listed.get(endpoint)
        if taken is None or (taken[0] == "listen" and path[0] == "realms"):
            listed[endpoint] = path
        else:
            yield path, f"{endpoint} stands at {format_path(taken)} already"
    places: dict[tuple[bool, str, int], list[Endpoint]] = {}
    for endpoint in listed:
        for is_udp in dict.fromkeys(part.is_udp for part in endpoint.parts):
            places.setdefault((is_udp, endpoint.host, endpoint.port), []).append(endpoint)
    for (is_udp, _, _), here in places.items():
        protocol = "UDP" if is_udp else "TCP"
        for number, endpoint in enumerate(here):
            found = (_clash(protocol, listed, before, endpoint) for before in here[:number])
            yield from islice(filter(None, found), 1)


def _clash(
    protocol: str, listed: Mapping[Endpoint, Path], one: Endpoint, other: Endpoint
) -> Finding | None:
    """What is wrong with two endpoints at one port."""
    there, here = listed[one], listed[other]
    both = f"{other} and {one} ({format_path(there)}) share a {protocol} port"
    if not set(one.parts).isdisjoint(other.parts):
        return here, f"{both}: auto:// is both"
    if here[:-1] != there[:-1]:
        return here, f"{both}, and one realm has both: list them together"
    return None


def _admin(config: Config) -> Iterator[Finding]:
    admin = config.admin.listen
    if admin is None or not admin.port:
        return
    for path, endpoint in _listed(config):
        streams = any(not part.is_udp for part in endpoint.parts)
        if streams and (endpoint.host, endpoint.port) == (admin.host, admin.port):
            yield ("admin", "listen"), f"{admin} is where clients come to ({format_path(path)})"


def _passthrough(config: Config) -> Iterator[Finding]:
    if config.passthrough is None:
        return
    path: Path = ("passthrough",)
    to = config.passthrough.to
    address = ip_address(to.host)
    if not to.port:
        yield path, f"{to} has no port that anybody could connect to"
    # The system takes these for addresses of its own, and so they might lead back to us unseen.
    if address.is_unspecified:
        yield path, f"{to.host} is no web server's address: name it, as 127.0.0.1 or ::1"
    elif isinstance(address, IPv6Address) and address.ipv4_mapped:
        yield path, f"{to.host} is another way to say {address.ipv4_mapped}: write that"
    streams = [part for _, each in _listed(config) for part in each.parts if not part.is_udp]
    if all(each.transport == "tcp" for each in streams):
        yield path, "nobody could come there: listen names neither a tls:// nor an auto:// endpoint"
    if any((each.host, each.port) == (to.host, to.port) for each in streams):
        yield path, f"{to} is this server itself: its connections would go round for ever"
    if config.admin.listen == to:
        yield path, f"{to} is admin.listen, which is not for everybody"


def _tcp(config: Config) -> Iterator[Finding]:
    parts = (part for _, each in _listed(config) for part in each.parts)
    if config.relay.tcp and all(part.is_udp for part in parts):
        why = "that takes TCP or TLS, and listen names no tcp://, tls:// or auto:// endpoint"
        yield ("relay", "tcp"), f"nobody could ask for it: {why}"


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
    taken: dict[str, Path] = {}
    asked = any(each.needs_certificate for each in config.own_listen())
    for name, realm in config.realms.items():
        if not (realm.listen or realm.sni or realm.origins):
            message = "nobody would come to this realm: listen, sni or origins are wanted"
            yield ("realms", name), message
        if realm.sni and not asked:
            message = "nobody can ask for a name: listen has no endpoint of TLS or DTLS"
            yield ("realms", name, "sni"), message
        for key, texts in (("sni", realm.sni), ("origins", realm.origins)):
            for index, text in enumerate(texts):
                path = ("realms", name, key, index)
                first = taken.setdefault(text, path)
                if first != path:
                    yield path, f"{text} stands at {format_path(first)} already"
        if name == config.realm:
            yield ("realms", name), "is the name of the server's own realm"
        auth = realm.auth
        if "nonce_lifetime" in auth.model_fields_set:
            message = "is one for all realms: it stands in auth at the top"
            yield ("realms", name, "auth", "nonce_lifetime"), message
        if not (auth.users or auth.secrets or auth.redis or auth.oauth.is_used):
            message = "nobody could use this realm: users, secrets, redis or oauth are wanted"
            yield ("realms", name), message


def _discovery(config: Config) -> Iterator[Finding]:
    further = [endpoint for realm in config.all_realms()[1:] for endpoint in realm.endpoints]
    yield from problems(config.stun, config.own_listen(), further)


def _auths(config: Config) -> Iterator[tuple[Path, AuthSection]]:
    yield ("auth",), config.auth
    for name, realm in config.realms.items():
        yield ("realms", name, "auth"), realm.auth


def _token_keys(config: Config) -> Iterator[Finding]:
    """What is long enough depends on the algorithm; a lifetime counts from something."""
    for path, auth in _auths(config):
        where = (*path, "oauth")
        if auth.oauth.server_name and not (auth.oauth.keys or auth.redis):
            message = "no token could be opened: keys are wanted, here or in redis"
            yield (*where, "server_name"), message
        for kid, key in auth.oauth.keys.items():
            size, wanted = len(b64decode(key.key.get_secret_value())), _KEY_SIZES[key.algorithm]
            if size < wanted:
                message = f"{key.algorithm} takes {wanted} bytes, in base64, and these are {size}"
                yield (*where, "keys", kid, "key"), message
            if key.lifetime and not key.timestamp:
                message = "counts from timestamp, which is wanted as well"
                yield (*where, "keys", kid, "lifetime"), message


CHECKS = (
    Check((("tls",),), _certificates),
    Check((), _endpoints),
    Check((("admin",),), _admin),
    Check((("admin",), ("listen",), ("passthrough",)), _passthrough),
    Check((("relay", "tcp"), ("listen",), ("realms",)), _tcp),
    Check((), _relay_addresses),
    Check((("relay", "lifetime"), ("relay", "max_lifetime")), _lifetimes),
    Check((("realm",), ("realms",)), _realms),
    Check((("stun",), ("listen",)), _discovery),
    Check((("auth",), ("realms",)), _token_keys),
)
