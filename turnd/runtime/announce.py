"""What a server says when it has started: in one log line, and to a person in some more."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from turnd import logs
from turnd.runtime import credentials
from turnd.runtime.first_run import ice_servers, rtc_configuration_text, turn_urls
from turnd.runtime.snapshot import VERSION
from turnd.stun.addresses import TransportAddress, family_of

if TYPE_CHECKING:
    from turnd.runtime.server import Server

log = logs.get_logger("turnd.runtime.announce")


def announce(server: Server, user: str) -> None:
    """Tell which engine runs and why, where, and how to use it."""
    log.info(
        "started",
        version=VERSION,
        engine=server.engine.name,
        reason=server.engine_reason,
        **server.engine.details,
        config=str(server.config_path or "built-in defaults"),
        listen=[f"{each.transport}://{address}" for each, address in server.endpoints.bound()],
        relay=[f"{pair} ports {server.config.relay.ports}" for pair in server.relays.pairs],
        user=user,
    )
    for note in server.engine.notes:
        log.warning("engine_note", note=note)
    automatic = any(str(each) == "auto" for each in server.config.relay.addresses)
    if automatic and all(ip_address(each.announced).is_loopback for each in server.relays):
        log.warning("relays_on_loopback_only", reason="this host has no route: set relay.addresses")
    if credentials.needs_own_secret(server.config.auth):
        secret = server.the_own_secret()
        log.info("own_secret_in_use", file=str(server.secret_file), try_it="turnd credentials")
        if server.config.log.format == "console":
            server.log_pipe.write_text(_how_to_use(server, secret))


def _how_to_use(server: Server, secret: str) -> str:
    own = server.config.own_listen()
    urls = turn_urls(
        (endpoint.transport, reachable)
        for endpoint, address in server.endpoints.bound()
        if endpoint in own
        for reachable in _reachable(server, address)
    )
    configuration = ice_servers(secret, urls, separator=server.config.auth.separator)
    return (
        "\nNo users, secrets or Redis are configured, so turnd made a secret of its own.\n"
        "Good for the next 24 hours (later: turnd credentials):\n\n"
        f"{rtc_configuration_text(configuration)}\n\n"
    )


def _reachable(server: Server, address: TransportAddress) -> list[TransportAddress]:
    """Where clients find an endpoint: a wildcard is at every announced address of its family."""
    if not ip_address(address.host).is_unspecified:
        return [address]
    return [
        TransportAddress(each.announced, address.port)
        for each in server.relays
        if family_of(each.announced) is address.family
    ]
