"""Which engine runs, and why: said in the server's first line, in a metric and by `turnd check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turnd.engine.installed import EngineUnavailableError, require_native
from turnd.engine.portable import PortableEngine

if TYPE_CHECKING:
    from turnd.engine.base import RelayEngine

MEND = "make install builds one where cargo is (https://rustup.rs)"
"""What to do about a missing native engine."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the configuration says about the engine, worked out for this host."""

    wanted: str = "auto"
    """`auto`, `native` or `portable`."""
    workers: int = 1
    """Threads that move packets, of an engine that has such; at least 1."""
    cpus: tuple[int, ...] = ()
    """What workers are pinned to: worker i to `cpus[i % len(cpus)]`; without any they roam."""
    native_required: bool = False
    """Whether `auto` may not fall back on the portable engine."""

    @property
    def insists(self) -> str:
        """What says that no other engine than the native one will do; empty: nothing."""
        if self.wanted == "native":
            return "engine: native"
        return "TURND_REQUIRE_NATIVE" if self.wanted == "auto" and self.native_required else ""


class Choice(NamedTuple):
    """An engine, and the reason for it in words."""

    engine: RelayEngine
    reason: str


def choose_engine(options: EngineOptions) -> Choice:
    """The engine for the configuration's wishes.

    Raises:
        EngineUnavailableError: a native one has to be, and there is none; says how to mend it.
    """
    if options.wanted == "portable":
        return Choice(PortableEngine(), "as configured")
    try:
        engine = _native_engine(options)
    except EngineUnavailableError as error:
        if options.insists:
            raise EngineUnavailableError(f"{options.insists}: {error}; {MEND}") from error
        return Choice(PortableEngine(), str(error))
    return Choice(engine, "as configured" if options.wanted == "native" else "it is installed")


def _native_engine(options: EngineOptions) -> RelayEngine:
    require_native()
    from turnd.engine.native import NativeEngine  # noqa: PLC0415 - not every installation has it

    try:
        return NativeEngine(options.workers, options.cpus)
    except OSError as error:
        raise EngineUnavailableError(f"the native engine does not run here ({error})") from error
