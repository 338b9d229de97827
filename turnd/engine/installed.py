"""Whether this installation has the native engine, and why not: cheap to ask, nothing starts."""

from __future__ import annotations

import importlib
from pathlib import Path

MISSING = Path(__file__).parents[1] / "_native.missing"
"""Where `make install` leaves a line on why it could not build one."""


class EngineUnavailableError(Exception):
    """The engine that was asked for is not to be had; says why."""


def require_native() -> None:
    """Make sure that the native engine can be loaded.

    Raises:
        EngineUnavailableError: it is not installed, or does not fit this system.
    """
    try:
        importlib.import_module("turnd._native")
    except ModuleNotFoundError:
        why = _why_missing()
        raise EngineUnavailableError(
            "no native engine is installed" + (f" ({why})" if why else "")
        ) from None
    except ImportError as error:
        raise EngineUnavailableError(f"the native engine cannot be loaded ({error})") from error


def _why_missing() -> str:
    try:
        return MISSING.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
