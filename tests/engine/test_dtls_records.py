"""Cutting records; what hellos and messages look like is in `test_dtls`, with real ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnd.engine.dtls_records import cut_at_records


def record(size: int) -> bytes:
    return b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes(size)


def test_records_are_cut_where_they_begin() -> None:
    small, large = record(37), record(87)
    assert cut_at_records(small + small, 100) == [small + small]
    assert cut_at_records(small + large + small, 100) == [small, large, small]
    assert cut_at_records(record(500) + small, 100) == [record(500), small]


@given(st.lists(st.integers(0, 300), min_size=1))
def test_nothing_is_lost_by_cutting(sizes: list[int]) -> None:
    records = b"".join(map(record, sizes))
    assert b"".join(cut_at_records(records, 313)) == records
    assert all(len(each) <= 313 for each in cut_at_records(records, 313))
