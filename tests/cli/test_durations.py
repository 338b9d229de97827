from __future__ import annotations

import pytest

from turnd.cli.durations import parse_seconds
from turnd.cli.errors import CommandError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30m", 1800), ("1h30m", 5400), ("1d", 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_seconds(text, "--ttl", 86400) == seconds


@pytest.mark.parametrize("text", ["", "x", "0", "2d", "-1", "1e9", "9" * 400, "500ms", "²"])
def test_what_is_none_or_out_of_bounds(text: str) -> None:
    with pytest.raises(CommandError, match="turnd: --ttl") as caught:
        parse_seconds(text, "--ttl", 86400)

    assert caught.value.status == 64


def test_zero_where_it_is_allowed() -> None:
    assert parse_seconds("0", "--grace", 10, shortest=0) == 0
