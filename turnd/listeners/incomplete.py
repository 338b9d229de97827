"""What the readers of a connection's first bytes say when more has to come."""

from __future__ import annotations

from typing import NamedTuple


class Incomplete(NamedTuple):
    """Nothing can be said yet."""

    wanted: int
    """Bytes from the beginning on with which to ask again; more than there are now."""
