"""Which events are counted, and which are lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.waiting import eventually
from turnd import logs
from turnd.engine.base import Leg, ListenerId, Transport
from turnd.runtime.event_log import EventLog
from turnd.stun.addresses import (
    ClientAddress,
    PeerAddress,
    RelayedAddress,
    ServerAddress,
    TransportAddress,
)
from turnd.stun.errors import ErrorCode
from turnd.stun.message import Method
from turnd.turn import events
from turnd.turn.events import ConnectionEnd, Dropped, EndReason, FailureReason, PeerRefusal

LEG = Leg(
    ListenerId(1),
    Transport.UDP,
    ServerAddress(TransportAddress("192.0.2.1", 3478)),
    ClientAddress(TransportAddress("198.51.100.9", 5000)),
)
WHO = {"client": "198.51.100.9:5000", "transport": "udp", "realm": "r", "user": "bob"}
RELAYED = (
    RelayedAddress(TransportAddress("192.0.2.1", 50000)),
    RelayedAddress(TransportAddress("2001:db8::1", 50001)),
)
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log's records."""
    output = io.StringIO()
    pipe = logs.configure("json", "info", stream=output)

    def read() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in output.getvalue().splitlines()]
        return [{k: v for k, v in one.items() if k != "time"} for one in found]

    yield read
    pipe.set_level("info")
    pipe.stop()


async def test_an_allocation_that_moved_is_a_line_with_both_addresses(lines: Lines) -> None:
    log = EventLog()
    former = LEG._replace(
        transport=Transport.TLS,
        client=ClientAddress(TransportAddress("203.0.113.7", 6000)),
        stream=3,
    )
    log(events.AllocationMoved(LEG, "bob", "r", former))
    assert log.counts.allocations_moved == 1
    expected = {
        "event": "allocation_moved",
        **WHO,
        "former": "203.0.113.7:6000",
        "former_transport": "tls",
    }
    (line,) = await eventually(lines)
    assert expected.items() <= line.items()


async def test_what_every_client_does_is_counted_and_is_no_line(lines: Lines) -> None:
    log = EventLog()
    log(events.Challenged(LEG))
    log(events.BindingAnswered(LEG))
    log(events.BindingAnswered(LEG))
    log(events.MessageDropped(LEG, Dropped.OVER_BUDGET))
    log(events.Authenticated(LEG))
    log(events.AuthenticationFailed(LEG, "bob", "r", FailureReason.EXPIRED))
    counts = log.counts
    assert (counts.challenges, counts.bindings) == (1, 2)
    assert counts.dropped == {"over_budget": 1}
    await eventually(lines)
    assert [one["event"] for one in lines()] == ["auth_failed"]


async def test_a_failed_authentication(lines: Lines) -> None:
    log = EventLog()
    log(events.AuthenticationFailed(LEG, "bob", "r", FailureReason.BAD_INTEGRITY))
    await eventually(lines)
    assert lines() == [{"event": "auth_failed", "level": "warn", **WHO, "reason": "bad_integrity"}]
    assert log.counts.auth_failures == {"bad_integrity": 1}


async def test_a_store_that_is_away_is_nobody_s_failure(lines: Lines) -> None:
    log = EventLog()
    log(events.AuthenticationFailed(LEG, "bob", "r", FailureReason.STORE_UNAVAILABLE))
    await eventually(lines)
    assert [one["event"] for one in lines()] == ["auth_unavailable"]
    assert log.counts.auth_failures == {"store_unavailable": 1}


async def test_an_allocation_s_life(lines: Lines) -> None:
    log = EventLog()
    log(events.AllocationCreated(LEG, "bob", "r", RELAYED, 600))
    log(events.AllocationEnded(LEG, "bob", "r", EndReason.DELETED, 12.345))
    await eventually(lambda: len(lines()) == 2)
    created, ended = lines()
    relayed = "192.0.2.1:50000,[2001:db8::1]:50001"
    assert created == {"event": "allocation_created", "level": "info", **WHO, "relayed": relayed}
    assert ended["event"] == "allocation_ended"
    assert (ended["reason"], ended["seconds"]) == ("deleted", 12.3)
    assert log.counts.allocations_created == 1
    assert log.counts.allocations_ended == {"deleted": 1}


async def test_refusals(lines: Lines) -> None:
    log = EventLog()
    quota, forbidden = ErrorCode.ALLOCATION_QUOTA_REACHED, ErrorCode.FORBIDDEN
    log(events.RequestRefused(LEG, "bob", "r", Method.ALLOCATE, quota, "quota: user"))
    log(events.RequestRefused(LEG, "bob", "r", Method.CHANNEL_BIND, forbidden, "denied"))
    assert log.counts.requests_refused == {("allocate", 486): 1, ("channel_bind", 403): 1}
    assert log.counts.allocations_refused == {486: 1}
    await eventually(lambda: len(lines()) == 2)
    assert (lines()[0]["code"], lines()[0]["reason"]) == (486, "quota: user")
    assert lines()[1]["method"] == "channel_bind"


async def test_no_line_below_the_level(lines: Lines) -> None:
    log = EventLog()
    logs.configure("json", "warning", stream=io.StringIO()).stop()
    log(events.AllocationCreated(LEG, "bob", "r", RELAYED, 600))
    assert log.counts.allocations_created == 1
    assert lines() == []


PEER = PeerAddress(TransportAddress("198.51.100.7", 80))


async def test_a_peers_connection_is_a_line_when_it_comes_and_when_it_goes(lines: Lines) -> None:
    log = EventLog()
    log(events.ConnectionOpened(LEG, "bob", "r", PEER, True))
    log(events.ConnectionOpened(LEG, "bob", "r", PEER, False))
    log(events.ConnectionEnded(LEG, "bob", "r", PEER, ConnectionEnd.PEER, 1.24))
    log(events.ConnectionRefused(LEG, "bob", "r", PEER, PeerRefusal.NO_PERMISSION))
    assert log.counts.connections_opened == {"incoming": 1, "outgoing": 1}
    assert log.counts.connections_ended == {"peer": 1}
    assert log.counts.connections_refused == {"no_permission": 1}
    found = await eventually(lambda: len(lines()) == 3 and lines())
    about = {**WHO, "peer": "198.51.100.7:80"}
    assert {"event": "peer_connected", **about, "direction": "incoming"}.items() <= found[0].items()
    ended = {"event": "peer_disconnected", **about, "reason": "peer", "seconds": 1.2}
    assert ended.items() <= found[2].items()
