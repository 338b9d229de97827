"""Which engine runs, and why: said in the server's first line, in a metric and by `turnd check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.portable import PortableEngine

if TYPE_CHECKING:
    from turnd.engine.base import RelayEngine


class Choice(NamedTuple):
    """An engine, and the reason for it in words."""

    engine: RelayEngine
    reason: str


class EngineUnavailableError(Exception):
    """The engine that was asked for is not installed."""


def choose_engine(wanted: str) -> Choice:
    """The engine for the configuration's `auto`, `native` or `portable`.

    Raises:
        EngineUnavailableError: `native`, and there is none.
    """
    if wanted == "native":
        raise EngineUnavailableError(
            "engine: native is not part of this installation; say auto or portable"
        )
    reason = "as configured" if wanted == "portable" else "no native engine is installed"
    return Choice(PortableEngine(), reason)
