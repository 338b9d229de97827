"""What /proc tells of a running process, and a process that is surely ended."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 10.0
"""Seconds a process is given to end by itself."""


@contextmanager
def running(
    command: Sequence[str], stderr: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end on the way out, and killed when it does not."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def memory(pid: int) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """Open file descriptors."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def thread_times(pid: int) -> dict[int, int]:
    """Nanoseconds of CPU time that each living thread has had, by its id."""
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            times[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while being looked at
    return times


def busiest(before: dict[int, int], after: dict[int, int]) -> int:
    """Nanoseconds that the busiest thread has had between two readings."""
    return max((time - before.get(thread, 0) for thread, time in after.items()), default=0)
