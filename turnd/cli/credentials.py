"""`turnd credentials`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from turnd.auth.rest import rest_password
from turnd.cli.durations import parse_seconds
from turnd.cli.errors import broken_config
from turnd.cli.output import json_option
from turnd.cli.realms import find_realm, realm_option
from turnd.cli.secrets_at_hand import first_secret
from turnd.cli.settings import config_option, load_config
from turnd.runtime.first_run import turn_urls
from turnd.stun.addresses import WILDCARDS, AddressFamily, TransportAddress, family_of
from turnd.system import default_route_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turnd.config.model import Config, Realm
    from turnd.config.values import Endpoint

LONGEST = 10 * 365 * 86400
"""Seconds; a longer life is a slip."""


@dataclass(frozen=True, slots=True)
class RestCredentials:
    """Credentials of the TURN REST API and where to use them. `ttl` in seconds."""

    username: str
    password: str
    ttl: int
    uris: tuple[str, ...]


@click.command("credentials")
@click.option("--user", default="", help="Whose they are; only for quotas and logs.")
@click.option("--ttl", default="24h", show_default=True, help="How long: 3600, 30m, 12h, 7d.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["plain", "json", "ice", "curl", "gstreamer"]),
    default="plain",
    show_default=True,
    help="How to print them.",
)
@click.option("--host", help="The server's name or address in URIs. [default: from the config]")
@realm_option
@config_option
@json_option
def command(
    user: str,
    ttl: str,
    form: str,
    host: str | None,
    realm: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Make time-limited credentials from the first secret of the config (TURN REST).

    Without secrets in the config it is the one that the server made for itself.

    \b
    plain      username, password and URIs, a line each
    json       username, password, ttl and uris, as the TURN REST API has them
    ice        iceServers for new RTCPeerConnection(...)
    curl       fields for: turnd credentials --format curl | curl --config - URL
    gstreamer  URIs with credentials for turn-server and add-turn-server
    """  # noqa: D301 - click knows paragraphs to leave alone by the character itself
    loaded = load_config(config)
    chosen = find_realm(loaded, realm)
    seconds = parse_seconds(ttl, "--ttl", LONGEST)
    secret = first_secret(loaded, chosen)
    username = rest_username(user, int(time.time()) + seconds, chosen.auth.separator)
    made = RestCredentials(
        username=username,
        password=rest_password(secret, username),
        ttl=seconds,
        uris=tuple(urls_of(loaded, chosen, host)),
    )
    click.echo(FORMATS["json" if as_json else form](made))


def rest_username(user: str, expires_at: int, separator: str) -> str:
    """`expiry:user`, or the bare expiry."""
    return f"{expires_at}{separator}{user}" if user else str(expires_at)


def urls_of(config: Config, realm: Realm, host: str | None) -> list[str]:
    """URIs of a realm's endpoints at `host`, else at the addresses that clients can reach.

    Raises:
        CommandError: no address is known.
    """
    endpoints = realm.endpoints or config.all_realms()[0].endpoints
    names = [name for name in realm.sni if not name.startswith("*")]
    if names and not realm.origins and not realm.endpoints:
        # Only who asks for the name comes to the realm.
        endpoints = tuple(each for each in endpoints if each.needs_certificate)
        host = host or names[0]
    pairs = [
        (endpoint.transport, TransportAddress(address, endpoint.port))
        for endpoint in endpoints
        if (address := host or _reachable(config, endpoint))
    ]
    if not pairs:
        raise broken_config("turnd credentials: no address is known: give --host")
    return list(dict.fromkeys(turn_urls(pairs)))


def _reachable(config: Config, endpoint: Endpoint) -> str | None:
    """The endpoint's host; of a wildcard, the address that relays announce or routes prefer."""
    if endpoint.host not in WILDCARDS:
        return endpoint.host
    family = family_of(endpoint.host)
    for address in config.relay.addresses:
        if address.dns:
            return address.dns
        if address.announced and family_of(address.announced) == family:
            return address.announced
    routes = default_route_addresses()
    if routes.ipv4 is None and routes.ipv6 is None:
        return _LOOPBACK if family is AddressFamily.IPV4 else None
    return routes.ipv4 if family is AddressFamily.IPV4 else routes.ipv6


_LOOPBACK = "127.0.0.1"
"""Where a host without any route serves: itself."""


def _plain(made: RestCredentials) -> str:
    lines = [f"username: {made.username}", f"password: {made.password}"]
    return "\n".join([*lines, *(f"uri: {uri}" for uri in made.uris)])


def _json(made: RestCredentials) -> str:
    return _dump(
        {
            "username": made.username,
            "password": made.password,
            "ttl": made.ttl,
            "uris": list(made.uris),
        }
    )


def _ice(made: RestCredentials) -> str:
    server = {
        "urls": list(made.uris),
        "username": made.username,
        "credential": made.password,
    }
    return _dump({"iceServers": [server]})


def _curl(made: RestCredentials) -> str:
    """A config file of curl, so that the password is on no command line.

    curl knows JSON's escapes of quotes, backslashes and line ends, and none of other characters.
    """
    fields = [("username", made.username), ("password", made.password), ("ttl", str(made.ttl))]
    fields += [("uris", uri) for uri in made.uris]
    return "\n".join(f"data-urlencode = {_quoted(f'{key}={text}')}" for key, text in fields)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _gstreamer(made: RestCredentials) -> str:
    userinfo = f"{quote(made.username, safe='')}:{quote(made.password, safe='')}@"
    return "\n".join(
        f"{scheme}://{userinfo}{rest}"
        for scheme, _, rest in (uri.partition(":") for uri in made.uris)
    )


def _dump(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


FORMATS: Mapping[str, Callable[[RestCredentials], str]] = {
    "plain": _plain,
    "json": _json,
    "ice": _ice,
    "curl": _curl,
    "gstreamer": _gstreamer,
}
