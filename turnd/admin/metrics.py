"""Prometheus metrics: read at scrape time from one snapshot, counted nowhere in here.

Rules of the house
    1.  A scrape asks for one `Snapshot`; nothing is kept between scrapes.
    2.  No client or peer address is ever a label; user names only where an admin asked for them.
    3.  Names are those of docs/observability.md. `turnd_allocations` (a gauge) and
        `turnd_allocations_total` (a counter) can live side by side in the text format only:
        OpenMetrics would take them for one family, so it is not offered.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from turnd.engine.base import CloseReason, Drop, Transport
from turnd.listeners.caps import StreamRefusal
from turnd.turn.events import ConnectionEnd, Dropped, EndReason, FailureReason, PeerRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from turnd.admin.snapshot import Snapshot
    from turnd.engine.base import EngineCounters, LatencyHistogram, RelayCounters
    from turnd.listeners.passthrough import Passed

_Labels = TypeVar("_Labels", bound=tuple[str, ...])
_Label = TypeVar("_Label", bound=str)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

QUANTILES = (0.5, 0.99, 0.999)

_CONNECTIONS = tuple(transport for transport in Transport if transport.is_connection)


class Metrics(Collector):
    """The registry of this server and the text it gives.

    `snapshot` is called once a scrape, in the caller's thread.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def text(self) -> bytes:
        """What `GET /metrics` answers, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: asking would take a snapshot before there is a server."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families of one snapshot."""
        snapshot = self._snapshot()
        yield from _about(snapshot)
        yield from _allocations(snapshot)
        yield from _relay(snapshot.engine)
        yield from _listeners(snapshot)
        if snapshot.engine.latency is not None:
            yield from _latency(snapshot.engine.latency)
        yield from _requests(snapshot)
        yield from _streams(snapshot)
        yield from _peer_connections(snapshot)
        yield from _passed(snapshot.passed)
        yield from _environment(snapshot)


def _about(snapshot: Snapshot) -> Iterator[Metric]:
    yield _labelled_gauge(
        "turnd_build_info",
        "Always 1; the version is a label.",
        ("version",),
        {(snapshot.version,): 1},
    )
    yield _labelled_gauge(
        "turnd_engine_info",
        "Always 1; which engine relays, why this one and how.",
        ("name", "reason", *snapshot.engine_details),
        {(snapshot.engine_name, snapshot.engine_reason, *snapshot.engine_details.values()): 1},
    )
    yield CounterMetricFamily(
        "turnd_engine_faults_total",
        "Faults of turnd's own in the engine that cost packets and nothing else.",
        snapshot.engine.faults,
    )


def _allocations(snapshot: Snapshot) -> Iterator[Metric]:
    yield _labelled_gauge(
        "turnd_allocations",
        "Live allocations.",
        ("transport", "family", "realm"),
        snapshot.allocations,
    )
    yield _counter_by(
        "turnd_allocations_total",
        "Allocate requests with valid credentials, by result.",
        "result",
        snapshot.allocation_results,
    )
    yield _counter(
        "turnd_allocations_moved_total",
        "Times that an allocation has followed its client to another address or transport.",
        snapshot.allocations_moved,
    )
    yield _counter_by(
        "turnd_allocations_ended_total",
        "Allocations that ended.",
        "reason",
        _with_zeros(EndReason, snapshot.allocations_ended),
    )
    if snapshot.user_allocations is not None:
        yield _labelled_gauge(
            "turnd_user_allocations",
            "Live allocations of a user.",
            ("user",),
            {(user,): count for user, count in snapshot.user_allocations.items()},
        )
    for name, text, values in (
        ("in_use", "Relay ports that are relayed transport addresses now.", 0),
        ("capacity", "Relay ports of the configured range.", 1),
    ):
        yield _labelled_gauge(
            f"turnd_relay_ports_{name}",
            text,
            ("address",),
            {(address,): use[values] for address, use in snapshot.relay_ports.items()},
        )
    yield from _relay_addresses(snapshot)


