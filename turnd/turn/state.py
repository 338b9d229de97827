"""What the handlers of all methods act on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turnd.turn.redirect import Redirection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnd.allocations.connections import Connections
    from turnd.allocations.table import AllocationTable
    from turnd.allocations.tickets import Tickets
    from turnd.auth.credentials import WallClock
    from turnd.engine.base import RelayEngine, RelayId
    from turnd.turn.bandwidth import Bandwidth
    from turnd.turn.behavior_discovery import Quartet
    from turnd.turn.events import Sink
    from turnd.turn.peer_sockets import PeerSockets
    from turnd.turn.realm import Realm
    from turnd.turn.relay_addresses import RelayAddresses
    from turnd.turn.settings import TurnSettings
    from turnd.turn.turn_allocation import TurnAllocation
    from turnd.turn.turn_connection import TurnConnection


@dataclass(slots=True)
class ServerState:
    """The server's tables and its doors to the engine and to whoever counts."""

    settings: TurnSettings
    table: AllocationTable[TurnAllocation]
    tickets: Tickets[TurnAllocation]
    connections: Connections[TurnConnection]
    relays: RelayAddresses
    engine: RelayEngine
    peer_sockets: PeerSockets
    bandwidth: Bandwidth
    realms: Mapping[str, Realm]
    """By name."""
    report: Sink
    wall_clock: WallClock
    quartets: tuple[Quartet, ...] = ()
    """Where NAT behavior discovery is offered."""
    redirection: Redirection = field(default_factory=Redirection)
    listening: dict[RelayId, TurnAllocation] = field(default_factory=dict)
    """Whose relayed transport addresses peers may connect to (RFC 6062)."""
    draining: bool = False
    """Refuse new allocations: the process is about to end."""
