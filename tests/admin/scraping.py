"""A scrape, read as Prometheus reads it."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from turnd.admin.metrics import Metrics
from turnd.admin.snapshot import Snapshot


def snapshot(**changes: Any) -> Snapshot:
    """Of a server that has done nothing but what `changes` say."""
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
    """The sample with exactly these labels."""
    return found[metric, frozenset(labels.items())]
