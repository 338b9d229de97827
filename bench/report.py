"""The tables as Markdown, and the page that they are kept on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.figures import Figure

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEAD = (
    "| | coturn | turnd | value | bar | met | limit |\n"
    "|---|---:|---:|---:|---:|---|---|"
)  # fmt: skip


class NoMarksError(Exception):
    """The page does not say where the tables belong."""


def table(figures: Sequence[Figure]) -> str:
    """One line a figure."""
    return "\n".join([HEAD, *map(_row, figures)])


def section(engine: str, figures: Sequence[Figure]) -> str:
    """An engine's table under its heading."""
    return f"## The {engine} engine\n\n{table(figures)}\n"


def _row(figure: Figure) -> str:
    met = NOTHING
    if figure.bar:
        met = "**no**" if figure.is_missed else "yes"
    value = NOTHING if figure.value is None else f"{figure.value:.2f}"
    cells = (
        *(figure.what, figure.coturn, figure.turnd, value),
        *(str(figure.bar or NOTHING), met, figure.limit),
    )
    return f"| {' | '.join(cells)} |"


def write_between_marks(file: Path, text: str) -> None:
    """Replace what stands between the two marks; the rest of the page is prose.

    Raises:
        NoMarksError: the marks are not there.
    """
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarksError(f"{file} has no {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{after}")
