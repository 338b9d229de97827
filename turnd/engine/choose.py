"""Which engine runs, and why: said in the server's first line, in a metric and by `turnd check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.portable import PortableEngine

if TYPE_CHECKING:
    from turnd.engine.base import RelayEngine


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the configuration says about the engine, worked out for this host."""

    wanted: str = "auto"
    """`auto`, `native` or `portable`."""
    workers: int = 1
    """Threads that move packets, of an engine that has such; at least 1."""
    cpus: tuple[int, ...] = ()
    """What workers are pinned to: worker i to `cpus[i % len(cpus)]`; without any they roam."""


class Choice(NamedTuple):
    """An engine, and the reason for it in words."""

    engine: RelayEngine
    reason: str


class EngineUnavailableError(Exception):
    """The engine that was asked for is not installed."""


def choose_engine(options: EngineOptions) -> Choice:
    """The engine for the configuration's wishes.

    Raises:
        EngineUnavailableError: `native`, and there is none.
    """
    if options.wanted == "native":
        raise EngineUnavailableError(
            "engine: native is not part of this installation; say auto or portable"
        )
    reason = "as configured" if options.wanted == "portable" else "no native engine is installed"
    return Choice(PortableEngine(), reason)
