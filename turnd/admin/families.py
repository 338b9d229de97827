"""Families of metrics, of one value or of one a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_Labels = TypeVar("_Labels", bound=tuple[str, ...])
_Label = TypeVar("_Label", bound=str)


def gauge(name: str, text: str, value: float) -> Metric:
    """What goes up and down."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: int) -> Metric:
    """What only goes up."""
    return CounterMetricFamily(name, text, value=value)


def labelled_gauge(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, float]
) -> Metric:
    """A gauge by several labels; `values` has their values in the same order."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([_encodable(label) for label in key], value)
    return family


def counter_by(name: str, text: str, label: str, counts: Mapping[_Label, int]) -> Metric:
    """A counter by one label."""
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in counts.items():
        family.add_metric((_encodable(value),), count)
    return family


def with_zeros(known: Iterable[str], counts: Mapping[_Label, int]) -> dict[str, int]:
    """A series that exists from the start: a first increase from nothing would be no rate."""
    return {**dict.fromkeys(map(str, known), 0), **{str(name): n for name, n in counts.items()}}


def _encodable(label: str) -> str:
    """A lone surrogate (from an odd environment) would otherwise fail the whole scrape."""
    return label.encode("utf-8", "backslashreplace").decode()
