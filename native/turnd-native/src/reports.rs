//! What the engine counted, as Python's classes: made when somebody looks, never per packet.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use relay_core::counters::{Drop, TrafficTotals};
use relay_core::engine::{EngineCounters, RelayReport};
use relay_core::histogram;
use relay_core::leg::Transport;
use relay_core::time::seconds;

use crate::classes::Classes;
use crate::legs::LegForms;

/// A `RelayReport`.
pub(crate) fn relay<'py>(
    py: Python<'py>,
    report: &RelayReport,
    classes: &Classes,
) -> PyResult<Bound<'py, PyAny>> {
    let traffic = &report.traffic;
    py.import("turnd.engine.base")?.getattr("RelayReport")?.call1((
        relay_counters(py, traffic)?,
        seconds(traffic.last_up),
        seconds(traffic.last_down),
        drops(py, &report.drops, classes)?,
    ))
}

fn relay_counters<'py>(py: Python<'py>, traffic: &TrafficTotals) -> PyResult<Bound<'py, PyAny>> {
    py.import("turnd.engine.base")?.getattr("RelayCounters")?.call1((
        traffic.packets_up,
        traffic.bytes_up,
        traffic.packets_down,
        traffic.bytes_down,
    ))
}

fn drops<'py>(
    py: Python<'py>,
    counts: &[u64; Drop::ALL.len()],
    classes: &Classes,
) -> PyResult<Bound<'py, PyDict>> {
    let drops = PyDict::new(py);
    for (reason, count) in classes.drops.iter().zip(counts) {
        drops.set_item(reason, count)?;
    }
    Ok(drops)
}

/// An `EngineCounters`.
pub(crate) fn engine<'py>(
    py: Python<'py>,
    counters: &EngineCounters,
    classes: &Classes,
    legs: &LegForms,
) -> PyResult<Bound<'py, PyAny>> {
    let mut totals = TrafficTotals::default();
    let mut transports = [Transport::Udp, Transport::Tcp, Transport::Tls]
        .map(|transport| (transport, TrafficTotals::default()))
        .to_vec();
    let mut listeners: Vec<(u64, TrafficTotals)> = Vec::new();
    for (listener, transport, traffic) in &counters.ledgers {
        totals += *traffic;
        add(&mut transports, *transport, *traffic);
        add(&mut listeners, *listener, *traffic);
    }
    let by_transport = PyDict::new(py);
    for (transport, traffic) in &transports {
        by_transport.set_item(legs.transport(*transport), relay_counters(py, traffic)?)?;
    }
    let by_listener = PyDict::new(py);
    for (listener, traffic) in &listeners {
        by_listener.set_item(listener, relay_counters(py, traffic)?)?;
    }
    let fields = PyDict::new(py);
    fields.set_item("totals", relay_counters(py, &totals)?)?;
    fields.set_item("by_transport", by_transport)?;
    fields.set_item("by_listener", by_listener)?;
    fields.set_item("drops", drops(py, &counters.drops, classes)?)?;
    fields.set_item("relays", counters.relays)?;
    fields.set_item("streams", counters.streams)?;
    fields.set_item("bindings_answered", counters.bindings)?;
    fields.set_item("challenges", counters.challenges)?;
    fields.set_item("icmp_errors", counters.icmp_errors)?;
    fields.set_item("over_budget", counters.over_budget)?;
    fields.set_item("faults", counters.faults)?;
    fields.set_item("latency", latency(py, &counters.latency, seconds(counters.latency_total))?)?;
    py.import("turnd.engine.base")?.getattr("EngineCounters")?.call((), Some(&fields))
}

fn add<K: PartialEq>(sums: &mut Vec<(K, TrafficTotals)>, of: K, more: TrafficTotals) {
    match sums.iter_mut().find(|(known, _)| *known == of) {
        Some((_, sum)) => *sum += more,
        None => sums.push((of, more)),
    }
}

fn latency<'py>(py: Python<'py>, counts: &[u64], total: f64) -> PyResult<Bound<'py, PyAny>> {
    let bounds = PyTuple::new(py, histogram::bounds().map(seconds))?;
    let counts = PyTuple::new(py, counts)?;
    py.import("turnd.engine.base")?.getattr("LatencyHistogram")?.call1((bounds, counts, total))
}
