"""What a server says when it has started: in one log line, and to a person in some more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnd import logs
from turnd.runtime import assembly
from turnd.runtime.first_run import ice_servers, rtc_configuration_text, turn_urls
from turnd.runtime.snapshot import VERSION
from turnd.stun.addresses import TransportAddress

if TYPE_CHECKING:
    from turnd.app import Server

log = logs.get_logger("turnd.app")

_WILDCARDS = {"0.0.0.0", "::"}  # noqa: S104 - compared with


def announce(server: Server, user: str) -> None:
    """Tell which engine runs and why, where, and how to use it."""
    endpoints = server.endpoints.bound()
    log.info(
        "started",
        version=VERSION,
        engine=server.engine.name,
        reason=server.engine_reason,
        config=str(server.config_path or "built-in defaults"),
        listen=[f"{transport}://{address}" for transport, address in endpoints],
        relay=[_relay(server, each.bound, each.announced) for each in server.relays],
        user=user,
    )
    if all(each.announced.startswith("127.") for each in server.relays):
        log.warning("relays_on_loopback_only", reason="this host has no route: set relay.addresses")
    if assembly.needs_own_secret(server.config.auth) and server.config.log.format == "console":
        _tell_how_to_use(server, endpoints)


def _relay(server: Server, bound: str, announced: str) -> str:
    shown = bound if bound == announced else f"{bound}={announced}"
    return f"{shown} ports {server.config.relay.ports}"


def _tell_how_to_use(server: Server, endpoints: list[tuple[str, TransportAddress]]) -> None:
    urls = turn_urls(
        (transport, reachable)
        for transport, address in endpoints
        for reachable in _reachable(server, address)
    )
    configuration = ice_servers(
        server.the_own_secret(), urls, separator=server.config.auth.separator
    )
    server.log_pipe.write_text(
        "\nNo users, secrets or Redis are configured, so turnd made a secret of its own.\n"
        "Good for the next 24 hours (later: turnd credentials):\n\n"
        f"{rtc_configuration_text(configuration)}\n\n"
    )


def _reachable(server: Server, address: TransportAddress) -> list[TransportAddress]:
    """Where clients find an endpoint: a wildcard is at every announced address of its family."""
    if address.host not in _WILDCARDS:
        return [address]
    return [
        TransportAddress(each.announced, address.port)
        for each in server.relays
        if (":" in each.announced) == (":" in address.host)
    ]
