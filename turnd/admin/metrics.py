"""Prometheus metrics: read at scrape time from one snapshot, counted nowhere in here.

Rules of the house
    1.  A scrape asks for one `Snapshot`; nothing is kept between scrapes.
    2.  No client or peer address is ever a label; user names only where an admin asked for them.
    3.  Names are those of docs/observability.md. `turnd_allocations` (a gauge) and
        `turnd_allocations_total` (a counter) can live side by side in the text format only:
        OpenMetrics would take them for one family, so it is not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from turnd.admin import relay_metrics
from turnd.admin.families import counter, counter_by, gauge, labelled_gauge, with_zeros
from turnd.engine.base import CloseReason, Transport
from turnd.listeners.caps import StreamRefusal
from turnd.turn.events import ConnectionEnd, Dropped, EndReason, FailureReason, PeerRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from turnd.admin.snapshot import Snapshot
    from turnd.listeners.passthrough import Passed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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
        yield from relay_metrics.relay(snapshot.engine)
        yield from relay_metrics.listeners(snapshot)
        if snapshot.engine.latency is not None:
            yield from relay_metrics.latency(snapshot.engine.latency)
        yield from _requests(snapshot)
        yield from _streams(snapshot)
        yield from _peer_connections(snapshot)
        yield from _passed(snapshot.passed)
        yield from _environment(snapshot)


def _about(snapshot: Snapshot) -> Iterator[Metric]:
    yield labelled_gauge(
        "turnd_build_info",
        "Always 1; the version is a label.",
        ("version",),
        {(snapshot.version,): 1},
    )
    yield labelled_gauge(
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
    yield labelled_gauge(
        "turnd_allocations",
        "Live allocations.",
        ("transport", "family", "realm"),
        snapshot.allocations,
    )
    yield counter_by(
        "turnd_allocations_total",
        "Allocate requests with valid credentials, by result.",
        "result",
        snapshot.allocation_results,
    )
    yield counter(
        "turnd_allocations_moved_total",
        "Times that an allocation has followed its client to another address or transport.",
        snapshot.allocations_moved,
    )
    yield counter_by(
        "turnd_allocations_ended_total",
        "Allocations that ended.",
        "reason",
        with_zeros(EndReason, snapshot.allocations_ended),
    )
    if snapshot.user_allocations is not None:
        yield labelled_gauge(
            "turnd_user_allocations",
            "Live allocations of a user.",
            ("user",),
            {(user,): count for user, count in snapshot.user_allocations.items()},
        )
    yield from _relay_ports(snapshot)
    yield from _relay_addresses(snapshot)


def _relay_ports(snapshot: Snapshot) -> Iterator[Metric]:
    for name, text, values in (
        ("in_use", "Relay ports that are relayed transport addresses now.", 0),
        ("capacity", "Relay ports of the configured range.", 1),
    ):
        yield labelled_gauge(
            f"turnd_relay_ports_{name}",
            text,
            ("address",),
            {(address,): use[values] for address, use in snapshot.relay_ports.items()},
        )


def _relay_addresses(snapshot: Snapshot) -> Iterator[Metric]:
    yield labelled_gauge(
        "turnd_relay_address_info",
        "Always 1; which addresses new allocations get.",
        ("bound", "announced"),
        snapshot.relay_addresses,
    )
    yield counter(
        "turnd_relay_address_changes_total",
        "How often the addresses that new allocations get were others than before.",
        snapshot.relay_address_changes,
    )
    yield gauge(
        "turnd_relay_addresses_missing",
        "Entries of relay.addresses that give less than they should.",
        snapshot.relay_addresses_missing,
    )


def _requests(snapshot: Snapshot) -> Iterator[Metric]:
    yield counter_by(
        "turnd_auth_failures_total",
        "Requests with credentials that were refused; a first 401 is not one.",
        "reason",
        with_zeros(FailureReason, snapshot.auth_failures),
    )
    refused = CounterMetricFamily(
        "turnd_requests_refused_total",
        "Requests with valid credentials that got an error response.",
        labels=("method", "code"),
    )
    for labels, count in snapshot.requests_refused.items():
        refused.add_metric(labels, count)
    yield refused
    yield counter_by(
        "turnd_requests_dropped_total",
        "Messages that got no answer.",
        "reason",
        with_zeros(Dropped, snapshot.messages_dropped),
    )
    yield counter(
        "turnd_auth_challenges_total",
        "401 answers to requests without credentials.",
        snapshot.challenges,
    )
    yield counter(
        "turnd_stun_binding_requests_total", "Binding requests.", snapshot.binding_requests
    )
    yield counter(
        "turnd_unauthenticated_answers_dropped_total",
        "Answers not sent since their source prefix had used up its budget.",
        snapshot.unauthenticated_dropped,
    )


def _streams(snapshot: Snapshot) -> Iterator[Metric]:
    yield gauge("turnd_streams", "Open TCP, TLS and DTLS connections.", snapshot.engine.streams)
    for verb, label, counts in (
        ("opened", "transport", with_zeros(_CONNECTIONS, snapshot.streams_opened)),
        ("closed", "reason", with_zeros(CloseReason, snapshot.streams_closed)),
        ("refused", "reason", with_zeros(StreamRefusal, snapshot.streams_refused)),
    ):
        yield counter_by(
            f"turnd_streams_{verb}_total", f"TCP, TLS and DTLS connections {verb}.", label, counts
        )


def _peer_connections(snapshot: Snapshot) -> Iterator[Metric]:
    yield labelled_gauge(
        "turnd_peer_connections",
        "TCP connections with peers: being made, waiting for the client, bound to its stream.",
        ("state",),
        {(state,): count for state, count in snapshot.peer_connections.items()},
    )
    for verb, label, counts in (
        ("opened", "direction", snapshot.peer_connections_opened),
        ("ended", "reason", with_zeros(ConnectionEnd, snapshot.peer_connections_ended)),
        ("refused", "reason", with_zeros(PeerRefusal, snapshot.peer_connections_refused)),
    ):
        yield counter_by(
            f"turnd_peer_connections_{verb}_total", f"TCP connections with peers {verb}.",
            label, counts,
        )  # fmt: skip


def _passed(passed: Passed) -> Iterator[Metric]:
    yield gauge(
        "turnd_passthrough_connections", "Open connections to the web server behind.", passed.open
    )
    yield counter(
        "turnd_passthrough_connections_total",
        "Connections that went to the web server behind.",
        passed.connections,
    )
    yield counter_by(
        "turnd_passthrough_bytes_total",
        "Bytes that went between clients and the web server behind.",
        "direction",
        {"to_backend": passed.to_backend, "to_client": passed.to_client},
    )


def _environment(snapshot: Snapshot) -> Iterator[Metric]:
    yield labelled_gauge(
        "turnd_alternate_up",
        "Whether another server, where clients may be sent to, answers a Binding request.",
        ("server",),
        {(server,): int(lives) for server, lives in snapshot.alternates.items()},
    )
    yield labelled_gauge(
        "turnd_certificate_expiry_timestamp_seconds",
        "When a certificate that is being served ends.",
        ("certificate",),
        {(path,): end for path, end in snapshot.certificates.items()},
    )
    if snapshot.reload is not None:
        yield gauge(
            "turnd_config_last_reload_successful",
            "Whether the last reading of the configuration took effect.",
            int(snapshot.reload.successful),
        )
        yield gauge(
            "turnd_config_last_reload_timestamp_seconds",
            "When the configuration was read last.",
            snapshot.reload.at,
        )
    if snapshot.redis_available is not None:
        yield gauge(
            "turnd_redis_available", "Whether Redis answers.", int(snapshot.redis_available)
        )
    yield counter(
        "turnd_log_records_dropped_total",
        "Log lines lost: nobody read the log, or one event came too often.",
        snapshot.log_records_dropped,
    )
