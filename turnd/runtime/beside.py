"""Work that goes on beside the packets: look-ups, reloads, names to resolve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from turnd import logs

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logs.get_logger("turnd.runtime.beside")


class Beside:
    """Coroutines that run until they are done, or until `stop`. A fault in one is a log line."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Let a coroutine run."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def stop(self) -> None:
        """Cancel what runs and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("internal_error", exc_info=error)
