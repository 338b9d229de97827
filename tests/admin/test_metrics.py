from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.admin.scraping import samples, snapshot, value
from turnd.admin.metrics import CONTENT_TYPE, Metrics
from turnd.admin.snapshot import AllocationLabels, PortUse, RefusalLabels, Reload, Snapshot
from turnd.engine.base import (
    CloseReason,
    Drop,
    EngineCounters,
    Transport,
)
from turnd.listeners.caps import StreamRefusal
from turnd.turn.events import ConnectionEnd, Dropped, EndReason, PeerRefusal


def test_allocations() -> None:
    found = samples(
        allocations={AllocationLabels("udp", "ipv4", "example.org"): 3},
        allocation_results={"created": 10, "quota": 2},
    )
    labels = {"transport": "udp", "family": "ipv4", "realm": "example.org"}
    assert value(found, "turnd_allocations", **labels) == 3
    assert value(found, "turnd_allocations_total", result="created") == 10
    assert value(found, "turnd_allocations_total", result="quota") == 2


def test_reasons_are_there_before_they_happen() -> None:
    found = samples(
        engine=EngineCounters(drops={Drop.TOO_BIG: 7}, faults=4, icmp_errors=6),
        streams_closed={CloseReason.GARBAGE: 2},
        streams_refused={StreamRefusal.TOTAL: 3},
        streams_opened={Transport.TCP: 4},
    )
    for drop in Drop:
        count = 7 if drop is Drop.TOO_BIG else 0
        assert value(found, "turnd_packets_dropped_total", reason=drop) == count
    assert value(found, "turnd_engine_faults_total") == 4
    assert value(found, "turnd_icmp_errors_total") == 6
    for reason in CloseReason:
        count = 2 if reason is CloseReason.GARBAGE else 0
        assert value(found, "turnd_streams_closed_total", reason=reason) == count
    for refusal in StreamRefusal:
        count = 3 if refusal is StreamRefusal.TOTAL else 0
        assert value(found, "turnd_streams_refused_total", reason=refusal) == count
    assert value(found, "turnd_streams_opened_total", transport="tcp") == 4
    assert value(found, "turnd_streams_opened_total", transport="tls") == 0
    assert ("turnd_streams_opened_total", frozenset({("transport", "udp")})) not in found


def test_requests_and_failures() -> None:
    found = samples(
        auth_failures={"bad_integrity": 4},
        challenges=5,
        binding_requests=6,
        unauthenticated_dropped=7,
        log_records_dropped=8,
    )
    assert value(found, "turnd_auth_failures_total", reason="bad_integrity") == 4
    assert value(found, "turnd_auth_challenges_total") == 5
    assert value(found, "turnd_stun_binding_requests_total") == 6
    assert value(found, "turnd_unauthenticated_answers_dropped_total") == 7
    assert value(found, "turnd_log_records_dropped_total") == 8


def test_what_the_core_tells() -> None:
    found = samples(
        allocations_ended={EndReason.EXPIRED: 3},
        requests_refused={RefusalLabels("channelbind", "403"): 2},
        messages_dropped={Dropped.MALFORMED: 5},
        peer_connections={"pending": 6},
        peer_connections_opened={"outgoing": 7},
        peer_connections_ended={ConnectionEnd.UNBOUND: 8},
        peer_connections_refused={PeerRefusal.NO_PERMISSION: 9},
    )
    assert value(found, "turnd_peer_connections", state="pending") == 6
    assert value(found, "turnd_peer_connections_opened_total", direction="outgoing") == 7
    for reason in ConnectionEnd:
        count = 8 if reason is ConnectionEnd.UNBOUND else 0
        assert value(found, "turnd_peer_connections_ended_total", reason=reason) == count
    assert value(found, "turnd_peer_connections_refused_total", reason="no_permission") == 9
    assert value(found, "turnd_peer_connections_refused_total", reason="full") == 0
    assert value(found, "turnd_allocations_ended_total", reason="expired") == 3
    assert value(found, "turnd_allocations_ended_total", reason="deleted") == 0
    assert value(found, "turnd_requests_refused_total", method="channelbind", code="403") == 2
    assert value(found, "turnd_requests_dropped_total", reason="malformed") == 5
    assert value(found, "turnd_requests_dropped_total", reason="waiting_full") == 0
    assert value(found, "turnd_auth_failures_total", reason="bad_integrity") == 0


def test_ports_certificates_reload_and_build() -> None:
    found = samples(
        relay_ports={"203.0.113.7": PortUse(12, 16384)},
        certificates={"/etc/turnd/fullchain.pem": 1.8e9},
        reload=Reload(successful=False, at=1.7e9),
        engine=EngineCounters(streams=9),
        engine_details={"io": "epoll"},
    )
    assert value(found, "turnd_relay_ports_in_use", address="203.0.113.7") == 12
    assert value(found, "turnd_relay_ports_capacity", address="203.0.113.7") == 16384
    expiry = "turnd_certificate_expiry_timestamp_seconds"
    assert value(found, expiry, certificate="/etc/turnd/fullchain.pem") == 1.8e9
    assert value(found, "turnd_config_last_reload_successful") == 0
    assert value(found, "turnd_config_last_reload_timestamp_seconds") == 1.7e9
    assert value(found, "turnd_build_info", version="0.1.0") == 1
    assert value(found, "turnd_engine_info", name="portable", reason="asked for", io="epoll") == 1
    assert value(found, "turnd_streams") == 9


@pytest.mark.parametrize(("available", "shown"), [(True, 1), (False, 0)])
def test_redis(available: bool, shown: int) -> None:
    assert value(samples(redis_available=available), "turnd_redis_available") == shown


def test_what_is_not_configured_or_asked_for_is_not_there() -> None:
    names = {name for name, _ in samples()}
    assert not names & {
        "turnd_redis_available",
        "turnd_user_allocations",
        "turnd_config_last_reload_successful",
    }


def test_users_on_request() -> None:
    found = samples(user_allocations={"alice": 2})
    assert value(found, "turnd_user_allocations", user="alice") == 2


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_no_name_breaks_a_scrape(user: str) -> None:
    found = samples(user_allocations={user: 1})
    shown = user.encode("utf-8", "backslashreplace").decode()
    assert value(found, "turnd_user_allocations", user=shown) == 1


def test_a_scrape_shows_the_present_moment() -> None:
    now = snapshot(binding_requests=1)
    metrics = Metrics(lambda: now)
    assert b"turnd_stun_binding_requests_total 1.0" in metrics.text()
    now = snapshot(binding_requests=2)
    assert b"turnd_stun_binding_requests_total 2.0" in metrics.text()


def test_no_snapshot_is_taken_before_a_scrape() -> None:
    def fail() -> Snapshot:
        pytest.fail("asked before there is a server")

    Metrics(fail)


def test_the_process_is_described_and_the_format_is_the_text_format() -> None:
    assert ("process_open_fds", frozenset()) in samples()
    assert "version=0.0.4" in CONTENT_TYPE


def test_names_follow_the_conventions() -> None:
    text = (
        Metrics(lambda: snapshot(redis_available=True, user_allocations={"a": 1})).text().decode()
    )
    kinds = {
        words[2]: words[3]
        for line in text.splitlines()
        if (words := line.split())[:2] == ["#", "TYPE"]
    }
    ours = {name: kind for name, kind in kinds.items() if name.startswith("turnd_")}
    assert ours
    for name, kind in ours.items():
        assert name.endswith("_total") == (kind == "counter"), name