def _relay_addresses(snapshot: Snapshot) -> Iterator[Metric]:
    yield _labelled_gauge(
        "turnd_relay_address_info",
        "Always 1; which addresses new allocations get.",
        ("bound", "announced"),
        snapshot.relay_addresses,
    )
    yield _counter(
        "turnd_relay_address_changes_total",
        "How often the addresses that new allocations get were others than before.",
        snapshot.relay_address_changes,
    )
    yield _gauge(
        "turnd_relay_addresses_missing",
        "Entries of relay.addresses that give less than they should.",
        snapshot.relay_addresses_missing,
    )


def _relay(engine: EngineCounters) -> Iterator[Metric]:
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
        by_transport = CounterMetricFamily(
            f"turnd_client_{unit}_total",
            f"{what} relayed from (rx) and to (tx) clients by their transport.",
            labels=("direction", "transport"),
        )
        for transport, counters in engine.by_transport.items():
            up, down = _up_and_down(counters, unit)
            by_transport.add_metric(("rx", transport), up)
            by_transport.add_metric(("tx", transport), down)
        yield by_transport
    yield _counter_by(
        "turnd_packets_dropped_total",
        "Packets that went no further.",
        "reason",
        _with_zeros(Drop, engine.drops),
    )
    yield CounterMetricFamily(
        "turnd_icmp_errors_total",
        "ICMP errors for packets to peers that clients were told of.",
        engine.icmp_errors,
    )
    yield _gauge("turnd_relays", "Open relay sockets.", engine.relays)


def _listeners(snapshot: Snapshot) -> Iterator[Metric]:
    for unit, what in (("packets", "Packets"), ("bytes", "Payload bytes")):
        family = CounterMetricFamily(
            f"turnd_listener_{unit}_total",
            f"{what} relayed from (rx) and to (tx) the clients of an endpoint of the server.",
            labels=("listener", "direction"),
        )
        for listener, counters in snapshot.listeners.items():
            up, down = _up_and_down(counters, unit)
            family.add_metric((listener, "rx"), up)
            family.add_metric((listener, "tx"), down)
        yield family


