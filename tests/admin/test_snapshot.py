from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from turnd.admin.metrics import Metrics
from turnd.admin.snapshot import (
    AddressLabels,
    AllocationLabels,
    PortUse,
    RefusalLabels,
    Reload,
    Snapshot,
)
from turnd.engine.base import EngineCounters, RelayCounters
from turnd.listeners.passthrough import Passed

BARE = Snapshot(version="0.1.0", engine_name="portable", engine_reason="asked for")
TOLD: dict[str, Any] = {
    "version": "0.2.0",
    "engine_name": "native",
    "engine_reason": "the best there is",
    "engine": EngineCounters(relays=1),
    "engine_details": {"io": "uring"},
    "listeners": {"udp://192.0.2.1:3478": RelayCounters(packets_to_client=1)},
    "allocations": {AllocationLabels("udp", "ipv4", "example.org"): 1},
    "allocation_results": {"created": 1},
    "allocations_moved": 1,
    "allocations_ended": {"expired": 1},
    "requests_refused": {RefusalLabels("allocate", "486"): 1},
    "messages_dropped": {"malformed": 1},
    "auth_failures": {"unknown_user": 1},
    "challenges": 1,
    "binding_requests": 1,
    "unauthenticated_dropped": 1,
    "relay_ports": {"192.0.2.1": PortUse(1, 2)},
    "relay_addresses": {AddressLabels("10.0.0.5", "203.0.113.7"): 1},
    "relay_address_changes": 1,
    "relay_addresses_missing": 1,
    "alternates": {"203.0.113.8:3478": True},
    "certificates": {"/etc/turnd/tls.pem": 1.0},
    "reload": Reload(successful=True, at=1.0),
    "streams_opened": {"tcp": 1},
    "streams_closed": {"client": 1},
    "streams_refused": {"total": 1},
    "peer_connections": {"bound": 1},
    "peer_connections_opened": {"incoming": 1},
    "peer_connections_ended": {"peer": 1},
    "peer_connections_refused": {"full": 1},
    "passed": Passed(open=1),
    "log_records_dropped": 1,
    "redis_available": True,
    "user_allocations": {"alice": 1},
}


def shown(snapshot: Snapshot) -> set[str]:
    text = Metrics(lambda: snapshot).text().decode()
    return {line for line in text.splitlines() if line.startswith("turnd_")}


@pytest.mark.parametrize("name", [field.name for field in fields(Snapshot)])
def test_every_figure_is_shown(name: str) -> None:
    assert shown(replace(BARE, **{name: TOLD[name]})) - shown(BARE)
