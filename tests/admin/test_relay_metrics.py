from __future__ import annotations

import pytest

from tests.admin.scraping import samples, value
from turnd.admin.relay_metrics import QUANTILES, quantile
from turnd.engine.base import EngineCounters, LatencyHistogram, RelayCounters, Transport


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
