"""What `/metrics` shows, gathered when somebody asks."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

from turnd.admin.snapshot import AddressLabels, AllocationLabels, PortUse, RefusalLabels, Snapshot
from turnd.allocations.connections import ConnectionState
from turnd.engine.base import RelayCounters
from turnd.stun.errors import ErrorCode
from turnd.turn.events import Dropped

if TYPE_CHECKING:
    from turnd.engine.base import EngineCounters
    from turnd.runtime.server import Server

VERSION = version("turnd")


def take_snapshot(server: Server) -> Snapshot:
    """All figures of this moment."""
    counts, engine = server.pump.events.counts, server.engine.counters()
    dropped = counts.dropped + Counter({Dropped.OVER_BUDGET: engine.over_budget})
    stores = server.sources.stores.values()
    return Snapshot(
        version=VERSION,
        engine_name=server.engine.name,
        engine_reason=server.engine_reason,
        engine=engine,
        engine_details=server.engine.details,
        listeners=_listeners(server, engine),
        allocations=_allocations(server),
        allocation_results=_results(counts.allocations_created, counts.allocations_refused),
        allocations_moved=counts.allocations_moved,
        allocations_ended=dict(counts.allocations_ended),
        requests_refused={
            RefusalLabels(method, str(int(code))): count
            for (method, code), count in counts.requests_refused.items()
        },
        messages_dropped=dropped,
        auth_failures=dict(counts.auth_failures),
        challenges=counts.challenges + engine.challenges,
        binding_requests=counts.bindings + engine.bindings_answered,
        unauthenticated_dropped=dropped[Dropped.OVER_BUDGET],
        relay_ports={
            address.announced: PortUse(address.ports.in_use, address.ports.capacity)
            for address in server.relays
        },
        relay_addresses={AddressLabels(*pair): 1 for pair in server.relays.pairs},
        relay_address_changes=server.relay_watch.changes,
        relay_addresses_missing=len(server.relay_watch.troubles),
        alternates=server.alternates.living,
        certificates={} if server.certificates is None else server.certificates.expiry(),
        reload=server.last_reload,
        streams_opened=server.endpoints.opened(),
        streams_closed=dict(server.endpoints.closed),
        streams_refused={str(reason): n for reason, n in server.endpoints.caps.refused.items()},
        passed=server.endpoints.passthrough.passed,
        peer_connections={
            state.name.lower(): server.connections.count(state) for state in ConnectionState
        },
        peer_connections_opened=dict(counts.connections_opened),
        peer_connections_ended=dict(counts.connections_ended),
        peer_connections_refused=dict(counts.connections_refused),
        log_records_dropped=server.log_pipe.dropped,
        redis_available=all(store.away is None for store in stores) if stores else None,
        user_allocations=_by_user(server) if server.config.metrics.users else None,
    )


def _listeners(server: Server, engine: EngineCounters) -> dict[str, RelayCounters]:
    """By the URI of the endpoint; of two that share a socket `udp+dtls://…`."""
    counted: dict[str, RelayCounters] = {}
    for listener, endpoints in server.endpoints.by_listener.items():
        transports = "+".join(endpoint.transport for endpoint in endpoints)
        address = server.endpoints.address(listener)
        counted[f"{transports}://{address}"] = engine.by_listener.get(listener, RelayCounters())
    return counted


def _allocations(server: Server) -> dict[AllocationLabels, int]:
    counted: Counter[AllocationLabels] = Counter()
    for allocation in server.table:
        families = [f"ipv{4 if relay.family == 1 else 6}" for relay in allocation.relays]
        family = families[0] if len(families) == 1 else "dual"
        transport = str(allocation.leg.transport)
        counted[AllocationLabels(transport, family, allocation.realm)] += 1
    return counted


def _by_user(server: Server) -> Counter[str]:
    # A REST name is another one for each credential: who stands behind it is the user.
    return Counter(allocation.quota_user for allocation in server.table)


def _results(created: int, refused: Counter[int]) -> dict[str, int]:
    results = {"created": created}
    for code, count in refused.items():
        results[ErrorCode(code).name.lower()] = count
    return results
