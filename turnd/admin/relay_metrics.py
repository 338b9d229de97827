"""Metrics of what the engine moves: packets and bytes, drops, the time inside."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from turnd.admin.families import counter_by, gauge, labelled_gauge, with_zeros
from turnd.engine.base import Drop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from turnd.admin.snapshot import Snapshot
    from turnd.engine.base import EngineCounters, LatencyHistogram, RelayCounters

_Label = TypeVar("_Label", bound=str)

QUANTILES = (0.5, 0.99, 0.999)


def relay(engine: EngineCounters) -> Iterator[Metric]:
    """What went through and what did not."""
    for unit, what in (("packets", "Packets"), ("bytes", "Payload bytes")):
        up, down = _up_and_down(engine.totals, unit)
        total = CounterMetricFamily(
            f"turnd_relay_{unit}_total",
            f"{what} relayed, as received (rx) and sent (tx) on the client's and the peer's leg.",
            labels=("direction", "leg"),
        )
        for direction, leg, count in (
            ("rx", "client", up),
            ("tx", "peer", up),
            ("rx", "peer", down),
            ("tx", "client", down),
        ):
            total.add_metric((direction, leg), count)
        yield total
        yield _by_clients(
            unit,
            f"turnd_client_{unit}_total",
            f"{what} relayed from (rx) and to (tx) clients by their transport.",
            "transport",
            engine.by_transport,
        )
    yield counter_by(
        "turnd_packets_dropped_total",
        "Packets that went no further.",
        "reason",
        with_zeros(Drop, engine.drops),
    )
    yield CounterMetricFamily(
        "turnd_icmp_errors_total",
        "ICMP errors for packets to peers that clients were told of.",
        engine.icmp_errors,
    )
    yield gauge("turnd_relays", "Open relay sockets.", engine.relays)


def listeners(snapshot: Snapshot) -> Iterator[Metric]:
    """The same by the endpoint that clients came to."""
    for unit, what in (("packets", "Packets"), ("bytes", "Payload bytes")):
        yield _by_clients(
            unit,
            f"turnd_listener_{unit}_total",
            f"{what} relayed from (rx) and to (tx) the clients of an endpoint of the server.",
            "listener",
            snapshot.listeners,
        )


def latency(histogram: LatencyHistogram) -> Iterator[Metric]:
    """How long packets were inside; quantiles once there are any."""
    below = list(accumulate(histogram.counts))
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    yield HistogramMetricFamily(
        "turnd_relay_time_inside_seconds",
        "How long relayed packets were inside, from the kernel's receipt to the sending; sampled.",
        buckets=list(zip(bounds, below, strict=True)),
        sum_value=histogram.total,
    )
    if below[-1]:
        yield labelled_gauge(
            "turnd_relay_latency_seconds",
            "The same since the start, by quantile.",
            ("quantile",),
            {(str(q),): quantile(histogram, q) for q in QUANTILES},
        )


def quantile(histogram: LatencyHistogram, q: float) -> float:
    """The time that a part of the packets (0 to 1) stayed within, as Prometheus estimates it.

    Within a bucket the packets are taken to be spread evenly; beyond the last bound it is that.
    """
    rank = q * sum(histogram.counts)
    lower = below = 0.0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        lower, below = bound, below + count
    return lower


def _by_clients(
    unit: str, name: str, text: str, label: str, counted: Mapping[_Label, RelayCounters]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=("direction", label))
    for value, counters in counted.items():
        up, down = _up_and_down(counters, unit)
        family.add_metric(("rx", value), up)
        family.add_metric(("tx", value), down)
    return family


def _up_and_down(counters: RelayCounters, unit: str) -> tuple[int, int]:
    if unit == "packets":
        return counters.packets_from_client, counters.packets_to_client
    return counters.bytes_from_client, counters.bytes_to_client
