"""Puts the sans-IO core together, with this process's clocks and randomness."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from turnd.allocations.tickets import Tickets
from turnd.runtime import assembly, credentials
from turnd.turn.bandwidth import Bandwidth
from turnd.turn.realms import Realms
from turnd.turn.server import TurnServer
from turnd.turn.state import ServerState
from turnd.turn.waiting import WaitingRequests

if TYPE_CHECKING:
    from turnd.config import Endpoint
    from turnd.runtime.server import Server
    from turnd.turn.realm import Realm


def build_turn(server: Server) -> TurnServer:
    """The core of a server whose endpoints are bound and whose sources are made."""
    config = server.config
    server.engine.budget(config.limits.unauthenticated_per_second)
    own = assembly.own_addresses({}, [])  # `Protection` tells the policies the rest
    realms: dict[str, Realm] = {}
    by_endpoint: dict[Endpoint, Realm] = {}
    for realm in config.all_realms():
        chain = server.sources[realm.name].chain
        realms[realm.name] = assembly.build_realm(config, realm, chain, own)
        if realm.name != config.realm:
            by_endpoint |= dict.fromkeys(realm.endpoints, realms[realm.name])
    return TurnServer(
        state=ServerState(
            settings=assembly.turn_settings(config),
            table=server.table,
            tickets=Tickets(secrets.token_bytes),
            connections=server.connections,
            relays=server.relays,
            engine=server.engine,
            peer_sockets=server.peer_sockets,
            bandwidth=Bandwidth(server.engine),
            realms=realms,
            report=server.pump.report,
            wall_clock=time.time,
            quartets=assembly.quartets(config),
        ),
        nonces=credentials.nonces(config),
        waiting=WaitingRequests(),
        decoy_salt=secrets.token_bytes(32),
        realms=Realms(
            own=realms[config.realm],
            by_listener={
                listener: by_endpoint[endpoints[0]]
                for listener, endpoints in server.endpoints.by_listener.items()
                if endpoints[0] in by_endpoint
            },
            by_server_name=assembly.by_server_name(config, realms),
            by_origin=assembly.by_origin(config, realms),
        ),
    )
