"""Waiting for something to become true: the one place where a test lets time pass.

Tests do not sleep for a guessed time. What happens in another task, thread or process is waited for
by its visible effect, for as long as it takes and no longer than a limit that means failure.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_STEP = 0.005


LIMIT = 30.0
"""Seconds that mean failure; far more than anything takes, because the machine may be busy."""


async def eventually(condition: Callable[[], Any | Awaitable[Any]], limit: float = LIMIT) -> Any:
    """Returns the condition's first true value.

    Args:
        condition: called again and again; may be a coroutine function.
        limit: seconds after which it is given up.

    Raises:
        AssertionError: still false at the limit.
    """
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {limit} s: {_name(condition)}"
        await asyncio.sleep(_STEP)


def _name(condition: Callable[[], Any]) -> str:
    return getattr(condition, "__qualname__", repr(condition))