def _latency(histogram: LatencyHistogram) -> Iterator[Metric]:
    below = list(accumulate(histogram.counts))
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    yield HistogramMetricFamily(
        "turnd_relay_time_inside_seconds",
        "How long relayed packets were inside, from the kernel's receipt to the sending; sampled.",
        buckets=list(zip(bounds, below, strict=True)),
        sum_value=histogram.total,
    )
    if below[-1]:
        yield _labelled_gauge(
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


def _up_and_down(counters: RelayCounters, unit: str) -> tuple[int, int]:
    if unit == "packets":
        return counters.packets_from_client, counters.packets_to_client
    return counters.bytes_from_client, counters.bytes_to_client


def _requests(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter_by(
        "turnd_auth_failures_total",
        "Requests with credentials that were refused; a first 401 is not one.",
        "reason",
        _with_zeros(FailureReason, snapshot.auth_failures),
    )
    refused = CounterMetricFamily(
        "turnd_requests_refused_total",
        "Requests with valid credentials that got an error response.",
        labels=("method", "code"),
    )
    for labels, count in snapshot.requests_refused.items():
        refused.add_metric(labels, count)
    yield refused
    yield _counter_by(
        "turnd_requests_dropped_total",
        "Messages that got no answer.",
        "reason",
        _with_zeros(Dropped, snapshot.messages_dropped),
    )
    yield _counter(
        "turnd_auth_challenges_total",
        "401 answers to requests without credentials.",
        snapshot.challenges,
    )
    yield _counter(
        "turnd_stun_binding_requests_total", "Binding requests.", snapshot.binding_requests
    )
    yield _counter(
        "turnd_unauthenticated_answers_dropped_total",
        "Answers not sent since their source prefix had used up its budget.",
        snapshot.unauthenticated_dropped,
    )


def _streams(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("turnd_streams", "Open TCP, TLS and DTLS connections.", snapshot.engine.streams)
    for verb, label, counts in (
        ("opened", "transport", _with_zeros(_CONNECTIONS, snapshot.streams_opened)),
        ("closed", "reason", _with_zeros(CloseReason, snapshot.streams_closed)),
        ("refused", "reason", _with_zeros(StreamRefusal, snapshot.streams_refused)),
    ):
        yield _counter_by(
            f"turnd_streams_{verb}_total", f"TCP, TLS and DTLS connections {verb}.", label, counts
        )


def _peer_connections(snapshot: Snapshot) -> Iterator[Metric]:
    yield _labelled_gauge(
        "turnd_peer_connections",
        "TCP connections with peers: being made, waiting for the client, bound to its stream.",
        ("state",),
        {(state,): count for state, count in snapshot.peer_connections.items()},
    )
    for verb, label, counts in (
        ("opened", "direction", snapshot.peer_connections_opened),
        ("ended", "reason", _with_zeros(ConnectionEnd, snapshot.peer_connections_ended)),
        ("refused", "reason", _with_zeros(PeerRefusal, snapshot.peer_connections_refused)),
    ):
        yield _counter_by(
            f"turnd_peer_connections_{verb}_total", f"TCP connections with peers {verb}.",
            label, counts,
        )  # fmt: skip


def _passed(passed: Passed) -> Iterator[Metric]:
    yield _gauge(
        "turnd_passthrough_connections", "Open connections to the web server behind.", passed.open
    )
    yield _counter(
        "turnd_passthrough_connections_total",
        "Connections that went to the web server behind.",
        passed.connections,
    )
    yield _counter_by(
        "turnd_passthrough_bytes_total",
        "Bytes that went between clients and the web server behind.",
        "direction",
        {"to_backend": passed.to_backend, "to_client": passed.to_client},
    )


def _environment(snapshot: Snapshot) -> Iterator[Metric]:
    yield _labelled_gauge(
        "turnd_alternate_up",
        "Whether another server, where clients may be sent to, answers a Binding request.",
        ("server",),
        {(server,): int(lives) for server, lives in snapshot.alternates.items()},
    )
    yield _labelled_gauge(
        "turnd_certificate_expiry_timestamp_seconds",
        "When a certificate that is being served ends.",
        ("certificate",),
        {(path,): end for path, end in snapshot.certificates.items()},
    )
    if snapshot.reload is not None:
        yield _gauge(
            "turnd_config_last_reload_successful",
            "Whether the last reading of the configuration took effect.",
            int(snapshot.reload.successful),
        )
        yield _gauge(
            "turnd_config_last_reload_timestamp_seconds",
            "When the configuration was read last.",
            snapshot.reload.at,
        )
    if snapshot.redis_available is not None:
        yield _gauge(
            "turnd_redis_available", "Whether Redis answers.", int(snapshot.redis_available)
        )
    yield _counter(
        "turnd_log_records_dropped_total",
        "Log lines lost: nobody read the log, or one event came too often.",
        snapshot.log_records_dropped,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _labelled_gauge(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, float]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([_encodable(label) for label in key], value)
    return family


def _counter_by(name: str, text: str, label: str, counts: Mapping[_Label, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in counts.items():
        family.add_metric((_encodable(value),), count)
    return family


def _with_zeros(known: Iterable[str], counts: Mapping[_Label, int]) -> dict[str, int]:
    """A series that exists from the start: a first increase from nothing would be no rate."""
    return {**dict.fromkeys(map(str, known), 0), **{str(name): n for name, n in counts.items()}}


def _encodable(label: str) -> str:
    """A lone surrogate (from an odd environment) would otherwise fail the whole scrape."""
    return label.encode("utf-8", "backslashreplace").decode()
