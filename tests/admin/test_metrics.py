from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from turnd.admin.metrics import CONTENT_TYPE, QUANTILES, Metrics, quantile
from turnd.admin.snapshot import AllocationLabels, PortUse, RefusalLabels, Reload, Snapshot
from turnd.engine.base import (
    CloseReason,
    Drop,
    EngineCounters,
    LatencyHistogram,
    RelayCounters,
    Transport,
)
from turnd.listeners.caps import StreamRefusal
from turnd.turn.events import ConnectionEnd, Dropped, EndReason, PeerRefusal


def snapshot(**changes: Any) -> Snapshot:
    return Snapshot(
        **{"version": "0.1.0", "engine_name": "portable", "engine_reason": "asked for", **changes}
    )


def samples(**changes: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a scrape by name and labels."""
    text = Metrics(lambda: snapshot(**changes)).text().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[Any, float], metric: str, /, **labels: str) -> float:
    return found[metric, frozenset(labels.items())]


def test_allocations() -> None:
    found = samples(
        allocations={AllocationLabels("udp", "ipv4", "example.org"): 3},
        allocation_results={"created": 10, "quota": 2},
    )
    labels = {"transport": "udp", "family": "ipv4", "realm": "example.org"}
    assert value(found, "turnd_allocations", **labels) == 3
    assert value(found, "turnd_allocations_total", result="created") == 10
    assert value(found, "turnd_allocations_total", result="quota") == 2


def test_what_is_relayed_is_received_on_one_leg_and_sent_on_the_other() -> None:
    counters = RelayCounters(1, 200, 3, 400)
    found = samples(
        engine=EngineCounters(totals=counters, by_transport={Transport.TLS: counters}, relays=5)
    )
    for name, up, down in (("packets", 1, 3), ("bytes", 200, 400)):
        total = f"turnd_relay_{name}_total"
        assert value(found, total, direction="rx", leg="client") == up
        assert value(found, total, direction="tx", leg="peer") == up
        assert value(found, total, direction="rx", leg="peer") == down
        assert value(found, total, direction="tx", leg="client") == down
        by_transport = f"turnd_client_{name}_total"
        assert value(found, by_transport, direction="rx", transport="tls") == up
        assert value(found, by_transport, direction="tx", transport="tls") == down
    assert value(found, "turnd_relays") == 5


def test_each_listener_is_counted() -> None:
    found = samples(listeners={"udp://[::]:3478": RelayCounters(1, 200, 3, 400)})
    for name, up, down in (("packets", 1, 3), ("bytes", 200, 400)):
        total = f"turnd_listener_{name}_total"
        assert value(found, total, listener="udp://[::]:3478", direction="rx") == up
        assert value(found, total, listener="udp://[::]:3478", direction="tx") == down


LATENCY = LatencyHistogram((1e-5, 2e-5, 4e-5), (50, 0, 49, 1), 0.0025)


def test_how_long_packets_are_inside() -> None:
    found = samples(engine=EngineCounters(latency=LATENCY))
    family = "turnd_relay_time_inside_seconds"
    below = {"1e-05": 50, "2e-05": 50, "4e-05": 99, "+Inf": 100}
    for bound, count in below.items():
        assert value(found, f"{family}_bucket", le=bound) == count
    assert value(found, f"{family}_count") == 100
    assert value(found, f"{family}_sum") == 0.0025
    shown = {q: value(found, "turnd_relay_latency_seconds", quantile=str(q)) for q in QUANTILES}
    assert shown == pytest.approx({0.5: 1e-5, 0.99: 4e-5, 0.999: 4e-5})


@pytest.mark.parametrize(
    ("q", "seconds"), [(0.0, 0.0), (0.25, 5e-6), (0.5, 1e-5), (0.745, 3e-5), (1.0, 4e-5)]
)
def test_quantiles_are_taken_from_within_a_bucket(q: float, seconds: float) -> None:
    assert quantile(LATENCY, q) == pytest.approx(seconds)


def test_where_nothing_was_measured_there_is_no_quantile() -> None:
    found = samples(engine=EngineCounters(latency=LatencyHistogram((1e-5,), (0, 0), 0.0)))
    assert value(found, "turnd_relay_time_inside_seconds_count") == 0
    assert not [name for name, _ in found if name == "turnd_relay_latency_seconds"]
    assert not [name for name, _ in samples() if "latency" in name or "inside" in name]


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
