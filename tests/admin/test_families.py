from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from turnd.admin.families import counter, counter_by, gauge, labelled_gauge, with_zeros

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Reason(StrEnum):
    OLD = "old"
    NEW = "new"


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Samples by the values of their labels."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_of_one_value() -> None:
    for family, kind in (
        (gauge("n", "Words.", 2), "gauge"),
        (counter("n", "Words.", 2), "counter"),
    ):
        assert (family.name, family.documentation, family.type) == ("n", "Words.", kind)
        assert values(family) == {(): 2}


def test_by_labels() -> None:
    family = labelled_gauge("n", "Words.", ("a", "b"), {("1", "2"): 3.5, ("1", "3"): 0})
    assert values(family) == {("1", "2"): 3.5, ("1", "3"): 0}
    assert family.samples[0].labels == {"a": "1", "b": "2"}
    assert values(counter_by("n", "Words.", "why", {Reason.OLD: 4})) == {("old",): 4}


def test_what_is_known_is_there_before_it_happens() -> None:
    assert with_zeros(Reason, {Reason.NEW: 3}) == {"old": 0, "new": 3}
    assert with_zeros(Reason, {}) == {"old": 0, "new": 0}


def test_a_label_that_is_no_text_fails_no_scrape() -> None:
    assert values(labelled_gauge("n", "Words.", ("a",), {("\udcff",): 1})) == {("\\udcff",): 1}
    assert values(counter_by("n", "Words.", "a", {"\udcff": 1})) == {("\\udcff",): 1}
