"""Durations on the command line."""

from __future__ import annotations

from turnd.cli.errors import usage
from turnd.config.values import parse_duration


def parse_seconds(text: str, option: str, longest: int, shortest: int = 1) -> int:
    """Whole seconds of `3600`, `30m`, `12h`, `7d`.

    Raises:
        CommandError: nothing of the kind, or out of bounds.
    """
    try:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text
        seconds = int(parse_duration(number))
    except ValueError as error:
        raise usage(f"turnd: {option}: {error}") from None
    if not shortest <= seconds <= longest:
        raise usage(f"turnd: {option}: from {shortest} to {longest} seconds")
    return seconds
