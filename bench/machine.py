"""The machine that is measured on: whose it is at the moment, and what it is called."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from pathlib import Path

BUSY = 0.5
"""Load average of the last minute from which on somebody else must be working."""


class TooFewDescriptorsError(Exception):
    """The hard limit of file descriptors is too low."""


def raise_descriptor_limit(needed: int) -> None:
    """As high as allowed, for this process and those that it starts.

    Raises:
        TooFewDescriptorsError: less than needed is allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    if hard < needed:
        raise TooFewDescriptorsError(
            f"{needed} file descriptors needed, {hard} allowed (ulimit -n)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 20)), hard))


def complaint(load_average: float) -> str | None:
    """Why figures cannot be trusted now; None on an idle machine."""
    if load_average < BUSY:
        return None
    return f"the machine is busy (load average {load_average:.2f}, idle is below {BUSY:g})"


def complaint_now() -> str | None:
    """The same, of the last minute."""
    return complaint(os.getloadavg()[0])


def description() -> str:
    """Processor, kernel, Python and coturn, in one line."""
    cpus = os.cpu_count() or 1
    return (
        f"{_cpu_model()}, {cpus} CPU{'s' if cpus > 1 else ''}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, coturn {_coturn_version()}"
    )


def _cpu_model() -> str:
    """As the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _coturn_version() -> str:
    """What it says itself; it prints more than that."""
    said = subprocess.run(["turnserver", "--version"], capture_output=True, text=True, check=False)
    words = said.stdout.split()
    return words[-1] if words else "unknown"
