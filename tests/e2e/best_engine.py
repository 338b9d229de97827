"""For tests whose point is not the engine: their servers relay by the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.server import served_by
from tests.engine.installed import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """The best that is installed."""
    best = ENGINES[-1]
    with served_by(best):
        yield best
